"""Segment one image: the plan, the stream and the files together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from unet_deploy._version import __version__
from unet_deploy.errors import ImageError, ResourceError, UsageError
from unet_deploy.images import ImageInfo, ImageSource, nearest_level, open_image, state_of
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page
from unet_deploy.images.window import Window, aligned, check_inside
from unet_deploy.masks.array import ArraySink
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import Pixels, pixels_for
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.segmentation.counting import Counted
from unet_deploy.segmentation.outputs import Making, Outputs, unfinished_key, write_labels, write_probabilities
from unet_deploy.stream.pipeline import Consumer, Progress, Timing, stream
from unet_deploy.stream.planner import Budget, plan_for, proof_plan
from unet_deploy.stream.proof import prove
from unet_deploy.stream.tta import averaged
from unet_deploy.tiling import Region, TilePlan
from unet_deploy.zoo import open_model

if TYPE_CHECKING:
    from unet_deploy.segmentation.cluster import Cluster

__all__ = ["Options", "Outputs", "Report", "segment", "segment_array", "segment_file"]


@dataclass(frozen=True)
class Options:
    """How to segment a file, whatever the model."""

    tile_size: int | None = None
    """Largest side of the network's input in pixels, None for what the planner takes; the answer is the same."""
    channel: int | None = None
    """Which channel of a multi-channel file, from 0."""
    level: int | None = 0
    """Which level of a pyramid, 0 the finest; None for the one whose pixels are nearest to the model's in size."""
    max_memory: int | None = None
    """Bytes that the whole process may hold, None for a share of what is free."""
    skip_background: bool = False
    """Whether uniform tiles are class 0 without being computed."""
    tta: bool = False
    """Whether the answer is the mean over eight orientations of each tile."""
    counted: Counted = field(default_factory=Counted)
    """What counts as an object, where a table or numbers of objects are made."""
    roi: Region | None = None
    """What of each page is segmented, by the grey scale of the whole; the rest of the mask is 0."""
    resume: bool = False
    """Whether to go on where an earlier run of the same image, model and settings was broken off."""
    overwrite: bool = False
    """Whether files that exist are replaced."""


@dataclass(frozen=True)
class Report:
    """What was done for one image."""

    image: ImageInfo
    plan: TilePlan
    outputs: Outputs
    runtime: str
    """Runtime and device that answered, as they are named."""
    timing: Timing
    proved: Agreement | None
    """How a GPU's answer compared with the model's, where this image was the first."""
    objects: int | None = None
    """How many there are, where they were counted."""

    @property
    def megapixels(self) -> float:
        return self.image.pages * self.image.height * self.image.width / 1e6


