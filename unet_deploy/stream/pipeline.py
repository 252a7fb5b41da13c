"""The stream: read -> infer -> write, each on its own thread, joined by bounded queues.

    image -> [read] -> at most QUEUED tiles -> [infer] -> at most QUEUED tiles -> [write] -> consumers
              thread                        caller's thread                        thread

The first error in any stage stops the others and is the one that the caller sees.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from unet_deploy.errors import ModelError
from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, is_uniform, measure_page, read_tile, to_float32
from unet_deploy.model import finite
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.runtimes import Answer, OutOfMemoryError, Runtime
from unet_deploy.stream.channel import Channel, Stopped
from unet_deploy.system.progress import Progress
from unet_deploy.system.stopwatch import Stopwatch
from unet_deploy.tiling import Region, Sides, Tile

QUEUED = 2
"""Tiles that wait between two stages."""


@dataclass(frozen=True)
class ReadTile:
    """A tile on its way to the runtime: pixels (C, h, w) of tile.read, in the image's dtype or float32."""

    page: int
    tile: Tile
    pixels: np.ndarray
    grey: GreyScale
    whole: Region
    """What the plan's tile writes."""
    data: np.ndarray | None = None
    """Which pixels hold data, bool (h, w); None where all do."""
    last_part: bool = True
    """False for a part of a divided tile that others follow."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of what it writes holds data."""
        return self.data is not None and not self.data[self.tile.write.slices_in(self.tile.read)].any()

    def divided(self, card: ModelCard, most: Sides) -> list[ReadTile]:
        """The same tile as several, whose inputs are of at most `most`."""
        parts = self.tile.divided(card, most)
        return [
            replace(
                self,
                tile=part,
                pixels=self.pixels[(slice(None), *part.read.slices_in(self.tile.read))],
                data=None if self.data is None else self.data[part.read.slices_in(self.tile.read)],
                last_part=self.last_part and part is parts[-1],
            )
            for part in parts
        ]


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
    whole: Region
    """What the plan's tile writes; `tile` is a part of it where memory was short."""
    resumed: bool = False
    """Whether it was finished by an earlier run, and is in the mask already."""
    data: np.ndarray | None = None
    """(h, w) bool, which pixels hold data; None where all do. Labels of the others are 0."""

    def cut(self, region: Region) -> DoneTile:
        """What of it lies in a region, which its `write` holds."""
        inside = region.slices_in(self.tile.write)
        return replace(
            self,
            tile=Tile(self.tile.read, region),
            image=self.image[(slice(None), *inside)],
            labels=self.labels[inside],
            probabilities=None if self.probabilities is None else self.probabilities[(slice(None), *inside)],
            data=None if self.data is None else self.data[inside],
        )


class Consumer(Protocol):
    """What takes finished tiles, one after another in the plan's order."""

    def __call__(self, done: DoneTile, /) -> None: ...


@dataclass(frozen=True)
class Timing:
    """Seconds that a stream took, and the part of them that the runtime computed."""

    wall: float
    compute: float
    skipped: int = 0
    """Tiles that were taken for background without computing them."""
    resumed: int = 0
    """Tiles that an earlier run had finished."""
    read: float = 0.0
    """Seconds that reading took; the stages go on side by side, and add up to more than `wall`."""
    write: float = 0.0
    """Seconds that the consumers took."""

    def __add__(self, other: Timing) -> Timing:
        return Timing(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


NOTHING_KNOWN: Mapping[int, GreyScale] = MappingProxyType({})


class PageScales(Mapping[int, GreyScale]):
    """The grey scale of each page of an image, measured when it is asked for unless it is known."""

    def __init__(
        self, source: ImageSource, normalization: Normalization, known: Mapping[int, GreyScale] = NOTHING_KNOWN
    ) -> None:
        self._source, self._normalization, self._known = source, normalization, known

    def __getitem__(self, page: int) -> GreyScale:
        return self._known.get(page) or measure_page(self._source, page, self._normalization)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return self._source.info.pages


Resumed = Callable[[int, Tile], DoneTile | None]
"""Looks up a tile of a page: as an earlier run left it, or None where it is still to be computed."""


def stream(
    source: ImageSource,
    plan: Sequence[Tile],
    runtime: Runtime,
    consumers: Sequence[Consumer],
    *,
    greys: Mapping[int, GreyScale] | None = None,
    resumed: Resumed | None = None,
    skip_background: bool = False,
    progress: Progress | None = None,
) -> Timing:
    """Run every tile of every page through the runtime and hand each to all consumers, in the plan's order.

    greys: the pages to run, each with its grey scale; by default all, by their own. resumed: finds a tile that an
    earlier run has finished, which is handed on as it is. skip_background: give tiles that are uniform class 0 without
    computing them. progress: called with tiles done and tiles in all, on the thread that called.
    Raises whatever a stage raised first; all threads have ended when it returns or raises.
    """
    scales = PageScales(source, runtime.card.normalization) if greys is None else greys
    total = len(plan) * len(scales)
    beside = total > 1  # nothing goes on beside a single tile, and two threads take a millisecond to begin
    read: Channel[ReadTile | DoneTile] = Channel(QUEUED if beside else None)
    done: Channel[DoneTile] = Channel(QUEUED if beside else None)
    failures: list[BaseException] = []
    reading, writing = Stopwatch(), Stopwatch()
    inference = _Inference(runtime, done, total, progress, skip_background)

    def infer() -> None:
        inference.run(read)
        done.close()

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            pass
        except BaseException as error:  # Ctrl-C too: the threads must end before the files they hold are closed
            failures.append(error)
            read.stop()
            done.stop()

    reads = partial(_read, source, plan, scales, resumed, read, reading)
    writes = partial(_write, done, consumers, writing)
    start = time.perf_counter()
    threads = [_started(partial(guarded, work)) for work in (reads, writes) if beside]
    for work in (infer,) if beside else (reads, infer, writes):
        guarded(work)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    wall = time.perf_counter() - start
    counts = inference.skipped, inference.resumed
    return Timing(wall, inference.computing.seconds, *counts, reading.seconds, writing.seconds)


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="stream", daemon=True)
    thread.start()
    return thread


