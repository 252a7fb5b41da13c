"""How large the objects of an image are, seen at a small scale first, and the scale that follows from it.

At a quarter of its size an image costs a sixteenth, and objects that are too large for the network as they are have
come into its range. Where what is found there is too small to be measured, the image is looked at closer:

    scale        1/4          1/2          1
    found      10 px or more: that is it, by 4; otherwise look closer; at 1 whatever is found

One network does for all three: the model as its file has it, in float32 on the processor, which gets shrunk tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, measure_page
from unet_deploy.images.pyramid import OneLevel
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import Change
from unet_deploy.model.scaling import LEAST
from unet_deploy.objects.typical import Components
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.models import Given, Models
from unet_deploy.segmentation.scaling import AS_IT_IS, Scaled, Scaling, require_diameter, scale_of
from unet_deploy.stream.pipeline import NOTHING_KNOWN, DoneTile, stream
from unet_deploy.stream.planner import Budget
from unet_deploy.stream.shrunk import shrunk
from unet_deploy.system.beside import beside
from unet_deploy.system.machine import default_ceiling
from unet_deploy.tiling import Tile, TilePlan, legal_side, plan_tiles

SHRUNK_BY = (4, 2, 1)
"""Pixels of the image, each way, for one that the network sees: an image is looked at so, one after another."""

LEAST_SEEN = 10
"""Pixels of the network: of smaller objects the diameter is not to be trusted, or the network does not see them."""

SIDE = 320
"""Pixels of the network that a tile of the sample answers: large beside an object, and small enough to have many."""

SHARE, AT_LEAST, AT_MOST = 0.05, 8, 300
"""Of all tiles that are looked at at one scale, and how many at least, where there are as many, and at most."""

ENOUGH = 50
"""Objects: the diameter is known to some per cent then."""

AT_ONCE = 2
"""Tiles that are read, computed and looked at side by side before it is asked whether that is enough."""

LARGE = 1 << 20
"""Pixels of an image whose grey values are counted beside the opening of the model: of fewer that takes no time."""

MOST = 2.0
"""The largest scale that is taken by itself: specks that are no objects ask for larger ones, at many times the time."""

STEPS = 4
"""Scales to an octave that are taken, so that images that are alike have one: each is within 9 % of its image's own."""


@dataclass(frozen=True)
class Measured:
    """What was seen of an image."""

    scaled: Scaled
    source: ImageSource
    """The image as it is read at that scale, open as long as its levels are."""
    greys: Mapping[int, GreyScale] = field(default_factory=dict)
    """The grey scales of its pages that are known, for the run itself."""

    @classmethod
    def of(cls, scaled: Scaled, levels: OneLevel, greys: Mapping[ImageSource, Mapping[int, GreyScale]]) -> Measured:
        """What is read at a scale. greys: of the levels that were looked at."""
        read = levels.at(scaled.scale)
        return cls(scaled.read_as(read), read.source, greys.get(read.source, NOTHING_KNOWN))


def scale_for(
    models: Models | Given,
    levels: OneLevel,
    scaling: Scaling,
    max_memory: int | None = None,
    greys: Mapping[int, GreyScale] = NOTHING_KNOWN,
) -> Measured:
    """The scale at which an image, open at its level, is taken; measured where that is asked for or the card says so.

    levels: what of the image is read at a scale. max_memory: bytes that the whole process may hold, by default a share
    of what is free. greys: the grey scales of pages that are known, at the level at which the image is open.
    Raises UsageError and ImageError, and what opening the model and reading the image do.
    """
    known, info = {levels.image: greys}, levels.image.info
    by_card = not scaling.is_asked and models.card.decision.diameter is not None
    if not models.rescales:
        wanted = 1.0 if by_card else scale_of(scaling, models.card, info).scale
        models.at(wanted)
        return Measured.of(AS_IT_IS, levels, known)
    if by_card or scaling.diameter == "auto":
        return measure_scale(models, levels, max_memory, greys)
    return Measured.of(scale_of(scaling, models.card, info), levels, known)


