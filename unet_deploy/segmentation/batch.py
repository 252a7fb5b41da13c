"""Many images, one after another: which are left out, and what one that fails leaves for the others and for later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError, reason
from unet_deploy.segmentation.outputs import Outputs, unfinished
from unet_deploy.system.files import is_full

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """An image, and the files to make of it."""

    image: Path
    outputs: Outputs


@dataclass(frozen=True)
class Made(Generic[Result]):
    """What the work returned for one image."""

    job: Job
    result: Result


@dataclass(frozen=True)
class MadeBefore:
    """An image whose mask an earlier run has finished, so that nothing was done."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """An image whose work ended with an error."""

    job: Job
    error: UnetDeployError
    can_resume: bool
    """Whether finished parts of the mask are kept, from which the same run with `resume` goes on."""


@dataclass(frozen=True)
class Interrupted:
    """The image whose work Ctrl-C has ended, and with it that on all others."""

    job: Job
    can_resume: bool
    """As of Failed."""


Outcome = Made[Result] | MadeBefore | Failed | Interrupted


def attempt_each(
    jobs: Iterable[Job], work: Callable[[Job], Result], *, is_made: Callable[[Job], bool] | None = None
) -> Iterator[Outcome[Result]]:
    """Do the work for each image in turn, and tell what came of it before the next one is begun.

    is_made: says which images to leave out, as a run does that goes on where one was broken off: those whose mask an
    earlier run of the same job has finished. It raises UsageError where something else has the mask's name.
    An image that fails does not keep the others from being done, whatever the error. An interrupt is told too, and
    KeyboardInterrupt raised when the next outcome is asked for.
    """
    for job in jobs:
        try:
            made = bool(is_made and is_made(job))
            outcome: Outcome[Result] = MadeBefore(job) if made else Made(job, work(job))
        except KeyboardInterrupt:
            yield Interrupted(job, _is_kept(job))
            raise
        except Exception as error:
            outcome = _failed(job, error)
        yield outcome


def attempt_ahead(
    jobs: Iterable[Job], begin: Callable[[Job], Callable[[], Result]], *, is_made: Callable[[Job], bool] | None = None
) -> Iterator[Outcome[Result]]:
    """As `attempt_each`, but the end of the work for an image, which `begin` returns, is done beside the next image.

        caller's thread      begin 1   begin 2   begin 3
        another                        end 1     end 2     end 3
        told                                     1         2         3

    An end that is begun comes to its end, interrupt or not.
    """
    with ThreadPoolExecutor(1) as thread:
        ending: Future[Outcome[Result]] | None = None
        for begun in attempt_each(jobs, begin, is_made=is_made):
            if ending:
                yield ending.result()
            ending = thread.submit(_end, begun) if isinstance(begun, Made) else None
            if not isinstance(begun, Made):
                yield begun
        if ending:
            yield ending.result()


def _end(begun: Made[Callable[[], Result]]) -> Outcome[Result]:
    try:
        return Made(begun.job, begun.result())
    except Exception as error:
        return _failed(begun.job, error)


def _failed(job: Job, error: Exception) -> Failed:
    return Failed(job, told(job.image, error), not isinstance(error, UsageError) and _is_kept(job))


def told(image: Path, error: Exception) -> UnetDeployError:
    """Any error of the work for an image as one that is a person's to read, with the exit code of its kind."""
    if isinstance(error, UnetDeployError):
        return error
    if isinstance(error, MemoryError):
        return ResourceError(f"{image}: out of memory; take a smaller --tile-size")
    if isinstance(error, OSError):
        if is_full(error):
            return ResourceError(f"{image}: no space left on a disk ({reason(error)}); free some and run again")
        return UnetDeployError(f"{image}: {reason(error)}")
    return UnetDeployError(f"{image}: failed ({type(error).__name__}: {reason(error)}); report this with the image")


def _is_kept(job: Job) -> bool:
    """Whether finished parts of a mask wait beside it."""
    with suppress(UnetDeployError, OSError):
        return unfinished(job.outputs.mask).exists()
    return False