def _read(
    source: ImageSource,
    plan: Sequence[Tile],
    greys: Mapping[int, GreyScale],
    resumed: Resumed | None,
    read: Channel[ReadTile | DoneTile],
    reading: Stopwatch,
) -> None:
    for page in greys:
        grey: GreyScale | None = None
        for tile in plan:
            with reading:
                done = resumed(page, tile) if resumed else None
            if done is not None:
                read.put(done)
                continue
            with reading:
                grey = grey or greys[page]  # not measured where all of a page is finished
                pixels, data = read_tile(source, page, tile.read, grey)
                if pixels.dtype.kind == "f":
                    pixels = to_float32(pixels, source.info.name)
            read.put(ReadTile(page, tile, pixels, grey, tile.write, data))
    read.close()


class _Inference:
    """Keeps the runtime's slots full, and goes on with smaller submissions when its memory is short.

    Other threads may use the runtime as well, and make it smaller: what was made to its limits of before is divided.
    """

    def __init__(
        self, runtime: Runtime, done: Channel[DoneTile], total: int, progress: Progress | None, skip_background: bool
    ) -> None:
        self._runtime, self._done, self._total, self._progress = runtime, done, total, progress
        self._skip_background, self.skipped, self.resumed = skip_background, 0, 0
        self._waiting: deque[ReadTile] = deque()
        self._in_flight: deque[tuple[list[ReadTile], Any]] = deque()
        self._limits = runtime.limits
        """What this run's submissions are made to."""
        self._most: Sides | None = self._limits.most if self._limits.hard else None
        self._finished, self._numbers_seen = 0, False
        self.computing = Stopwatch()

    def run(self, read: Channel[ReadTile | DoneTile]) -> None:
        for tile in read:
            if isinstance(tile, DoneTile):
                self._advance(to_the_end=True)
                self._hand_on(tile)
                self.resumed += 1
            elif tile.is_empty or (self._skip_background and is_uniform(tile.pixels, tile.grey)):
                self._advance(to_the_end=True)
                self._skip(tile)
            else:
                self._waiting.extend(self._fitting(tile))
                self._advance()
        self._advance(to_the_end=True)

    def _advance(self, *, to_the_end: bool = False) -> None:
        """Submit full batches, and land what the slots have no room for; to the end: until all tiles are handed on."""
        while True:
            try:
                while batch := self._next_batch(partial=to_the_end):
                    self._submit(batch)
                    while len(self._in_flight) >= self._runtime.slots:
                        self._land()
                while to_the_end and self._in_flight:
                    self._land()
                return
            except OutOfMemoryError:
                self._start_over_smaller()

    def _next_batch(self, *, partial: bool) -> list[ReadTile]:
        """Tiles of one shape, as many as fit a submission; empty where more may still come to fill it."""
        shape = self._waiting[0].pixels.shape if self._waiting else None
        alike = 0
        while alike < min(len(self._waiting), self._limits.batch):
            if self._waiting[alike].pixels.shape != shape:
                break
            alike += 1
        if alike == len(self._waiting) and alike < self._limits.batch and not partial:
            return []
        return [self._waiting.popleft() for _ in range(alike)]

    def _submit(self, batch: list[ReadTile]) -> None:
        self._in_flight.append((batch, None))  # before it is submitted: a submission that fails is one to start over
        with self.computing:
            ticket = self._runtime.submit([tile.pixels for tile in batch], [tile.grey for tile in batch])
        self._in_flight[-1] = batch, ticket

    def _land(self) -> None:
        batch, ticket = self._in_flight[0]
        with self.computing:
            answer = self._runtime.result(ticket)
        self._in_flight.popleft()
        self._check_first(batch[0], answer)
        for index, tile in enumerate(batch):
            self._hand_on(_cut(tile, answer, index, self._runtime.card.margin), last_part=tile.last_part)

    def _check_first(self, read: ReadTile, answer: Answer) -> None:
        """Raise ModelError for an answer that no other tile would make right."""
        card = self._runtime.card
        _check_margin(read, answer, card)
        if not self._numbers_seen and answer.probabilities is not None:
            finite.check_answer(answer.probabilities, f"model {card.name!r}")
            self._numbers_seen = True

    def _hand_on(self, done: DoneTile, *, last_part: bool = True) -> None:
        self._done.put(done)
        self._finished += last_part
        if self._progress and last_part:
            self._progress(self._finished, self._total)

    def _skip(self, tile: ReadTile) -> None:
        height, width = tile.tile.write.height, tile.tile.write.width
        scores = None
        if self._runtime.probabilities:
            scores = np.zeros((1, len(self._runtime.card.classes), height, width), np.float32)
            scores[:, 0] = 1
        answer = Answer(np.zeros((1, height, width), np.uint8), scores)
        self._hand_on(_cut(tile, answer, 0, self._runtime.card.margin))
        self.skipped += 1

    def _start_over_smaller(self) -> None:
        """Take back what is in flight; finished tiles are kept."""
        flown = [tile for batch, _ in self._in_flight for tile in batch]
        # Larger ones were planned before another thread lowered the limits: to divide them may be enough.
        if all(_fits(tile.pixels, self._limits.most) for tile in flown):
            self._runtime.shrink(self._limits)
        self._limits = self._runtime.limits
        self._most = self._limits.most
        again = flown + list(self._waiting)
        self._in_flight.clear()
        self._waiting = deque(part for tile in again for part in self._fitting(tile))

    def _fitting(self, tile: ReadTile) -> list[ReadTile]:
        if self._most is None or _fits(tile.pixels, self._most):
            return [tile]
        return tile.divided(self._runtime.card, self._most)


