"""What is settled before the first tile of a file: the level of its pyramid, the region and its tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.images import ImageInfo, ImageSource, nearest_level
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import Pixels, pixels_for
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.outputs import Outputs, unfinished_key
from unet_deploy.stream.planner import Budget, plan_for
from unet_deploy.tiling import Region, TilePlan, aligned


def open_file(path: Path, options: Options) -> ImageSource:
    """Open an image, once: at the level that is asked for, or at the finest for `turn_to_level` to choose."""
    return options.reading.open(path, level=options.level or 0)


@contextmanager
def first_look(paths: Sequence[Path], options: Options) -> Iterator[tuple[Pixels, ImageSource | None]]:
    """The narrowest pixels that hold those of all these files, before a model is opened that is to serve them.

    A single image stays open and comes with them, so that it is opened but once; of many the headers are looked at.
    Files that cannot be read are left for later.
    """
    dtypes = []
    with ExitStack() as stack:
        kept: ImageSource | None = None
        for path in paths:
            with suppress(Exception):  # whatever it is, the work for this file says it
                source = open_file(path, options)
                dtypes.append(source.info.dtype)
                if len(paths) == 1:
                    kept = stack.enter_context(source)
                else:
                    source.close()
        yield pixels_for(*dtypes) if dtypes else "float32", kept


def turn_to_level(source: ImageSource, card: ModelCard, options: Options) -> int:
    """The level of an image from `open_file` that is to be segmented, 0 the finest; it is read from now on.

    Raises ImageError where the level depends on pixel sizes that are not known.
    """
    if options.level is not None:
        return options.level
    level = nearest_level(source.info, card.pixel_size_um)
    if level:
        source.turn_to(level)
    return level


def covered_region(info: ImageInfo, card: ModelCard, options: Options) -> Region:
    """What of each page is computed: all of it, or the region of interest from where the model's tiles may begin."""
    if options.roi is None:
        return info.region
    check_inside(options.roi, info)
    return aligned(options.roi, card.stride)


def check_inside(region: Region, info: ImageInfo) -> None:
    """Raise UsageError unless a region lies in the image."""
    if region.bottom > info.height or region.right > info.width:
        raise UsageError(
            f"{info.name}: the region ends at ({region.bottom}, {region.right}), "
            f"but the image at ({info.height}, {info.width})"
        )


def plan_file(
    source: ImageSource, region: Region, runtime: Runtime, outputs: Outputs, options: Options
) -> tuple[TilePlan, int | None]:
    """The tiles of a region of each page, and the most bytes that the process will hold with them.

    The bytes are None where the model's card has no measurement. Raises UsageError and ResourceError.
    """
    budget = Budget.of(
        source,
        region,
        runtime,
        overlay=bool(outputs.overlay),
        objects=outputs.count_objects,
    )
    written = replace(source.info, height=region.height, width=region.width)
    held = outputs.waiting_bytes(written, len(runtime.card.classes))
    if outputs.count_objects:
        from unet_deploy.objects.parts import most_bytes

        held += most_bytes(region, options.objects.decided_by(runtime.card.decision))
    budget = replace(budget, fixed=budget.fixed + held)
    plan = plan_for(runtime, region, options.tile_size, budget, options.max_memory, block=outputs.block)
    if options.resume and options.tile_size is None:
        plan = _resumed_plan(outputs.mask, plan) or plan
    memory = budget.peak(plan.input_height, plan.input_width)
    if options.max_memory and memory and memory > options.max_memory:
        raise ResourceError(
            f"{outputs.mask}: the unfinished run had tiles that need {memory / 1e6:.0f} MB; "
            "give more --max-memory, or start anew with --overwrite"
        )
    return plan, memory


def _resumed_plan(mask: Path, plan: TilePlan) -> TilePlan | None:
    """The tiles of the run that is resumed: what is free by now may let the planner choose others."""
    with suppress(TypeError, KeyError):
        tiles = unfinished_key(mask)["tile size"]
        return replace(plan, step_y=tiles["step_y"], step_x=tiles["step_x"], least=tuple(tiles["least"]))
    return None
