"""From images to the regions of them that are worth annotating, and what a person is to see of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path

from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images import ImageInfo, ImageSource, check_fits
from unet_deploy.images.grey import GreyScale
from unet_deploy.images.orientation import stored_region, upright_order
from unet_deploy.images.pyramid import OneLevel
from unet_deploy.images.state import changed
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.measuring import scale_for
from unet_deploy.segmentation.models import Given, Model, Models, models_of
from unet_deploy.segmentation.options import DEFAULTS, Options
from unet_deploy.segmentation.planning import check_inside, first_look, open_file, turn_to_level
from unet_deploy.segmentation.scaling import Scaled
from unet_deploy.stream.pipeline import PageScales, stream
from unet_deploy.stream.planner import Budget, plan_for
from unet_deploy.stream.precision import settle_precision
from unet_deploy.stream.tta import averaged
from unet_deploy.suggestion import cells
from unet_deploy.suggestion.cells import Cells, Grid
from unet_deploy.suggestion.choice import MOST, Candidates, choose
from unet_deploy.suggestion.views import View
from unet_deploy.system.arguments import path as path_of
from unet_deploy.system.arguments import settle, whole, whole_or_none
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region, TilePlan, aligned

SIDE = 128
"""Of a region, in pixels as the network sees them: it takes four or five objects of a size that it knows side by side,
and many small regions show more of an image than few large ones."""

_COMPARING = 3 * 4 * MOST**2
"""Bytes for comparing candidates while the model is open."""


@dataclass(frozen=True)
class Wanted:
    """What is to be suggested. Raises UsageError."""

    count: int = 10
    """Regions, in all images together."""
    side: int | None = None
    """Of a region in pixels of an image, made even; None for SIDE at the image's scale, and less in small ones."""
    apart_from: Mapping[Path, Sequence[Region]] = field(default_factory=dict)
    """Of images, the regions that are annotated already, in pixels of the finest level as it is shown: they stand for
    what is like them, and none that shares a pixel with them is suggested."""

    def __post_init__(self) -> None:
        settle(self, count=whole, side=whole_or_none)
        if self.count < 1:
            raise UsageError(f"--number {self.count}: give at least one region")
        if self.side is not None and self.side < 2:
            raise UsageError(f"--side {self.side}: give at least two pixels")

    def annotated_in(self, image: Path) -> list[Region]:
        """What of an image is annotated already."""
        return [region for path, regions in self.apart_from.items() if Path(path) == image for region in regions]

    def side_in(self, part: Region, scale: float) -> int:
        """Of the regions in a part of an image that is seen at this scale.

        By default it is at most half the part, so that there is a choice, where at least half as wide as elsewhere.
        """
        usual, shorter = round(SIDE / scale), min(part.sides)
        return self.side or max(2, min(usual, max(shorter // 2, min(shorter, usual // 2))))


@dataclass(frozen=True, eq=False)
class Looked:
    """An image that was looked at."""

    path: Path
    info: ImageInfo
    scaled: Scaled
    grid: Grid
    greys: Mapping[int, GreyScale]
    """Of each page."""
    candidates: Candidates


@dataclass(frozen=True)
class Suggestion:
    """A region that is worth annotating."""

    image: Looked
    page: int
    region: Region
    """In pixels of the level."""
    doubt: float
    """How unsure the model is of it, as `choice.doubt` says."""


def suggest(
    images: Sequence[str | Path],
    model: Model | Given = None,
    wanted: Wanted = Wanted(),
    options: Options = DEFAULTS,
    *,
    device: str = "auto",
    source: ImageSource | None = None,
    progress: Progress | None = None,
) -> list[Suggestion]:
    """The regions of some images that together stand for most of what is there, in the order of what each adds.

    Fewer than are wanted come where no others fit that do not overlap and have something in them.
    model: as `segment_file` takes it, opened with probabilities. source: the only image, where `planning.first_look`
    has opened it already with these options; it is left open. progress: called with tiles done and tiles in all, image
    by image.
    Memory follows the grids of regions, not the pixels. Raises UsageError for an image that is smaller than a region,
    ImageError where nothing is found in any, and what segmenting them would.
    """
    paths, looked = [path_of(image, "images") for image in images], list[Looked]()
    with models_of(model, _request(paths, options, device)) as models:
        for path in paths:
            with _opened(path, models, options, source) as image:
                looked.append(_look(path, image, models, wanted, options, progress))
    candidates = reduce(add, (each.candidates.of_image(at) for at, each in enumerate(looked))).thinned()
    if candidates.annotated.all():
        names = looked[0].info.name + (f" and {len(looked) - 1} more" if len(looked) > 1 else "")
        if len(candidates):
            raise ImageError(f"{names}: all of it that is not empty is annotated already; give another image")
        raise ImageError(
            f"{names}: nothing was found and nothing is unsure, so there is no region to suggest; "
            "give another --scale or another model"
        )
    return [_suggestion(looked, candidates, at) for at in choose(candidates, wanted.count)]


def _request(paths: Sequence[Path], options: Options, device: str) -> Request:
    """How a model that is not open yet is to be run."""
    with first_look(paths, options) as (pixels, _):
        return Request(
            device=device,
            precision="auto",
            probabilities=True,
            pixels=pixels,
            tile_size=options.tile_size,
            threshold=options.threshold,
        )


def _suggestion(looked: Sequence[Looked], candidates: Candidates, at: int) -> Suggestion:
    image, page, row, column = candidates.places[at].tolist()
    region = looked[image].grid.region_at(row, column)
    return Suggestion(looked[image], page, region, float(candidates.doubts[at]))


def views(suggestions: Sequence[Suggestion], models: Models | Given, options: Options = DEFAULTS) -> Iterator[View]:
    """What a person is to see of each: its pixels, and once more what the model says of them."""
    for each in suggestions:
        with _opened(each.image.path, models, options) as source:
            runtime = models.at(each.image.scaled.scale)
            ready = averaged(runtime, options.tta)
            view = View(each.region, ready.card.decision)
            part = aligned(each.region, ready.card.stride)
            plan = _plan(source, part, ready, models.options_for(runtime, options))
            stream(source, plan, ready, [view], greys={each.page: each.image.greys[each.page]})
            yield view


@contextmanager
def _opened(
    path: Path, models: Models | Given, options: Options, source: ImageSource | None = None
) -> Iterator[ImageSource]:
    """An image at its level, or the one that is open already. Raises ImageError where it was changed in between."""
    image = source or open_file(path, options)
    try:
        turn_to_level(image, models.card, options)
        check_fits(image.info, models.card)
        state = image.state()
        yield image
        if image.state() != state:
            raise changed(image.info.name)
    finally:
        if image is not source:
            image.close()


def _look(
    path: Path,
    source: ImageSource,
    models: Models | Given,
    wanted: Wanted,
    options: Options,
    progress: Progress | None,
) -> Looked:
    """Stream all pages of an image through the model."""
    info, part = source.info, options.roi or source.info.region
    check_inside(part, info)
    Grid.over(part, wanted.side or 2, info.name)
    measured = scale_for(models, OneLevel(source), options.scaling, options.max_memory)
    opened = models.at(measured.scaled.scale)
    grid = Grid.over(part, wanted.side_in(part, measured.scaled.scale), info.name)
    settled = settle_precision(opened, source, measured.greys)
    runtime = settled.runtime
    ready = averaged(runtime, options.tta)
    held = cells.held_bytes(grid, info.channels, len(ready.card.classes)) + _COMPARING
    options = models.options_for(runtime, options)
    plan = _plan(source, aligned(grid.covered, ready.card.stride), ready, options, held)
    annotated = [grid.meeting(_at_level(region, info)) for region in wanted.annotated_in(path)]
    scales = PageScales(source, ready.card.normalization, settled.greys)
    greys: dict[int, GreyScale] = {}

    def seen(page: int) -> Candidates:
        greys[page] = scales[page]
        added = Cells(grid, greys[page], ready.card)
        told = _of_page(progress, page, info.pages)
        here, skip = {page: greys[page]}, options.skip_background
        stream(source, plan, ready, [added], greys=here, skip_background=skip, progress=told)
        return reduce(lambda found, at: found.with_annotated(*at), annotated, Candidates.of(added.regions, page))

    candidates = reduce(lambda before, page: (before + page).thinned(), map(seen, range(info.pages)))
    return Looked(path, info, measured.scaled, grid, greys, candidates.thinned())


def _at_level(region: Region, info: ImageInfo) -> Region:
    """Where a region of the finest level, as it is shown, lies in the level as it is stored: all pixels it touches."""
    steps = upright_order((info.place.step_y, info.place.step_x), info.orientation)
    y, x = (math.floor(start / step) for start, step in zip(region.origin, steps, strict=True))
    bottom, right = (math.ceil(end / step) for end, step in zip((region.bottom, region.right), steps, strict=True))
    return stored_region(Region(y, x, bottom - y, right - x), info)


def _plan(source: ImageSource, region: Region, ready: Runtime, options: Options, held: int = 0) -> TilePlan:
    """The tiles of a region. held: bytes beside those of the tiles."""
    budget = Budget.of(source, region, ready, overlay=False)
    budget = replace(budget, fixed=budget.fixed + held, waiting=budget.waiting + cells.BYTES)
    return plan_for(ready, region, options.tile_size, budget, options.max_memory)


def _of_page(progress: Progress | None, page: int, pages: int) -> Progress | None:
    """Progress of all pages, told that of one."""
    if progress is None:
        return None
    return lambda done, total, title="": progress(page * total + done, pages * total)
