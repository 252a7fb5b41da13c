"""Segment one image: the plan, the stream and the files together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from unet_deploy.card import ModelCard
from unet_deploy.errors import ImageError, UsageError
from unet_deploy.files import check_free
from unet_deploy.images import ImageInfo, ImageSource, MaskSink, open_image
from unet_deploy.images.array import ArraySink, ArraySource
from unet_deploy.models import open_model
from unet_deploy.pipeline import Consumer, DoneTile, Progress, Timing, stream
from unet_deploy.planner import Budget, plan_for, proof_plan
from unet_deploy.proof import Accuracy, prove
from unet_deploy.runtimes import Pixels, Runtime, pixels_for
from unet_deploy.tiling import TilePlan
from unet_deploy.tta import Averaging

if TYPE_CHECKING:
    from unet_deploy.images.overlay import Overlay


@dataclass(frozen=True)
class Outputs:
    """The files to make of an image; only `mask` is always made."""

    mask: Path
    probabilities: Path | None = None
    overlay: Path | None = None

    @classmethod
    def beside(cls, mask: Path, *, probabilities: bool, overlay: bool) -> Outputs:
        """Names derived from the mask's: mask.probabilities.tif, mask.overlay.png."""
        stem = mask.name.removesuffix(mask.suffix)
        return cls(
            mask,
            mask.with_name(f"{stem}.probabilities.tif") if probabilities else None,
            mask.with_name(f"{stem}.overlay.png") if overlay else None,
        )

    def __iter__(self) -> Iterator[Path]:
        return (path for path in (self.mask, self.probabilities, self.overlay) if path)


@dataclass(frozen=True)
class Options:
    """How to segment a file, whatever the model."""

    tile_size: int | None = None
    """Largest side of the network's input in pixels, None for what the planner takes; the answer is the same."""
    channel: int | None = None
    """Which channel of a multi-channel file, from 0."""
    max_memory: int | None = None
    """Bytes that the whole process may hold, None for a share of what is free."""
    skip_background: bool = False
    """Whether uniform tiles are class 0 without being computed."""
    tta: bool = False
    """Whether the answer is the mean over eight orientations of each tile."""
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
    proved: Accuracy | None
    """How a GPU's answer compared with the model's, where this image was the first."""

    @property
    def megapixels(self) -> float:
        return self.image.pages * self.image.height * self.image.width / 1e6


@dataclass(frozen=True)
class Forecast:
    """What segmenting an image will take."""

    image: ImageInfo
    plan: TilePlan
    memory: int | None
    """Peak bytes of the process, None where the model's card has no measurement."""


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
    progress: called with tiles done and tiles in all.

    Returns labels, uint8 (H, W) or (pages, H, W), for an array; with `probabilities` also float32 (K, H, W) or
    (pages, K, H, W). Returns a Report for a file.
    Raises UnetDeployError: ImageError, ModelError, UsageError, ResourceError. No file is left half-written.
    """
    if isinstance(image, np.ndarray):
        if output is not None or overlay or channel is not None:
            raise UsageError("segment(array): output, overlay and channel are for image files")
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
    options = Options(tile_size, channel, tta=tta, overwrite=overwrite)
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
    runtime = _oriented(runtime, tta)
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
    progress: Progress | None = None,
) -> Report:
    """Segment one file into `outputs`; all of them appear when all are complete."""
    from unet_deploy.images.overlay import Overlay
    from unet_deploy.images.tiff_mask import TiffMaskSink

    card = runtime.card
    with ExitStack() as stack:
        source = stack.enter_context(open_image(path, channel=options.channel))
        info = source.info
        check_fits(info, card)
        proved = prove(runtime, source, lambda: proof_plan(runtime, info))
        ready = _oriented(runtime, options.tta)
        plan, _ = _plan(source, ready, outputs, options)

        def sink(output: Path, planes: int, dtype: type[np.generic]) -> MaskSink:
            return stack.enter_context(
                TiffMaskSink(
                    output,
                    pages=info.pages,
                    planes=planes,
                    height=info.height,
                    width=info.width,
                    dtype=np.dtype(dtype),
                    tags=info.tags,
                    overwrite=options.overwrite,
                )
            )

        sinks = [sink(outputs.mask, 1, np.uint8)]
        consumers: list[Consumer] = [write_labels(sinks[0])]
        if outputs.probabilities:
            sinks.append(sink(outputs.probabilities, len(card.classes), np.float32))
            consumers.append(write_probabilities(sinks[1]))
        picture = None
        if outputs.overlay:
            check_free(outputs.overlay, overwrite=options.overwrite)
            picture = Overlay(info.height, info.width, info.channels, card.classes)
            consumers.append(paint(picture))
        timing = stream(source, plan, ready, consumers, skip_background=options.skip_background, progress=progress)
        for each in sinks:
            each.commit()
        if picture and outputs.overlay:
            picture.save(outputs.overlay, overwrite=options.overwrite)
    return Report(info, plan, outputs, ready.name, timing, proved)


def forecast(path: Path, runtime: Runtime, outputs: Outputs, options: Options = Options()) -> Forecast:
    """What `segment_file` would do, without doing it. Call it with the model loaded: that memory counts."""
    with open_image(path, channel=options.channel) as source:
        check_fits(source.info, runtime.card)
        plan, memory = _plan(source, _oriented(runtime, options.tta), outputs, options)
        return Forecast(source.info, plan, memory)


def _oriented(runtime: Runtime, tta: bool) -> Runtime:
    return Averaging(runtime) if tta else runtime


def _plan(source: ImageSource, runtime: Runtime, outputs: Outputs, options: Options) -> tuple[TilePlan, int | None]:
    """The tiles, and the most that the process will hold with them."""
    wanted = bool(outputs.probabilities)
    budget = Budget.of(source, runtime, probabilities=wanted, overlay=bool(outputs.overlay))
    plan = plan_for(runtime, source.info, options.tile_size, budget, options.max_memory)
    return plan, budget.peak(plan.input_height, plan.input_width)


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


def write_labels(sink: MaskSink) -> Consumer:
    def consume(done: DoneTile) -> None:
        sink.write(done.page, done.tile.write, done.labels[None])

    return consume


def write_probabilities(sink: MaskSink) -> Consumer:
    def consume(done: DoneTile) -> None:
        assert done.probabilities is not None
        sink.write(done.page, done.tile.write, done.probabilities)

    return consume


def paint(picture: Overlay) -> Consumer:
    def consume(done: DoneTile) -> None:
        if done.page == 0:
            picture.add(done.tile.write, done.image, done.labels)

    return consume


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
