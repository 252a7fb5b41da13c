"""Many machines: workers of a Dask cluster, each of which fills whole chunks of one OME-Zarr mask.

This process plans, opens the mask and gives it its name; a worker gets a job, computes the tiles that touch it, and
writes its chunks into storage that all of them share. A worker that dies has finished a chunk or not begun it, so its
jobs are done again by others, and the mask is that of a single machine.

A mask of 3 x 4 chunks, cut into jobs of two chunks, and one worker, which has a job at hand and three that wait:

    +---+---+---+---+
    | 0   0 | 1   1 |       not sent yet        with the workers        finished
    +---+---+---+---+
    | 2   2 | 3   3 |            5        ->      1  2  3  4      ->       0
    +---+---+---+---+
    | 4   4 | 5   5 |       When the worker dies, another begins job 1 again, and leaves the chunks that are there.
    +---+---+---+---+

The last step is this process's own: it goes over the finished mask for the outputs that need all tiles in order.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from typing_extensions import Self

from unet_deploy._version import __version__
from unet_deploy.errors import DeviceError, ImageError, ResourceError, UsageError, reason
from unet_deploy.images import ImageSource, is_url
from unet_deploy.images.enlarged import Enlarged
from unet_deploy.images.grey import GreyScale, measure_page
from unet_deploy.images.reading import Reading
from unet_deploy.masks import format_of
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.cpu import CpuRuntime
from unet_deploy.runtimes.shaped import ShapedRuntime
from unet_deploy.segmentation.compute import Task, stream_here
from unet_deploy.segmentation.writer import OutputWriter, cut_to, write_labels, write_probabilities, write_sure
from unet_deploy.stream.pipeline import Timing, stream
from unet_deploy.stream.planner import proof_plan
from unet_deploy.stream.proof import prove, without_proof
from unet_deploy.stream.tta import averaged
from unet_deploy.system.extras import require
from unet_deploy.system.interrupt import ignore_interrupts
from unet_deploy.system.machine import default_ceiling, keep_to_share
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region, TilePlan
from unet_deploy.zoo import DEFAULT_MODEL, Request, open_model, shipped_models

if TYPE_CHECKING:
    from unet_deploy.objects.rules import Rules

_ADDRESS = re.compile(r"(?:(?:tcp|tls|ucx|wss?)://)?(?:[\w.-]+|\[[0-9a-fA-F:%.]+\]):\d{1,5}|inproc://\S+")
"""Of a scheduler, as Dask writes it."""

ANSWER = 5.0
"""Seconds in which a scheduler answers."""

PATIENCE = 60.0
"""Seconds without a worker after which a run ends."""

LONGEST_JOB = 16
"""Tiles of one job: enough to read, compute and write side by side, few enough to lose when a worker dies."""

_MOST_STEPS = 8
"""Tiles along the side of a job whose border cuts tiles: those are computed by both neighbours."""


@dataclass(frozen=True)
class Work:
    """What is the same for all jobs of a mask; it travels with each."""

    model: str
    """A shipped model's name, or a path that every worker has."""
    request: Request
    fingerprint: str
    runtime: str
    image: Path
    reading: Reading
    level: int
    state: str
    """Of what is read of the image, which every worker must see."""
    tta: bool
    skip_background: bool
    plan: TilePlan
    region: Region
    """What of the image is to be in the mask."""
    trees: tuple[tuple[Path, Path], ...]
    """The mask's name and the folder in which it grows; then those of the probabilities, where they are wanted, and
    of what the model is sure of."""
    sure_by: Rules | None = None
    """What says which pixels those are; None where nobody asks."""
    outside: int = 0
    """What the mask has where there is no data."""
    level_read: int | None = None
    """As of `Scaled`."""
    settled: bool = False
    """Whether auto took this precision, which it had proved: a worker does not ask again."""
    version: str = __version__


@dataclass(frozen=True)
class Job:
    """Whole chunks of one page of the mask, as a region of the image."""

    page: int
    region: Region


