"""Which tiles: the least time that a memory ceiling allows.

The work of a U-Net of valid convolutions on an input of sides h and w grows as (h - c) (w - c): inner levels lose their
margins as they go. So the work of a plan depends on the number of rows and columns alone, fewer are better, and
memory, which grows as the largest tile's area, bounds them. Counted on the graphs of depth 4 and widths 16 and 64, c is
0.62 of the two margins; the count of the original network is within 1 % of the formula from 572 to 4096 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.machine import default_ceiling, resident_memory
from unet_deploy.pipeline import QUEUED
from unet_deploy.runtimes import Runtime
from unet_deploy.tiling import Geometry, Sides, TilePlan, legal_side, plan_tiles

WORK_MARGIN = 0.62
"""Share of the two margins that costs no work."""

WORTH = 1.06
"""How much more work a plan may be than the best one, if it takes less memory. So little is lost again in caches, and
in waiting for the first tile to be read and the last to be written: 4096 x 4096 is no faster in tiles of 2236."""


def work(height: int, width: int, geometry: Geometry, tall: int, wide: int) -> float:
    """Work of rows `tall` and columns `wide` of tiles, in pixels of output that had no halo."""
    halo = 2 * geometry.margin * (1 - WORK_MARGIN)
    return (height + tall * halo) * (width + wide * halo)


def choose_plan(
    height: int,
    width: int,
    geometry: Geometry,
    *,
    most: Sides,
    fits: Callable[[int, int], bool] = lambda height, width: True,
    least: Sides = (0, 0),
) -> TilePlan:
    """The plan of least work whose largest input (height, width) fits and has sides of at most `most`.

    Of plans that are within WORTH of the best, the one of the smallest tiles. least: as for `plan_tiles`.
    Raises ResourceError when not even the smallest tile fits.
    """

    def plan(step_y: int, step_x: int) -> TilePlan:
        # All tiles of one shape: with every new one a runtime takes more memory, and some time to get ready.
        written = min(step_y, height), min(step_x, width)
        sides = zip(written, least, strict=True)
        tall, wide = (legal_side(max(side + 2 * geometry.margin, low), geometry) for side, low in sides)
        shape = tall, wide
        return TilePlan(height, width, step_y, step_x, geometry.margin, geometry.stride, geometry.base, shape)

    candidates = [
        plan(step_y, step_x)
        for step_y in _steps(height, geometry, most[0])
        for step_x in _steps(width, geometry, most[1])
    ]
    fitting = [plan for plan in candidates if fits(plan.input_height, plan.input_width)]
    if not fitting:
        smallest = legal_side(2 * geometry.margin + geometry.stride, geometry)
        raise ResourceError(
            f"not even one tile of {smallest} x {smallest} pixels fits; give more --max-memory, or a smaller model"
        )
    costs = {id(plan): work(height, width, geometry, plan.rows, plan.columns) for plan in fitting}
    bound = WORTH * min(costs.values())
    worth = [plan for plan in fitting if costs[id(plan)] <= bound]
    return min(worth, key=lambda plan: (plan.input_height * plan.input_width, costs[id(plan)]))


def _steps(side: int, geometry: Geometry, most: int) -> list[int]:
    """Pixels between origins for 1, 2, 3 tiles along a side, each as even as the stride allows, within `most`."""
    stride = geometry.stride
    largest = (geometry.base + (most - geometry.base) // stride * stride - 2 * geometry.margin) // stride * stride
    steps: dict[int, None] = {}
    for count in range(1, -(-side // stride) + 1):
        step = -(-side // (count * stride)) * stride
        if step <= largest:
            steps[step] = None
        if len(steps) > _CHOICES:
            break
    return list(steps)


_CHOICES = 40
"""Counts of tiles along a side that are looked at, from the fewest that fit."""


@dataclass(frozen=True)
class Budget:
    """Where the memory of a run goes."""

    runtime: Runtime
    fixed: int
    """Bytes that are taken whatever the tiles."""
    waiting: int
    """Bytes for a pixel of a tile that waits between reading, computing and writing."""

    @classmethod
    def of(
        cls, source: ImageSource, runtime: Runtime, *, probabilities: bool, overlay: bool, objects: bool = False
    ) -> Budget:
        """A run's budget as the process stands now: the model is loaded, the image is open."""
        from unet_deploy.images.overlay import canvas_bytes

        info, card = source.info, runtime.card
        stored = info.channels * (4 if info.dtype.kind == "f" else info.dtype.itemsize)
        scores = 4 * len(card.classes) if probabilities else 0
        # A tile is there twice while it is mirrored; finished ones wait with their pixels for the writer.
        waiting = (2 * QUEUED + 3) * stored + (QUEUED + 1) * (1 + scores)
        waiting += _OBJECT_BYTES if objects else 0
        canvas = canvas_bytes(info.height, info.width, info.channels, len(card.classes)) if overlay else 0
        return cls(runtime, resident_memory() + source.cache_bytes + canvas + _SPARE, waiting)

    def peak(self, height: int, width: int) -> int | None:
        """Most bytes that the process will hold with tiles of this input; None where the card has no measurement."""
        computing = self.runtime.memory(height, width)
        return None if computing is None else self.fixed + computing + self.waiting * height * width


_OBJECT_BYTES = 25
"""For a pixel of the tile whose objects are being found. Their table grows with them: 200 bytes each."""

_SPARE = 20_000_000
"""Bytes for threads, codecs and the tables of a percentile."""

_CAREFUL = 0.88
"""Share of a ceiling that is planned for: the rest is for what a prediction misses."""


def plan_for(
    runtime: Runtime,
    info: ImageInfo,
    tile_size: int | None = None,
    budget: Budget | None = None,
    max_memory: int | None = None,
) -> TilePlan:
    """The tiles of an image for a runtime: those of least work under a ceiling of memory, or of `tile_size`.

    max_memory: bytes that the whole process may hold, by default a share of what is free.
    Raises UsageError, and ResourceError where nothing fits.
    """
    limits, card = runtime.limits, runtime.card
    if tile_size is not None:
        low, high = limits.least, limits.most
        if limits.hard and not max(low) <= tile_size <= min(high):
            takes = f"{low[0]} x {low[1]}" + ("" if low == high else f" to {high[0]} x {high[1]}")
            raise UsageError(f"--tile-size {tile_size}: {runtime.name} takes tiles of {takes} pixels; leave it out")
        return plan_tiles(info.height, info.width, card, tile=tile_size, least=limits.least)
    if limits.hard:
        return plan_tiles(info.height, info.width, card, tile=limits.most, least=limits.least)
    plan_tiles(1, 1, card, tile=limits.most)  # says what is wrong with a --tile-size that is too small
    ceiling = max_memory or default_ceiling()

    def fits(height: int, width: int) -> bool:
        peak = budget.peak(height, width) if budget else None
        return ceiling is None or peak is None or peak <= _CAREFUL * ceiling

    return choose_plan(info.height, info.width, card, most=limits.most, fits=fits, least=limits.least)


PROOF_TILE = 700
"""Side of the tiles that a CPU's runtime is proved on: two runtimes are in memory at once."""


def proof_plan(runtime: Runtime, info: ImageInfo) -> TilePlan:
    """Tiles to prove a runtime on: its own where shapes matter to it, small ones elsewhere."""
    limits = runtime.limits
    return plan_for(runtime, info, None if limits.hard else min(PROOF_TILE, *limits.most))
