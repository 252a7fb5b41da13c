"""The stream: read -> infer -> write, each on its own thread, joined by bounded queues.

The first error in any stage stops the others and is the one that the caller sees.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from unet_deploy.grey import GreyScale, measure_page, to_float32
from unet_deploy.images import ImageSource
from unet_deploy.runtimes import Answer, Runtime
from unet_deploy.tiling import Tile, TilePlan

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with tiles done and tiles in all, on the thread that called `stream`."""

QUEUED = 2
"""Tiles that wait between two stages."""


class Stopped(Exception):
    """The other end of a channel has failed."""


class Channel(Generic[T]):
    """A bounded queue with an end: `close` lets the reader finish, `stop` makes both ends raise Stopped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False

    def put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            if self._stopped:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._closed or self._items)
                if self._stopped:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()


@dataclass(frozen=True)
class ReadTile:
    """A tile on its way to the runtime: pixels (C, h, w) of tile.read, in the image's dtype or float32."""

    page: int
    tile: Tile
    pixels: np.ndarray
    grey: GreyScale


@dataclass(frozen=True)
class DoneTile:
    """A tile on its way to the mask: the answer holds one tile, cut to tile.write."""

    page: int
    tile: Tile
    image: np.ndarray
    """(C, h, w): the pixels under the labels."""
    labels: np.ndarray
    """(h, w) uint8."""
    probabilities: np.ndarray | None
    """(K, h, w) float32, where they were asked for."""


class Consumer(Protocol):
    """What takes finished tiles, on the writer's thread."""

    def __call__(self, done: DoneTile, /) -> None: ...


@dataclass(frozen=True)
class Timing:
    """Seconds that a stream took, and the part of them that the runtime computed."""

    wall: float
    compute: float


def stream(
    source: ImageSource,
    plan: TilePlan,
    runtime: Runtime,
    consumers: Sequence[Consumer],
    *,
    greys: Callable[[int], GreyScale] | None = None,
    progress: Progress | None = None,
) -> Timing:
    """Run every tile of every page through the runtime and hand each to all consumers, in the plan's order.

    greys: the grey scale of a page, by default measured from the source.
    Raises whatever a stage raised first; all threads have ended when it returns or raises.
    """
    read: Channel[ReadTile] = Channel(QUEUED)
    done: Channel[DoneTile] = Channel(QUEUED)
    failures: list[BaseException] = []

    def stage(name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Stopped:
                pass
            except BaseException as error:
                failures.append(error)
                read.stop()
                done.stop()

        thread = threading.Thread(target=guarded, name=f"stream-{name}", daemon=True)
        thread.start()
        return thread

    def grey_of(page: int) -> GreyScale:
        return measure_page(source, page, runtime.card.normalization)

    start = time.perf_counter()
    compute = 0.0
    threads = [
        stage("read", lambda: _read(source, plan, greys or grey_of, read)),
        stage("write", lambda: _write(done, consumers)),
    ]
    try:
        compute = _infer(read, done, runtime, len(plan) * source.info.pages, progress)
        done.close()
    except Stopped:
        pass
    except BaseException as error:  # Ctrl-C too: the threads must end before the files they hold are closed
        failures.append(error)
        read.stop()
        done.stop()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Timing(time.perf_counter() - start, compute)


def _read(source: ImageSource, plan: TilePlan, greys: Callable[[int], GreyScale], read: Channel[ReadTile]) -> None:
    for page in range(source.info.pages):
        grey = greys(page)
        for tile in plan:
            pixels = source.read(page, tile.read)
            if pixels.dtype.kind == "f":
                pixels = to_float32(pixels, source.info.name)
            read.put(ReadTile(page, tile, pixels, grey))
    read.close()


def _infer(
    read: Channel[ReadTile], done: Channel[DoneTile], runtime: Runtime, total: int, progress: Progress | None
) -> float:
    """Keep the runtime's slots full; returns the seconds spent inside it."""
    flying: deque[tuple[ReadTile, Any]] = deque()
    compute, finished = 0.0, 0

    def land() -> None:
        nonlocal compute, finished
        tile, ticket = flying.popleft()
        start = time.perf_counter()
        answer = runtime.result(ticket)
        compute += time.perf_counter() - start
        done.put(_cut(tile, answer, runtime.card.margin))
        finished += 1
        if progress:
            progress(finished, total)

    for tile in read:
        start = time.perf_counter()
        ticket = runtime.submit(tile.pixels[None], tile.grey)
        compute += time.perf_counter() - start
        flying.append((tile, ticket))
        if len(flying) == runtime.slots:
            land()
    while flying:
        land()
    return compute


def _cut(read: ReadTile, answer: Answer, margin: int) -> DoneTile:
    height, width = read.tile.write.height, read.tile.write.width
    image = read.pixels[:, margin : margin + height, margin : margin + width]
    probabilities = None if answer.probabilities is None else answer.probabilities[0, :, :height, :width]
    return DoneTile(read.page, read.tile, image, answer.labels[0, :height, :width], probabilities)


def _write(done: Channel[DoneTile], consumers: Sequence[Consumer]) -> None:
    for tile in done:
        for consume in consumers:
            consume(tile)