def measure_scale(
    models: Models | Given,
    levels: OneLevel,
    max_memory: int | None = None,
    greys: Mapping[int, GreyScale] = NOTHING_KNOWN,
) -> Measured:
    """The scale at which the objects of an image have the diameter that the model knows best.

    The middle page is looked at, whatever part of it is to be segmented. The same image gives the same answer.
    levels, max_memory, greys: as of `scale_for`. Raises what opening the model and reading the image do.
    """
    card, page = models.card, (levels.image.info.pages - 1) // 2
    require_diameter(card, "auto")
    known, diameter = {levels.image: greys}, None

    def grey_of(source: ImageSource, check: Callable[[], None] = lambda: None) -> GreyScale:
        here = known.get(source, NOTHING_KNOWN)
        grey = here.get(page) or measure_page(source, page, card.normalization, check=check)
        known[source] = {**here, page: grey}
        return grey

    first = levels.at(1 / SHRUNK_BY[0]).source
    is_large = math.prod(first.info.region.sides) > LARGE
    with beside(partial(grey_of, first)) if is_large else nullcontext(partial(grey_of, first)) as grey_of_first:
        runtime = models.looking()
        grey_of_first()
    for step in SHRUNK_BY:
        source, seen = levels.at(1 / step).source, shrunk(runtime, step)
        plan, scales = _plan(source, seen, step, max_memory), {page: grey_of(source)}
        diameter = _areas(source, seen, plan, scales, step).diameter
        if diameter is not None and diameter >= LEAST_SEEN * step:
            break
    scaled = fitting(diameter, card)
    if max_memory:
        models.close()  # it is opened anew for the run, and holds nothing of what was looked at
    return Measured.of(scaled, levels, known)


def fitting(diameter: float | None, card: ModelCard) -> Scaled:
    """The scale for objects of this diameter in pixels of the image; None where there are none."""
    decision, known = card.decision, require_diameter(card, "auto")
    if diameter is None:
        return Scaled(1.0, "nothing was found by which to choose a scale")
    why = f"objects of about {diameter:.3g} px"
    if decision.diameters is not None and decision.diameters[0] <= diameter <= decision.diameters[1]:
        return Scaled(1.0, why, diameter)
    step = round(STEPS * math.log2(known / diameter))
    scale = min(MOST, max(LEAST, 2 ** (step / STEPS)))
    return Scaled(Change(scale).scale_of(card.stride), why, diameter)


def _areas(
    source: ImageSource, runtime: Runtime, plan: TilePlan, greys: Mapping[int, GreyScale], step: int
) -> Components:
    """What is found on a sample of a plan's tiles, until it is enough. step: pixels of the image for a network's."""
    found = Components()

    def look(done: DoneTile) -> None:
        nonlocal found
        found += Components.of(done.labels, step)

    for tiles in _sample(plan):
        stream(source, tiles, runtime, [look], greys=greys, skip_background=True)
        if len(found) >= ENOUGH:
            break
    return found


def _plan(source: ImageSource, runtime: Runtime, step: int, max_memory: int | None) -> TilePlan:
    """All tiles of a page that the sample is taken of, smaller ones where memory is short."""
    card, page = runtime.card, source.info.region
    budget = Budget.of(source, page, runtime, overlay=False)
    plans = [
        plan_tiles(*page.sides, card, tile=legal_side(2 * card.margin + answered * step, card))
        for answered in (SIDE, SIDE // 2, SIDE // 4)
    ]
    ceiling = max_memory or default_ceiling()
    return next((each for each in plans if budget.fits(each.input_height, each.input_width, ceiling)), plans[-1])


def _sample(plan: TilePlan) -> Iterator[list[Tile]]:
    """Some tiles of a plan, from all over it, in an order that depends on nothing but how many there are."""
    count = min(len(plan), AT_MOST, max(AT_LEAST, math.ceil(SHARE * len(plan))))
    step = _coprime(round(len(plan) * (math.sqrt(5) - 1) / 2), len(plan))
    order = [(len(plan) // 2 + at * step) % len(plan) for at in range(count)]
    for at in range(0, count, AT_ONCE):
        yield [plan[index] for index in order[at : at + AT_ONCE]]


def _coprime(step: int, count: int) -> int:
    """The next step that comes to each of so many before it comes to one again."""
    step = max(1, step)
    while math.gcd(step, count) != 1:
        step += 1
    return step