class Jobs(Sequence[Job]):
    """A mask cut along its chunks, page after page and row by row; every chunk is in one job.

    Where tiles fill whole chunks a job is a run of tiles, of which each of the workers gets at least eight where there
    are as many. Elsewhere the tiles on the border of two jobs are computed twice.

    region: what is to be in the mask. chunk: its side, in pixels. pages: of the image.
    """

    def __init__(self, plan: TilePlan, region: Region, pages: int, chunk: int, workers: int) -> None:
        each = pages * len(plan) / max(1, workers)
        run = min(LONGEST_JOB, max(1, int(each / 8)))
        steps = min(_MOST_STEPS, max(2, int(math.sqrt(each / 2))))
        self._tall = _side(plan.step_y, plan.height, plan.region.y, chunk, 1, steps)
        self._wide = _side(plan.step_x, plan.width, plan.region.x, chunk, run, steps)
        self._region, self._pages = region, pages
        self._top, self._left = region.y // chunk * chunk, region.x // chunk * chunk
        self._rows = -(-(region.bottom - self._top) // self._tall)
        self._columns = -(-(region.right - self._left) // self._wide)

    def __len__(self) -> int:
        return self._pages * self._rows * self._columns

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | list[Job]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        page, place = divmod(range(len(self))[index], self._rows * self._columns)
        row, column = divmod(place, self._columns)
        y, x = self._top + row * self._tall, self._left + column * self._wide
        return Job(page, Region(y, x, self._tall, self._wide).intersection(self._region))


def _side(step: int, extent: int, origin: int, chunk: int, run: int, steps: int) -> int:
    """Pixels along a side of a job, a multiple of the chunk's: `run` tiles where they fit, about `steps` elsewhere."""
    fitting = origin % chunk == 0 and (step % chunk == 0 or step >= extent)
    return -(-step * (run if fitting else steps) // chunk) * chunk


class Cluster:
    """The workers of a scheduler, or as many of our own on this machine: a `Compute`, and a context manager.

    model, request: what the workers open, as `open_model` does here; a path must be there on all machines.
    scheduler: its address, tcp://host:8786. workers: how many to start here, each with its share of the processors.
    Raises UsageError without the distributed package, and DeviceError where no scheduler answers.
    """

    def __init__(
        self, model: str | None, request: Request, *, scheduler: str | None = None, workers: int | None = None
    ) -> None:
        if (scheduler is None) == (workers is None):
            raise UsageError("give --scheduler, or --workers to start them here, and not both")
        if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
            raise UsageError(f"--scheduler {scheduler}: is no address; give one such as tcp://host:8786")
        require("distributed", "distributed")
        import distributed

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is raised
        name = str(model or DEFAULT_MODEL)
        self._model = name if name in shipped_models() else str(Path(name).resolve())
        self._request, self._workers_here = request, workers
        with ExitStack() as stack:
            if workers is not None:
                local = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=None,  # what they hold is planned
                    # No dashboard; its server, which starts all the same, keeps to this machine and to a free port.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    preload=[__name__],
                    env={_WORKERS: str(workers)},
                    silence_logs=logging.CRITICAL,
                )
                scheduler = stack.enter_context(local).scheduler_address
            try:
                self._client = stack.enter_context(distributed.Client(scheduler, timeout=ANSWER, set_as_default=False))
            except Exception as error:  # of the many ways in which a network says no
                raise DeviceError(
                    f"{scheduler}: no scheduler answers there ({reason(error)}); start one: dask scheduler"
                ) from None
            self.name = str(scheduler)
            self._open = stack.pop_all()

    def share(self, max_memory: int | None) -> int | None:
        if self._workers_here is None:
            return max_memory
        ceiling = max_memory or default_ceiling()
        return ceiling and ceiling // (self._workers_here + 1)

    def fill(self, task: Task, writer: OutputWriter, progress: Progress | None) -> Timing:
        """Let the workers write the mask; then hand its tiles to the consumers that need them all, in order.

        Raises what a worker raised, and ResourceError where workers die or stay away; finished chunks are kept.
        """
        resumed = writer.resumed
        far = self._compute_all(self.work(task, writer), task.source.info.pages, progress)
        here = stream_here.fill(task, writer, None)
        return replace(far, wall=far.wall + here.wall, resumed=far.resumed if resumed else 0)

    def work(self, task: Task, writer: OutputWriter) -> Work:
        """What is to be done, with the names of files as other machines see them."""
        scale = task.measured.scaled.scale  # 1 where the caller had opened the model: then the request says it
        request = self._request if scale == 1 else replace(self._request, scale=scale)
        settled = task.settled.precision is not None
        if request.precision == "auto" or settled:  # chosen once for all
            request = replace(request, precision=task.settled.precision)
        if writer.sure_by:
            request = replace(request, probabilities=True)
        return Work(
            model=self._model,
            request=_as_taken(request, task.settled.runtime),
            fingerprint=task.settled.runtime.fingerprint,
            runtime=task.settled.runtime.name,
            image=task.path if is_url(task.path) else task.path.resolve(),
            reading=task.options.reading,
            outside=task.options.outside,
            level=task.level,
            level_read=task.measured.scaled.level,
            settled=settled,
            state=task.state,
            tta=task.options.tta,
            skip_background=task.options.skip_background,
            plan=task.plan,
            region=task.region,
            trees=tuple((output.resolve(), tree.resolve()) for output, tree in writer.trees),
            sure_by=writer.sure_by,
        )

    def _compute_all(self, work: Work, pages: int, progress: Progress | None) -> Timing:
        """Let every job be done; `compute` is the sum over all workers."""
        from distributed import TimeoutError as TooLong
        from distributed import wait

        began = time.perf_counter()
        jobs = Jobs(work.plan, work.region, pages, format_of(work.trees[0][0]).block, self._workers())
        waiting, scales = iter(jobs), {}
        in_flight: set[Any] = set()
        tiles, done, total = pages * len(work.plan), 0, Timing(0.0, 0.0)
        try:
            while True:
                for job in islice(waiting, max(0, 3 * self._workers() + 1 - len(in_flight))):
                    if job.page not in scales:  # only the latest page's is kept here; jobs that wait keep their own
                        scales = {job.page: self._client.submit(_measure, work, job.page, pure=False)}
                    in_flight.add(self._client.submit(_compute, work, job, scales[job.page], pure=False))
                if not in_flight:
                    break
                with suppress(TooLong), self._client.as_current():
                    wait(in_flight, timeout=PATIENCE, return_when="FIRST_COMPLETED")
                finished = {future for future in in_flight if future.done()}
                if not finished and not self._workers():
                    raise ResourceError(f"{self.name}: has no workers; start some: dask worker {self.name}")
                for future in finished:
                    total += self._result(future)
                in_flight -= finished
                done += len(finished)
                if progress:
                    progress(tiles * done // len(jobs), tiles)
        except CancelledError:
            raise self._gone() from None
        except BaseException:
            with suppress(Exception):
                self._client.cancel(list(in_flight), force=True)
            raise
        return replace(total, wall=time.perf_counter() - began, resumed=min(tiles, total.resumed))

    def _workers(self) -> int:
        if self._client.status != "running":
            raise self._gone()
        return len(self._client.nthreads())

    def _gone(self) -> ResourceError:
        return ResourceError(f"{self.name}: the scheduler is gone; start it, and go on with --resume")

    def _result(self, future: Any) -> Timing:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            died = f"{self.name}: workers die of one job again and again, the last one was {error.last_worker.address}"
            raise ResourceError(f"{died}; give less --max-memory, or look at its log") from None
        except ImportError as error:
            raise DeviceError(
                f"{self.name}: a worker lacks {error.name}; install there what is installed here"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


# -- on a worker ---------------------------------------------------------------------------------------------


_WORKERS = "UNET_DEPLOY_WORKERS"
"""Tells a worker that was started here how many there are."""


def dask_setup(worker: Any) -> None:
    """Dask calls it in each worker that was started here, before there are threads that compute.

    A worker keeps to its part of the processors, and leaves Ctrl-C to the process that started it, which ends it.
    """
    ignore_interrupts()
    keep_to_share(worker.name, int(os.environ[_WORKERS]))


_busy = threading.Lock()
"""A runtime takes one job at a time, however many threads a worker has."""


def _measure(work: Work, page: int) -> GreyScale:
    """The grey scale of a page."""
    with _busy:
        return measure_page(_source(work), page, _runtime(work).card.normalization)


def _compute(work: Work, job: Job, grey: GreyScale) -> Timing:
    """Compute the tiles that touch a job, and write its chunks."""
    for output, tree in work.trees:
        if not tree.is_dir():
            raise UsageError(f"{output}: a worker does not see its folder; write to storage that all machines share")
    tiles = work.plan.touching(job.region)
    with _busy:
        writers = [format_of(output).writer(tree, output, work.region) for output, tree in work.trees]
        if all(writer.has(job.page, job.region) for writer in writers):
            return Timing(0.0, 0.0, resumed=len(tiles))
        sure = [write_sure(writers.pop(), work.sure_by)] if work.sure_by else []
        consumers = [write_labels(writers[0], work.outside), *map(write_probabilities, writers[1:]), *sure]
        return stream(
            _source(work),
            tiles,
            averaged(_runtime(work), work.tta),
            [cut_to(job.region, consumer) for consumer in consumers],
            greys={job.page: grey},
            skip_background=work.skip_background,
        )


def _source(work: Work) -> ImageSource:
    """The image, open from the first job on."""
    reading = replace(work.reading, nodata=None)  # a NaN that has travelled is another each time
    source = _opened(work.image, reading, work.level, work.level_read, work.state)
    source.asked_nodata = work.reading.nodata
    return source


@lru_cache(maxsize=1)
def _opened(image: Path, reading: Reading, level: int, level_read: int | None, state: str) -> ImageSource:
    """The image in this state, looked at once: what is changed later is noticed where the mask gets its name."""
    with ExitStack() as stack:
        source = stack.enter_context(reading.open(image, level=level))
        if level_read is not None:
            source = stack.enter_context(Enlarged.of(source, level_read))
        if source.state() != state:
            raise ImageError(f"{image}: a worker sees another file there; put it where all machines see the same")
        stack.pop_all()
    return source


def _as_taken(request: Request, runtime: Runtime) -> Request:
    """The request that leaves a worker no choice but the device that was taken here, or to say that it has none."""
    taken = without_proof(runtime)
    if isinstance(taken, ShapedRuntime):
        return replace(request, device=taken.request.device, runtime=taken.request.runtime)
    return replace(request, device="cpu") if isinstance(taken, CpuRuntime) else request


def _runtime(work: Work) -> Runtime:
    """The model, ready and proved from the first job on."""
    if work.version != __version__:
        raise DeviceError(f"a worker has unet-deploy {__version__}, this machine {work.version}; install one version")
    runtime = _loaded(work.model, work.request)
    if runtime.fingerprint != work.fingerprint:
        raise DeviceError(f"{work.model}: a worker has another model there; copy the file to all machines")
    if runtime.name != work.runtime:
        raise DeviceError(
            f"a worker answers by {runtime.name}, this machine by {work.runtime}; one mask wants one kind"
        )
    return without_proof(runtime) if work.settled else _proved(work.model, work.request, _source(work))


@lru_cache(maxsize=1)
def _proved(model: str, request: Request, source: ImageSource) -> Runtime:
    """Once for each image, as one process does: a blank one settles nothing, and would be asked at every job."""
    runtime = _loaded(model, request)
    prove(runtime, source, lambda: proof_plan(runtime, source.info.region))
    return runtime


@lru_cache(maxsize=1)
def _loaded(model: str, request: Request) -> Runtime:
    return open_model(model, request)
