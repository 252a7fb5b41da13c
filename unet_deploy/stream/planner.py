"""Which tiles: the least time that a memory ceiling allows.

The work of a U-Net of valid convolutions on an input of sides h and w grows as (h - c) (w - c): inner levels lose their
margins as they go. So the work of a plan depends on the number of rows and columns alone, fewer are better, and
memory, which grows as the largest tile's area, bounds them. Counted on the graphs of depth 4 and widths 16 and 64, c is
0.62 of the two margins; the count of the original network is within 1 % of the formula from 572 to 4096 pixels.

Each tile costs something besides, to be read, handed on and written, whatever its size: a network without a margin has
no other reason to take large ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product, starmap

from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.images import ImageSource
from unet_deploy.runtimes import Runtime
from unet_deploy.stream.pipeline import QUEUED
from unet_deploy.system.machine import default_ceiling, resident_memory
from unet_deploy.tiling import Geometry, Region, Sides, TilePlan, least_side, plan_tiles

WORK_MARGIN = 0.62
"""Share of the two margins that costs no work."""

TILE_WORK = 512
"""What a tile costs by itself, in pixels of output: 0.23 ms from file to file on two cores, measured with a network of
one convolution in tiles of 16 to 64 pixels, at the 2 million pixels a second that the shipped network makes."""

WORTH = 1.06
"""How much more work a plan may be than the best one, if it takes less memory. So little is lost again in caches, and
in waiting for the first tile to be read and the last to be written: 4096 x 4096 is no faster in tiles of 2236."""


SMALL = 512 * 512
"""Pixels of an input below which a smaller tile saves no memory worth speaking of: there the cheapest plan is taken, as
for networks without a margin, whose tiles have no halo to waste."""


def work(height: int, width: int, geometry: Geometry, tall: int, wide: int) -> float:
    """Work of rows `tall` and columns `wide` of tiles, in pixels of output that had no halo."""
    halo = 2 * geometry.margin * (1 - WORK_MARGIN)
    return (height + tall * halo) * (width + wide * halo) + tall * wide * TILE_WORK


def choose_plan(
    height: int,
    width: int,
    geometry: Geometry,
    *,
    most: Sides,
    fits: Callable[[int, int], bool] = lambda height, width: True,
    least: Sides = (0, 0),
    origin: tuple[int, int] = (0, 0),
) -> TilePlan:
    """The plan of least work whose largest input (height, width) fits and has sides of at most `most`.

    Of plans that are within WORTH of the best, the one of the smallest tiles that are not SMALL.
    least, origin: as for `plan_tiles`.
    Raises ResourceError when not even the smallest tile fits.
    """
    region = Region(*origin, height, width)

    def plan_of(step_y: int, step_x: int) -> TilePlan:
        return _of_one_shape(TilePlan(region, step_y, step_x, geometry.margin, geometry.stride, geometry.base, least))

    steps = _steps(height, geometry, most[0]), _steps(width, geometry, most[1])
    if all(steps):
        largest = plan_of(*(each[0] for each in steps))
        sides = largest.input_height, largest.input_width
        if math.prod(sides) <= SMALL and fits(*sides):
            return largest  # none has fewer tiles: there is nothing to weigh up, image after image of a folder
    fitting = [plan for plan in starmap(plan_of, product(*steps)) if fits(plan.input_height, plan.input_width)]
    if not fitting:
        smallest = least_side(geometry)
        raise ResourceError(
            f"not even one tile of {smallest} x {smallest} pixels fits; give more --max-memory, or a smaller model"
        )
    costs = {id(plan): work(height, width, geometry, plan.rows, plan.columns) for plan in fitting}
    bound = WORTH * min(costs.values())
    worth = [plan for plan in fitting if costs[id(plan)] <= bound]
    return min(worth, key=lambda plan: (max(SMALL, plan.input_height * plan.input_width), costs[id(plan)]))


def _of_one_shape(plan: TilePlan) -> TilePlan:
    """With every new shape of a tile a runtime takes more memory, and some time to get ready."""
    return replace(plan, least=(plan.input_height, plan.input_width))


def fill_blocks(plan: TilePlan, block: int, fits: Callable[[int, int], bool]) -> TilePlan:
    """A plan of tiles that fill whole blocks of the mask, or the plan itself where those cost more than WORTH."""

    def cost(plan: TilePlan) -> float:
        tall, wide = (tile - 2 * plan.margin for tile in (plan.input_height, plan.input_width))
        return work(plan.rows * tall, plan.columns * wide, plan, plan.rows, plan.columns)

    def steps(step: int, side: int) -> set[int]:
        if step >= side:
            return {step}
        whole = math.lcm(block, plan.stride)
        return {max(whole, step // whole * whole), -(-step // whole) * whole}

    choices = product(steps(plan.step_y, plan.height), steps(plan.step_x, plan.width))
    plans = [_of_one_shape(replace(plan, step_y=y, step_x=x, least=(0, 0))) for y, x in choices]
    best = min((each for each in plans if fits(each.input_height, each.input_width)), key=cost, default=plan)
    return best if cost(best) <= WORTH * cost(plan) else plan


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
    table: int = 0
    """Bytes of a table of objects that lie as close as nuclei in tissue; how many there are is not known."""

    @classmethod
    def of(
        cls,
        source: ImageSource,
        region: Region,
        runtime: Runtime,
        *,
        overlay: bool,
        objects: bool = False,
    ) -> Budget:
        """The budget of a run over a region, as the process stands now: the model is loaded, the image is open."""
        info, card = source.info, runtime.card
        stored = info.channels * (4 if info.dtype.kind == "f" else info.dtype.itemsize)
        scores = 4 * len(card.classes) if runtime.probabilities else 0
        # A tile is there twice while it is mirrored; finished ones wait with their pixels for the writer.
        waiting = (2 * QUEUED + 3) * stored + (QUEUED + 1) * (1 + scores)
        waiting += _OBJECT_BYTES if objects else 0
        canvas = 0
        if overlay:
            from unet_deploy.masks.overlay import canvas_bytes  # Pillow takes as long to be loaded as a small tile

            canvas = canvas_bytes(*region.sides, info.channels, len(card.classes))
        table = info.pages * region.height * region.width // _PIXELS_AN_OBJECT * _TABLE_BYTES if objects else 0
        return cls(runtime, resident_memory() + source.cache_bytes + canvas + _SPARE, waiting, table)

    def peak(self, height: int, width: int) -> int | None:
        """Most bytes that the process will hold with tiles of this input; None where the card has no measurement."""
        computing = self.runtime.memory(height, width)
        return None if computing is None else self.fixed + computing + self.waiting * height * width

    def fits(self, height: int, width: int, ceiling: int | None) -> bool:
        """Whether tiles of this input keep the process below a ceiling, as far as that is known."""
        peak = self.peak(height, width)
        if ceiling is None or peak is None:
            return True
        return peak + min(self.table, _TABLE_SHARE * ceiling) <= _CAREFUL * ceiling


_OBJECT_BYTES = 25
"""For a pixel of the tile whose objects are being found."""

_TABLE_BYTES, _PIXELS_AN_OBJECT = 200, 4096

_TABLE_SHARE = 0.15
"""The most of a ceiling that is left free for the table: an image as large as that is mostly glass."""

_SPARE = 20_000_000
"""Bytes for threads, codecs and the tables of a percentile."""

_CAREFUL = 0.88
"""Share of a ceiling that is planned for: the rest is for what a prediction misses."""


def plan_for(
    runtime: Runtime,
    region: Region,
    tile_size: int | None = None,
    budget: Budget | None = None,
    max_memory: int | None = None,
    block: int | None = None,
) -> TilePlan:
    """The tiles of a region for a runtime: those of least work under a ceiling of memory, or of `tile_size`.

    region: of an image, the whole of it being `info.region`. tile_size: the most, in pixels a side.
    max_memory: bytes that the whole process may hold, by default a share of what is free.
    block: side of the blocks of the mask, for tiles that fill whole ones where that costs next to nothing.
    Raises UsageError, and ResourceError where nothing fits.
    """
    limits, card = runtime.limits, runtime.card
    if tile_size is not None:
        low, high = limits.least, limits.most
        if limits.hard and not max(low) <= tile_size <= min(high):
            takes = f"{low[0]} x {low[1]}" + ("" if low == high else f" to {high[0]} x {high[1]}")
            raise UsageError(f"--tile-size {tile_size}: {runtime.name} takes tiles of {takes} pixels; leave it out")
        plan = plan_tiles(*region.sides, card, tile=tile_size, least=limits.least, origin=region.origin)
        if block is None or limits.hard:
            return plan
        return fill_blocks(plan, block, lambda height, width: max(height, width) <= tile_size)
    if limits.hard:
        return plan_tiles(*region.sides, card, tile=limits.most, least=limits.least, origin=region.origin)
    plan_tiles(1, 1, card, tile=limits.most)  # says what is wrong with a --tile-size that is too small
    ceiling = max_memory or default_ceiling()

    def fits(height: int, width: int) -> bool:
        return budget is None or budget.fits(height, width, ceiling)

    def may(height: int, width: int) -> bool:
        return height <= limits.most[0] and width <= limits.most[1] and fits(height, width)

    plan = choose_plan(*region.sides, card, most=limits.most, fits=fits, least=limits.least, origin=region.origin)
    return plan if block is None else fill_blocks(plan, block, may)


PROOF_TILE = 700
"""Side of the tiles that a CPU's runtime is proved on: two runtimes are in memory at once."""


def proof_plan(runtime: Runtime, region: Region) -> TilePlan:
    """Tiles to prove a runtime on: its own where shapes matter to it, small ones elsewhere."""
    limits = runtime.limits
    return plan_for(runtime, region, None if limits.hard else min(PROOF_TILE, *limits.most))
