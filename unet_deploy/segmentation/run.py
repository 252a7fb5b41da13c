"""Segment one image: the plan, the stream and the files together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from unet_deploy.errors import ChangedError, ImageError, UsageError
from unet_deploy.images import ImageSource, check_fits
from unet_deploy.images.array import ALL_CHANNELS, ArraySource, Channels
from unet_deploy.images.grey import GreyScale, check_dtype
from unet_deploy.images.likeness import likeness
from unet_deploy.images.pyramid import OneLevel, Pyramid
from unet_deploy.images.state import changed
from unet_deploy.masks import Keep
from unet_deploy.masks.apart import check_apart
from unet_deploy.masks.array import ArraySink
from unet_deploy.masks.origin import Origin
from unet_deploy.model.contract import pixels_for
from unet_deploy.model.decision import Decision
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.compute import Compute, Task, stream_here
from unet_deploy.segmentation.measuring import scale_for
from unet_deploy.segmentation.models import Given, Model, Models, models_of
from unet_deploy.segmentation.options import DEFAULTS, Options
from unet_deploy.segmentation.outputs import Outputs, check_outputs, unfinished_key
from unet_deploy.segmentation.planning import covered_region, open_file, plan_file, turn_to_level
from unet_deploy.segmentation.report import Report
from unet_deploy.segmentation.same_job import key_of_run, mark_of_job
from unet_deploy.segmentation.scaling import AS_THE_CARD_SAYS, Scaling
from unet_deploy.segmentation.trust import judge
from unet_deploy.segmentation.writer import OutputWriter, Subject, write_labels, write_probabilities
from unet_deploy.stream.pipeline import NOTHING_KNOWN, Consumer, PageScales, stream
from unet_deploy.stream.planner import Budget, plan_for
from unet_deploy.stream.precision import settle_precision
from unet_deploy.stream.tta import averaged
from unet_deploy.system.arguments import callable_or_none, kind_of, yes_or_no
from unet_deploy.system.arguments import path as path_of
from unet_deploy.system.progress import Progress
from unet_deploy.zoo import Asked, Request, find_model

__all__ = ["Options", "Outputs", "Report", "begin_file", "segment", "segment_array", "segment_file"]

SMALL = 1 << 20
"""Pixels of an image, all pages together, that is segmented in about the time that files take to be written safely."""


def segment(
    image: Any,
    *,
    model: Model = None,
    channels: Channels = ALL_CHANNELS,
    scaling: Scaling = AS_THE_CARD_SAYS,
    tta: bool = False,
    progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Segment an array in memory.

    image: (H, W), (C, H, W), (H, W, C) or (pages, C, H, W) grey values of any integer or float type, in a NumPy array
    or in what becomes one: an array of Dask, Zarr or PyTorch, which is loaded, or a picture of Pillow.
    model: a model file, an engine, a shipped model's name, or what `open_model` returned.
    channels: where they are and which is taken, by default all, where the image says or else `guessed_axis`.
    scaling: at which scale the image is taken; the answer lies on the image's own grid.
    tta: the mean over eight orientations of each tile, which takes eight times as long.
    progress: called with tiles done and tiles in all.
    asked: how a model that is opened here is run, by the names of `Request`: probabilities (return them too), device
    (auto, cpu, cuda, cuda:N, gpu, gpu:N or npu), tile_size (largest side of a tile in pixels of the image, by default
    the runtime's; the answer is the same), threshold (the probability above which a pixel is not background, by default
    the card's) and more.

    Returns labels, uint8 (H, W) or (pages, H, W); with `probabilities` also float32 (K, H, W) or (pages, K, H, W).
    Raises UnetDeployError: ImageError, ModelError, DeviceError, UsageError, ResourceError.

    >>> image = np.zeros((120, 150), np.uint8)
    >>> image[40:60, 70:95] = 200
    >>> mask = segment(image)
    >>> mask.shape, mask.dtype
    ((120, 150), dtype('uint8'))
    >>> mask, scores = segment(image, probabilities=True)
    >>> scores.shape, scores.dtype
    ((2, 120, 150), dtype('float32'))
    """
    image = channels.of(image)
    tta, probabilities = yes_or_no(tta, "tta"), yes_or_no(asked.pop("probabilities", False), "probabilities")
    progress = callable_or_none(progress, "progress")
    check_dtype(image.dtype, "array")
    request = Request(precision="auto", pixels=pixels_for(image.dtype), probabilities=probabilities or tta)
    request = replace(request, **asked)
    with models_of(model, request) as models:
        labels, scores = segment_array(
            image, models, request.tile_size, scaling=scaling, probabilities=probabilities, tta=tta, progress=progress
        )
    if image.ndim < 4:
        return labels[0] if scores is None else (labels[0], scores[0])
    return labels if scores is None else (labels, scores)


