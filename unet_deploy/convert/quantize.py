"""A model in 8 bits: a third of the time on a CPU with 8-bit dot products, at a loss that is measured and written down.

Activations are unsigned, weights signed and per channel (Q/DQ nodes), with ranges seen on real tiles. A layer at either
end of the network sees the finest detail; where the loss is over the limit, they are left in float32 step by step.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_deploy.errors import ImageError, ModelError, VerificationError, reason
from unet_deploy.images import ImageSource, check_fits
from unet_deploy.images.grey import measure_page, read_tile
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks.apart import check_apart
from unet_deploy.model.contract import IMAGE, OFFSET, SCALE
from unet_deploy.model.onnx_file import ModelFile, read_model, save, write_card
from unet_deploy.runtimes.agreement import Agreement, together
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import compare_on_tiles
from unet_deploy.system.extras import importing
from unet_deploy.system.files import check_ends, check_free, replacing
from unet_deploy.system.progress import Progress

LIMIT_PPM = 5000.0
"""Labels in a million that may differ: half a percent."""

TILE = 700
"""Largest side of a calibration tile, in pixels: every layer's output is kept for it at once."""

MOST_IMAGES = 40
_OPERATORS = ("Conv", "ConvTranspose", "MaxPool", "Concat", "Relu", "Slice")
_KEPT = ((0, 0), (1, 1), (2, 4), (4, 7))
"""Convolutions at the start and the end that stay in float32: none, the outermost, one level, two levels."""


@dataclass(frozen=True)
class QuantizeReport:
    """What was made."""

    convolutions: int
    kept: int
    """Convolutions that stayed in float32."""
    calibrated_on: int
    accuracy: Agreement
    """Over all images that were held back, against the float32 model."""


def quantize(
    model: Path,
    images: Sequence[Path],
    output: Path,
    *,
    limit_ppm: float = LIMIT_PPM,
    reading: Reading = AS_SAID,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> QuantizeReport:
    """Write `model` with 8-bit layers, its loss in its card.

    reading: how the images are read.
    images: real ones; every second is held back from calibration to measure the loss on, where there are two.
    Raises VerificationError when the loss is over the limit even with two levels left in float32, ModelError and
    ImageError.
    """
    check_ends(output, "models", (".onnx",))
    check_apart([output], [model, *images])
    check_free(output, overwrite=overwrite)
    source = read_model(model)
    if source.quantized:
        raise ModelError(f"{model}: is quantized already; give the float32 model")
    chosen = list(images)[:: max(1, len(images) // MOST_IMAGES)][:MOST_IMAGES]
    if not chosen:
        raise ImageError("quantize: no calibration image was given")
    calibration, held_back = chosen[::2], chosen[1::2] or chosen
    convolutions = [node.name for node in source.proto.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    with tempfile.TemporaryDirectory() as place, OnnxRuntime(model, probabilities=True) as reference:
        draft = Path(place) / "draft.onnx"
        for attempt, (first, last) in enumerate(_KEPT):
            kept = {*convolutions[:first], *convolutions[len(convolutions) - last :]}
            if progress:
                progress(
                    attempt, len(_KEPT), f"{len(convolutions) - len(kept)} of {len(convolutions)} layers in 8 bits"
                )
            _write(source, draft, list(_feeds(reference, calibration, reading)), sorted(kept))
            accuracy = _accuracy(draft, reference, map(reading.open, held_back), limit_ppm)
            if accuracy.holds:
                break
        else:
            raise VerificationError(
                f"{model}: in 8 bits {accuracy}; nothing written: calibrate on more images, or raise --limit"
            )
        lost = {"int8: labels in a million that differ from fp32": accuracy.labels_differ_ppm}
        card = replace(source.card, precision="int8", metrics={**source.card.metrics, **lost})
        card = replace(card, evaluation={}, evaluated_on="")  # they were figures of the float32 model
        with replacing(output, overwrite=overwrite) as beside:
            write_card(draft, beside, card)
    return QuantizeReport(len(convolutions), len(kept), len(calibration), accuracy)


def _feeds(reference: OnnxRuntime, images: Sequence[Path], reading: Reading) -> Iterator[dict[str, np.ndarray]]:
    """The network's inputs for all tiles of all images."""
    card = reference.card
    for path in images:
        with reading.open(path) as source:
            check_fits(source.info, card)
            grey = measure_page(source, 0, card.normalization)
            for tile in plan_for(reference, source.info.region, min(TILE, reference.limits.most[0])):
                feeds = {IMAGE: read_tile(source, 0, tile.read, grey)[0][None].astype(np.float32)}
                if card.normalization.method == "percentile":
                    feeds |= {OFFSET: grey.offset[None], SCALE: grey.scale[None]}
                yield feeds


def _write(model: ModelFile, output: Path, feeds: list[dict[str, np.ndarray]], kept: Sequence[str]) -> None:
    """Write a model with 8-bit layers, but for those that are kept. Raises ModelError where the quantizer fails."""
    with importing("onnx", "onnx"):  # the quantizer asks for it
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    copy = output.with_name("model.onnx")
    save(model.proto, model.card, copy)  # the quantizer writes files of its own beside the model that it is given
    try:
        with _without_advice():
            quantize_static(
                str(copy),
                str(output),
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(_OPERATORS),
                nodes_to_exclude=list(kept),
            )
    except MemoryError:
        raise
    except Exception as error:  # its errors are of all types, assertions among them
        raise ModelError(f"{model.path}: the quantizer fails on it ({reason(error)}); export it again") from error


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the quantizer's advice to programmers off the terminal, and the handler that it gives all logs."""
    handlers, level = list(logging.root.handlers), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers


def _accuracy(draft: Path, reference: OnnxRuntime, images: Iterable[ImageSource], limit_ppm: float) -> Agreement:
    """The draft beside the float32 model, on all images together."""
    found = []
    with OnnxRuntime(draft, probabilities=True) as runtime:
        for image in images:
            with image as source:
                plan = plan_for(runtime, source.info.region, min(TILE, runtime.limits.most[0]))
                found.append(compare_on_tiles(runtime, reference, source, plan, limit_ppm=limit_ppm))
    return together(found, f"{len(found)} images")