@overload
def segment(
    image: np.ndarray,
    output: None = None,
    *,
    model: str | Path | Runtime | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    probabilities: Literal[False] = False,
    tta: bool = False,
    progress: Progress | None = None,
) -> np.ndarray: ...
@overload
def segment(
    image: np.ndarray,
    output: None = None,
    *,
    model: str | Path | Runtime | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    probabilities: Literal[True],
    tta: bool = False,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def segment(
    image: str | Path,
    output: str | Path,
    *,
    model: str | Path | Runtime | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    probabilities: bool = False,
    tta: bool = False,
    overlay: bool = False,
    channel: int | None = None,
    roi: tuple[int, int, int, int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report: ...
def segment(
    image: np.ndarray | str | Path,
    output: str | Path | None = None,
    *,
    model: str | Path | Runtime | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    probabilities: bool = False,
    tta: bool = False,
    overlay: bool = False,
    channel: int | None = None,
    roi: tuple[int, int, int, int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray] | Report:
    """Segment an array in memory, or a file of any size into a mask file.

    image: an array (H, W), (C, H, W) or (pages, C, H, W) of grey values, or a TIFF, PNG or JPEG file.
    output: the mask file to write, for a file: tiled BigTIFF, uint8 class indices.
    model: a model file, an engine, a shipped model's name, or what `open_model` returned.
    device: auto, cpu, cuda or cuda:N.
    tile_size: largest side of the network's input in pixels, by default the runtime's; the answer is the same.
    probabilities: return them too, or write them to <mask>.probabilities.tif.
    tta: the mean over eight orientations of each tile, which takes eight times as long.
    overlay: write a picture to look at, <mask>.overlay.png.
    channel: which one of a multi-channel file.
    roi: y, x, height and width of the part to segment; the mask is as large as the image, and 0 elsewhere.
    resume: go on where an earlier run of the same image, model and settings was broken off.
    progress: called with tiles done and tiles in all.

    Returns labels, uint8 (H, W) or (pages, H, W), for an array; with `probabilities` also float32 (K, H, W) or
    (pages, K, H, W). Returns a Report for a file.
    Raises UnetDeployError: ImageError, ModelError, UsageError, ResourceError. No file is left half-written.
    """
    if isinstance(image, np.ndarray):
        if output is not None or overlay or channel is not None or roi or resume:
            raise UsageError("segment(array): output, overlay, channel, roi and resume are for image files")
        with _runtime(model, probabilities or tta, device, pixels_for(image.dtype), tile_size) as runtime:
            labels, scores = segment_array(
                image, runtime, tile_size, probabilities=probabilities, tta=tta, progress=progress
            )
        stack = image.ndim == 4
        mask = labels if stack else labels[0]
        return (mask, scores if stack else scores[0]) if scores is not None else mask
    if output is None:
        raise UsageError("segment(file): give the mask file to write as `output`")
    outputs = Outputs.beside(Path(output), probabilities=probabilities, overlay=overlay)
    region = Region(*roi) if roi else None
    options = Options(tile_size, channel, tta=tta, roi=region, resume=resume, overwrite=overwrite)
    with _runtime(model, probabilities or tta, device, pixels_of([Path(image)]), tile_size) as runtime:
        return segment_file(Path(image), outputs, runtime, options, progress=progress)


def segment_array(
    image: np.ndarray,
    runtime: Runtime,
    tile_size: int | None,
    *,
    probabilities: bool = False,
    tta: bool = False,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (pages, H, W) uint8 and, where asked for, probabilities (pages, K, H, W) float32 of an array."""
    source = ArraySource(image)
    info, card = source.info, runtime.card
    check_fits(info, card)
    prove(runtime, source, lambda: proof_plan(runtime, info))
    runtime = averaged(runtime, tta)
    budget = Budget.of(source, runtime, probabilities=probabilities, overlay=False)
    plan = plan_for(runtime, info, tile_size, budget)
    labels = ArraySink((info.pages, 1, info.height, info.width), np.dtype(np.uint8))
    consumers: list[Consumer] = [write_labels(labels)]
    scores = None
    if probabilities:
        scores = ArraySink((info.pages, len(card.classes), info.height, info.width), np.dtype(np.float32))
        consumers.append(write_probabilities(scores))
    stream(source, plan, runtime, consumers, progress=progress)
    return labels.array[:, 0], scores.array if scores else None


def segment_file(
    path: Path,
    outputs: Outputs,
    runtime: Runtime,
    options: Options = Options(),
    *,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> Report:
    """Segment one file into `outputs`; all of them appear when all are complete.

    cluster: whose workers compute the tiles; `runtime` plans, and says what theirs must be.
    """
    if cluster:
        options = replace(options, max_memory=cluster.share(options.max_memory))
    with open_level(path, runtime.card, options) as source:
        info = source.info
        check_fits(info, runtime.card)
        proved = prove(runtime, source, lambda: proof_plan(runtime, info))
        ready = averaged(runtime, options.tta)
        window = window_of(info, ready.card, options)
        view = Window(source, window)
        plan, _ = plan_file(view, ready, outputs, options)
        making = Making(
            outputs,
            info,
            view,
            ready.card.classes,
            window=window,
            region=options.roi or window,
            counted=options.counted,
            axes=getattr(source, "axes", None),
            key=_key(path, runtime, plan, outputs, options),
            resume=options.resume,
            overwrite=options.overwrite,
        )
        with making:
            far = None
            if cluster:
                work = cluster.work(
                    runtime,
                    image=path,
                    channel=options.channel,
                    level=level_of(path, runtime.card, options),
                    tta=options.tta,
                    skip_background=options.skip_background,
                    plan=plan,
                    window=window,
                    region=options.roi or window,
                    mask=outputs.mask,
                    tree=making.tree,
                )
                far = cluster.fill(work, info.pages, progress=progress)
            timing = stream(
                view,
                plan,
                ready,
                making.consumers,
                greys=lambda page: measure_page(source, page, ready.card.normalization),
                known=making.known if making.resumed or far else None,
                skip_background=options.skip_background,
                progress=None if far else progress,
            )
            making.commit()
    if far:
        known = far.known if making.resumed else 0
        timing = replace(far, wall=far.wall + timing.wall, known=known)
    return Report(view.info, plan, outputs, ready.name, timing, proved, making.objects)


def open_level(path: Path, card: ModelCard, options: Options) -> ImageSource:
    """The level of an image that is asked for."""
    return open_image(path, channel=options.channel, level=level_of(path, card, options))


def level_of(path: Path, card: ModelCard, options: Options) -> int:
    """The number of the level that is asked for, 0 the finest."""
    if options.level is not None:
        return options.level
    with open_image(path) as finest:
        return nearest_level(finest.info, card.pixel_size_um)


def window_of(info: ImageInfo, card: ModelCard, options: Options) -> Region:
    """What of each page is computed."""
    if options.roi is None:
        return Region(0, 0, info.height, info.width)
    check_inside(options.roi, info)
    return aligned(options.roi, card.stride)


def _key(path: Path, runtime: Runtime, plan: TilePlan, outputs: Outputs, options: Options) -> dict[str, Any]:
    """What must be the same for an unfinished run to go on."""
    settings = {
        "channel": options.channel,
        "level": options.level,
        "tta": options.tta,
        "skip_background": options.skip_background,
    }
    return {
        "version of this program": __version__,
        "image": state_of(path),
        "model": runtime.fingerprint,
        "runtime": runtime.name,
        "region": astuple(options.roi) if options.roi else None,
        "setting": settings,
        "set of outputs": [each.name for each in outputs],
        "tile size": json.loads(json.dumps(asdict(plan))),
    }


def plan_file(source: ImageSource, runtime: Runtime, outputs: Outputs, options: Options) -> tuple[TilePlan, int | None]:
    """The tiles, and the most that the process will hold with them."""
    wanted = bool(outputs.probabilities)
    counting = bool(outputs.objects or outputs.instances)
    budget = Budget.of(source, runtime, probabilities=wanted, overlay=bool(outputs.overlay), objects=counting)
    budget = replace(budget, fixed=budget.fixed + outputs.waiting_bytes(source.info, len(runtime.card.classes)))
    plan = plan_for(runtime, source.info, options.tile_size, budget, options.max_memory, block=outputs.block)
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


def pixels_of(paths: Iterable[Path], *, channel: int | None = None) -> Pixels:
    """The narrowest pixels that hold those of all these files; files that cannot be read are left for later."""
    dtypes = []
    for path in paths:
        with suppress(ImageError), open_image(path, channel=channel) as source:
            dtypes.append(source.info.dtype)
    return pixels_for(*dtypes) if dtypes else "float32"


def check_fits(info: ImageInfo, card: ModelCard) -> None:
    """Raise ImageError unless the model takes as many channels as the image has."""
    if info.channels == card.channels:
        return
    remedy = "choose one with --channel" if card.channels == 1 else "choose another model with --model"
    has = "1 channel" if info.channels == 1 else f"{info.channels} channels"
    raise ImageError(f"{info.name}: {has}, but model {card.name!r} takes {card.channels}; {remedy}")


@contextmanager
def _runtime(
    model: str | Path | Runtime | None, probabilities: bool, device: str, pixels: Pixels, tile_size: int | None
) -> Iterator[Runtime]:
    """The caller's own runtime, left open, or one of ours that ends with the call."""
    if model is None or isinstance(model, (str, Path)):
        with open_model(
            model, probabilities=probabilities, device=device, pixels=pixels, tile_size=tile_size
        ) as runtime:
            yield runtime
    elif probabilities and not model.probabilities:
        raise UsageError("segment: this model was opened for labels alone; use open_model(..., probabilities=True)")
    else:
        yield model