def segment_array(
    image: np.ndarray | ImageSource,
    model: Runtime | Models | Given,
    tile_size: int | None,
    *,
    scaling: Scaling = AS_THE_CARD_SAYS,
    greys: Mapping[int, GreyScale] = NOTHING_KNOWN,
    probabilities: bool = False,
    tta: bool = False,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (pages, H, W) uint8 and, where asked for, probabilities (pages, K, H, W) float32 of an array.

    greys: the grey scales of pages that are known, as where the array is a region of an image; others are measured.
    """
    source = image if isinstance(image, ImageSource) else ArraySource(image)
    models = model if isinstance(model, Models | Given) else Given(model)
    info, card = source.info, models.card
    read = f"read as (pages, C, H, W) = {info.pages, info.channels, info.height, info.width}"
    how = "choose one with `channel`, give pages as (pages, 1, H, W)" if card.channels == 1 else "give as many"
    check_fits(info, card, remedy=f"it is {read}: {how}, or say with `channel_axis` where its channels are")
    measured = scale_for(models, OneLevel(source), scaling, greys=greys)
    opened = models.at(measured.scaled.scale, telling=probabilities)
    settled = settle_precision(opened, source, measured.greys)
    runtime = averaged(settled.runtime, tta)
    budget = Budget.of(source, info.region, runtime, overlay=False)
    plan = plan_for(runtime, info.region, tile_size, budget)
    labels = ArraySink((info.pages, 1, info.height, info.width), np.dtype(np.uint8))
    consumers: list[Consumer] = [write_labels(labels)]
    scores = None
    if probabilities:
        scores = ArraySink((info.pages, len(card.classes), info.height, info.width), np.dtype(np.float32))
        consumers.append(write_probabilities(scores))
    stream(
        source,
        plan,
        runtime,
        consumers,
        greys=PageScales(source, card.normalization, settled.greys),
        progress=progress,
    )
    return labels.array[:, 0], scores.array if scores else None


def segment_file(
    image: str | Path,
    output: str | Path | Outputs,
    model: Model = None,
    options: Options = DEFAULTS,
    *,
    device: str = "auto",
    compute: Compute = stream_here,
    progress: Progress | None = None,
    source: ImageSource | None = None,
) -> Report:
    """Segment an image file of any size; it is never whole in memory.

    image: a TIFF, PNG or JPEG file, an OME-Zarr folder or a URL.
    output: the mask to write, a tiled BigTIFF or an OME-Zarr of uint8 class indices; or all the files to make.
    model: a model file, an engine, a shipped model's name, or what `open_model` returned, which is left open.
    device: of a model that is opened here: auto, cpu, cuda, cuda:N, gpu, gpu:N or npu.
    compute: who computes the tiles, by default this process.
    progress: called with tiles done and tiles in all.
    source: the image, where `planning.first_look` has opened it already with these options; it is left open.

    All files appear when all are complete. What a run that fails has finished is kept for one with
    `Options(resume=True)`.
    Raises UnetDeployError: ImageError, ModelError, DeviceError, UsageError, ResourceError.

    >>> import tifffile
    >>> tifffile.imwrite("slide.tif", np.zeros((500, 400), np.uint8))
    >>> report = segment_file("slide.tif", "mask.tif")
    >>> tifffile.imread("mask.tif").shape
    (500, 400)
    >>> from unet_deploy.tiling import Region
    >>> outputs = Outputs.beside("part.tif", overlay=True, objects="part.csv")
    >>> report = segment_file("slide.tif", outputs, options=Options(roi=Region(100, 50, 64, 64)))
    >>> [path.name for path in report.outputs], report.objects
    (['part.tif', 'part.overlay.png', 'part.csv'], 0)
    """
    return begin_file(image, output, model, options, device=device, compute=compute, progress=progress, source=source)()


def begin_file(
    image: str | Path,
    output: str | Path | Outputs,
    model: Model = None,
    options: Options = DEFAULTS,
    *,
    device: str = "auto",
    compute: Compute = stream_here,
    progress: Progress | None = None,
    source: ImageSource | None = None,
) -> Callable[[], Report]:
    """As `segment_file`, but the files of a small image get their names when what is returned is called.

    It is to be called once, on any thread, while the model is still open.
    """
    path, progress = path_of(image, "image"), callable_or_none(progress, "progress")
    if not isinstance(options, Options):
        raise UsageError(f"options: give Options, not {kind_of(options)}")
    outputs = output if isinstance(output, Outputs) else Outputs(path_of(output, "output"))
    check_apart(outputs.places, [path, *([find_model(model)] if isinstance(model, (str, Path)) else [])])
    with ExitStack() as stack:
        opened = source or stack.enter_context(open_file(path, options))
        request = Request(
            device=device,
            precision="auto",
            probabilities=options.tta or outputs.of_probabilities(options.objects.peak),
            pixels=pixels_for(opened.info.dtype),
            tile_size=options.tile_size,
            threshold=options.threshold,
        )
        models = stack.enter_context(models_of(model, request))
        levels = stack.enter_context(Pyramid(opened))
        end = _run(stack, path, levels, outputs, models, options, compute, progress)
        if opened.info.pages * opened.info.height * opened.info.width > SMALL:
            report = end()
            return lambda: report
        still_open = stack.pop_all()

    def finish() -> Report:
        with still_open:
            return end()

    return finish


def segment_path(
    image: str | PathLike[str],
    output: str | Path | None,
    *,
    model: Model = None,
    device: str = "auto",
    probabilities: bool = False,
    overlay: bool = False,
    scaling: Scaling = AS_THE_CARD_SAYS,
    compute: Compute = stream_here,
    **options: Any,
) -> Report:
    """`segment_file` with the fields of `Options` given one by one, and files beside the mask by their kind."""
    progress = options.pop("progress", None)
    if output is None:
        raise UsageError("segment(file): give the mask file to write as `output`")
    outputs = Outputs.beside(path_of(output, "output"), probabilities=probabilities, overlay=overlay)
    settled = Options(**options, scaling=scaling)
    return segment_file(
        path_of(image, "image"), outputs, model, settled, device=device, compute=compute, progress=progress
    )


def _run(
    stack: ExitStack,
    path: Path,
    levels: Pyramid,
    outputs: Outputs,
    models: Models | Given,
    options: Options,
    compute: Compute,
    progress: Progress | None,
) -> Callable[[], Report]:
    """Segment an image that is open with a model at the scale that it wants; what is returned names its files.

    stack: keeps open what that needs.
    """
    options = replace(options, max_memory=compute.share(options.max_memory))
    source = levels.image
    level = turn_to_level(source, models.card, options)
    info = source.info
    check_fits(info, models.card)
    state = source.state()
    job = mark_of_job(state, outputs, models, options)
    outputs = outputs.with_sure(options.objects.peak_by(models.card.decision))
    check_outputs(outputs, info, len(models.card.classes), Keep(None, options.resume, options.overwrite, job))
    measured = scale_for(models, levels, options.scaling, options.max_memory)
    scaled, seen = measured.scaled, measured.source
    recorded = unfinished_key(outputs.mask).get("runtime") if options.resume else None
    opened = models.at(scaled.scale, telling=outputs.sure is not None)
    settled = settle_precision(opened, seen, measured.greys, recorded, progress)
    runtime = settled.runtime
    options = models.options_for(runtime, options)
    ready = averaged(runtime, options.tta)
    covered = covered_region(info, ready.card, options)
    plan, _ = plan_file(seen, covered, ready, outputs, options)
    region = options.roi or covered
    seen_state = state if seen is source else seen.state()
    task = Task(path, level, seen_state, measured, settled, ready, plan, region, options)
    origin = Origin(path, options.reading, level, likeness(source))
    subject = Subject(source, covered, region, ready.card.classes, options.outside, origin, ready.card.decision)
    keep = Keep(key_of_run(task, state, outputs, models.fingerprint), options.resume, options.overwrite, job)
    writer = stack.enter_context(OutputWriter(outputs, subject, options.objects, keep))
    with _unchanged(task, writer):
        timing = compute.fill(task, writer, progress)

    def end() -> Report:
        writer.commit()
        found_nothing, none_left = writer.found_nothing, writer.objects == 0
        bounds = _calibrated(models.card.decision, ready)
        trust = judge(writer.confidence, bounds, scaled, found_nothing=found_nothing, none_left=none_left)
        found = (writer.objects, subject.noted, writer.places, writer.too_large)
        by = (models.card.name, settled.precision, settled.why)
        return Report(info, plan, region, outputs, ready.name, timing, settled.proved, *found, scaled, trust, *by)

    return end


def _calibrated(decision: Decision, runtime: Runtime) -> Decision:
    """What a model's file decides; at another threshold than its own no bound of confidence is known."""
    as_calibrated = runtime.card.decision.threshold == decision.threshold
    return decision if as_calibrated else replace(decision, trusted_from=0.0)


@contextmanager
def _unchanged(task: Task, writer: OutputWriter) -> Iterator[None]:
    """See that the image is at the end of the block what it was when it was opened, however the block ends.

    Otherwise tiles of two images may be among those that are finished, so none is kept for a later run.
    Raises ImageError.
    """
    try:
        yield
    except Exception as error:
        try:
            _check_unchanged(task, writer)
        except ChangedError as why:
            raise why from error
        except ImageError:
            pass  # it cannot be looked at any more, and what went wrong first says why
        raise
    _check_unchanged(task, writer)


def _check_unchanged(task: Task, writer: OutputWriter) -> None:
    try:
        if task.source.state() != task.state:
            raise changed(task.source.info.name)
    except ChangedError:
        writer.give_up()
        raise
