"""What segmenting an image will take, before it is begun: memory planned, disk bounded, time measured on one tile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np

from unet_deploy.images import ImageInfo, ImageSource, check_fits
from unet_deploy.images.grey import measure_page
from unet_deploy.images.pyramid import Pyramid
from unet_deploy.masks import Keep, format_of
from unet_deploy.masks.apart import check_apart
from unet_deploy.masks.overlay import MOST_SIDE
from unet_deploy.masks.tiff import LEVEL
from unet_deploy.model.contract import pixels_for
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.compute import Compute, stream_here
from unet_deploy.segmentation.measuring import scale_for
from unet_deploy.segmentation.models import Model, models_of
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.outputs import Outputs, check_outputs, unfinished, unfinished_key
from unet_deploy.segmentation.places import frame_of
from unet_deploy.segmentation.planning import covered_region, open_file, plan_file, turn_to_level
from unet_deploy.segmentation.same_job import mark_of_job
from unet_deploy.segmentation.scaling import Scaled
from unet_deploy.stream.pipeline import DoneTile, stream
from unet_deploy.stream.precision import foresee_precision
from unet_deploy.stream.tta import averaged
from unet_deploy.tiling import Region, TilePlan

_LONG = 5.0
"""Seconds of a tile beside which nothing is lost by getting ready for the first."""


@dataclass(frozen=True)
class Disk:
    """Bytes that the outputs take, the table of objects left out: how many there are is not known."""

    peak: int
    """While they are made: the blocks of a TIFF wait beside it until all files have their names."""
    end: int


@dataclass(frozen=True)
class Forecast:
    """What segmenting an image will take."""

    image: ImageInfo
    model: str
    """What computes, and by what."""
    scaled: Scaled
    plan: TilePlan
    memory: int | None
    """Peak bytes of the process, None where the model's card has no measurement."""
    most: Disk
    """With pixels that do not pack at all."""
    likely: Disk
    """With all pixels packed as those of the tile that was computed."""
    free: int
    """Bytes of the outputs' disk."""
    seconds: float
    """By the time of one tile; what is skipped or finished already takes none."""
    precision: str = ""
    """What `auto` will take, and why; empty where it has no choice. What is still to be proved is timed in float32."""
    unfinished: bool = False
    """Whether tiles of a run that did not end are kept beside the mask."""


@dataclass(frozen=True)
class _Sample:
    """What one tile has shown of all."""

    seconds: float
    labels: float
    """Packed bytes for each byte of labels."""
    probabilities: float


def forecast(
    path: Path, model: Model, outputs: Outputs, options: Options, *, compute: Compute = stream_here
) -> Forecast:
    """What `segment_file` would do. Computes one tile and writes nothing.

    Memory and time are those of one process that does it all.
    Raises what the run would of outputs that are there; a folder of the mask that is not there is made by then.
    """
    check_apart(outputs.places, [path])
    options = replace(options, max_memory=compute.share(options.max_memory))
    with ExitStack() as stack:
        source = stack.enter_context(open_file(path, options))
        levels = stack.enter_context(Pyramid(source))
        request = Request(
            precision="auto",
            probabilities=options.tta or outputs.of_probabilities(options.objects.peak),
            pixels=pixels_for(source.info.dtype),
            threshold=options.threshold,
        )
        models = stack.enter_context(models_of(model, request))
        turn_to_level(source, models.card, options)
        info = source.info
        check_fits(info, models.card)
        if outputs.mask.parent.is_dir():
            job = mark_of_job(source.state(), outputs, models, options)
            outputs = outputs.with_sure(options.objects.peak_by(models.card.decision))
            keep = Keep(resume=options.resume, overwrite=options.overwrite, job=job)
            check_outputs(outputs, info, len(models.card.classes), keep)
        if outputs.objects:
            frame_of(info, options.objects.coordinates, outputs.objects)
        measured = scale_for(models, levels, options.scaling, options.max_memory)
        scaled, seen = measured.scaled, measured.source
        recorded = unfinished_key(outputs.mask).get("runtime") if options.resume else None
        settled = foresee_precision(models.at(scaled.scale, telling=outputs.sure is not None), recorded)
        runtime = settled.runtime
        options = models.options_for(runtime, options)
        ready = averaged(runtime, options.tta)
        region = covered_region(info, ready.card, options)
        plan, memory = plan_file(seen, region, ready, outputs, options)
        sample = _sample(seen, plan, ready)
        most, likely = (
            _disk(_files(outputs, info, region, len(ready.card.classes), *shares))
            for shares in ((1.0, 1.0), (sample.labels, sample.probabilities))
        )
        what = f"{ready.card.name} on {ready.name}"
        disk = (most, likely, _free(outputs.mask))
        kept = unfinished(outputs.mask).exists()
        return Forecast(info, what, scaled, plan, memory, *disk, sample.seconds, settled.why, kept)


def _sample(source: ImageSource, plan: TilePlan, runtime: Runtime) -> _Sample:
    """Compute a whole tile from the middle of the first page, and scale its time to all tiles of all pages."""
    info = source.info
    tile = plan[(plan.rows - 1) // 2 * plan.columns + (plan.columns - 1) // 2]
    band = Region(tile.write.y, 0, tile.write.height, info.width)
    start = time.perf_counter()
    grey = measure_page(source, 0, runtime.card.normalization, band)
    measuring = (time.perf_counter() - start) * info.height / band.height
    shares = [1.0, 1.0]

    def pack(done: DoneTile) -> None:
        shares[0] = _packed(done.labels)
        if done.probabilities is not None:
            shares[1] = _packed(done.probabilities)

    def compute() -> float:
        return stream(source, [tile], runtime, [pack], greys={0: grey}).wall

    seconds = compute()
    if seconds < _LONG:
        seconds = compute()
    alike = plan.overhead * plan.height * plan.width / (tile.read.height * tile.read.width)
    return _Sample(info.pages * (measuring + alike * seconds), *shares)


def _packed(pixels: np.ndarray) -> float:
    """Bytes after packing for each byte before."""
    return len(imagecodecs.deflate_encode(pixels.tobytes(), level=LEVEL)) / pixels.nbytes


def _files(
    outputs: Outputs, image: ImageInfo, region: Region, classes: int, labels: float, probabilities: float
) -> Iterator[tuple[int, bool]]:
    """Bytes of each output, and whether its blocks wait in a spool.

    region: what tiles write of each page. labels, probabilities: packed bytes for each byte.
    """
    for path, form in outputs.forms(image, classes, region):
        share = labels if form.is_labels else probabilities
        yield format_of(path).written_bytes(form, share), format_of(path).spooled
    if outputs.overlay:
        yield 3 * min(region.height, MOST_SIDE) * min(region.width, MOST_SIDE), False


def _disk(files: Iterator[tuple[int, bool]]) -> Disk:
    sizes = list(files)
    end = sum(size for size, _ in sizes)
    return Disk(end + sum(size for size, waits in sizes if waits), end)


def _free(mask: Path) -> int:
    """Bytes left where a mask will be, whose folder may not be there yet."""
    return shutil.disk_usage(next(folder for folder in mask.absolute().parents if folder.exists())).free
