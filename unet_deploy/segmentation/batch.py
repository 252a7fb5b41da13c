"""Many images, one after another: which are left out, and what one that fails leaves for the others and for later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
            if is_made and is_made(job):
                outcome: Outcome[Result] = MadeBefore(job)
            else:
                outcome = Made(job, work(job))
        except KeyboardInterrupt:
            yield Interrupted(job, _is_kept(job))
            raise
        except Exception as error:
            outcome = Failed(job, told(job.image, error), not isinstance(error, UsageError) and _is_kept(job))
        yield outcome


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