def _fits(pixels: np.ndarray, most: Sides) -> bool:
    return pixels.shape[1] <= most[0] and pixels.shape[2] <= most[1]


def _check_margin(read: ReadTile, answer: Answer, card: ModelCard) -> None:
    """Raise ModelError unless the answer lacks as much at each side as the card says: labels would lie elsewhere."""
    takes, gives = read.pixels.shape[1:], answer.labels.shape[1:]
    if any(side - 2 * card.margin != left for side, left in zip(takes, gives, strict=True)):
        raise ModelError(
            f"model {card.name!r}: answers {gives[0]} x {gives[1]} pixels to {takes[0]} x {takes[1]}, but its card "
            f"says margin {card.margin}, base {card.base} and stride {card.stride}; export the model again"
        )


def _cut(read: ReadTile, answer: Answer, index: int, margin: int) -> DoneTile:
    height, width = read.tile.write.height, read.tile.write.width
    image = read.pixels[:, margin : margin + height, margin : margin + width]
    probabilities = None if answer.probabilities is None else answer.probabilities[index, :, :height, :width]
    labels = answer.labels[index, :height, :width]
    data = None
    if read.data is not None:
        data = read.data[margin : margin + height, margin : margin + width]
        labels, probabilities = _without(data, labels, probabilities)
    return DoneTile(read.page, read.tile, image, labels, probabilities, read.whole, data=data)


def _without(
    data: np.ndarray, labels: np.ndarray, probabilities: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The answer with class 0, for certain, where there is no data."""
    labels = np.where(data, labels, np.uint8(0))
    if probabilities is not None:
        certain = np.zeros((len(probabilities), 1, 1), np.float32)
        certain[0] = 1
        probabilities = np.where(data, probabilities, certain)
    return labels, probabilities


def _write(done: Channel[DoneTile], consumers: Sequence[Consumer], writing: Stopwatch) -> None:
    for tile in done:
        with writing:
            for consume in consumers:
                consume(tile)
