"""Is the answer right? One way of computing it against another, on real pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unet_deploy.errors import ModelError
from unet_deploy.images import check_fits
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import GreyScale, measure_page, read_tile
from unet_deploy.images.orientation import UPRIGHT
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks.apart import check_apart
from unet_deploy.masks.array import ArraySink
from unet_deploy.runtimes import DEFAULT_TILE, Runtime
from unet_deploy.runtimes.agreement import Agreement, compare
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, read_record, record_path, set_accuracy
from unet_deploy.segmentation.writer import write_labels, write_probabilities
from unet_deploy.stream.pipeline import stream
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import compare_on_tiles
from unet_deploy.tiling import Region, TilePlan, legal_side, plan_tiles
from unet_deploy.zoo import find_model, open_model

WHOLE_SIDE = 2048
"""Largest side in pixels that is computed in one pass: that pass is in memory whole."""


@dataclass(frozen=True, eq=False)
class SeamCheck:
    """The tiled answer beside the answer in one pass."""

    region: Region
    plan: TilePlan
    agreement: Agreement
    pixels: np.ndarray = field(repr=False)
    """(C, h, w), of the region."""
    labels: np.ndarray = field(repr=False)
    """(h, w) uint8, in tiles."""
    differ: np.ndarray = field(repr=False)
    """(h, w) bool, where those in one pass are others."""
    orientation: int = UPRIGHT
    """How these lie, as `images.orientation` numbers it."""


def verify_tiled(
    runtime: Runtime, path: Path, *, tile_size: int | None = None, reading: Reading = AS_SAID
) -> SeamCheck:
    """Segment the first page of an image tile by tile and in one pass, and compare.

    Of an image larger than WHOLE_SIDE the middle is taken, with the grey scale of the whole page.
    tile_size: input side in pixels; by default as `segment` takes it, or smaller so that there are seams to see.
    The runtime must answer with probabilities.
    """
    with reading.open(path) as source:
        orientation = source.info.orientation
        check_fits(source.info, runtime.card)
        region = _middle(source.info.height, source.info.width)
        grey = measure_page(source, 0, runtime.card.normalization)
        pixels, _ = read_tile(source, 0, region, grey)
    card = runtime.card
    longest = max(region.height, region.width)
    thirds = legal_side(2 * card.margin + -(-longest // 3), card)
    tiled = plan_tiles(region.height, region.width, card, tile=tile_size or min(DEFAULT_TILE, thirds))
    whole = plan_tiles(
        region.height, region.width, card, tile=legal_side(longest + 2 * card.margin + card.stride, card)
    )
    one_pass, in_tiles = (_answer(pixels, plan, runtime, grey) for plan in (whole, tiled))
    agreement = compare(*one_pass, *in_tiles, threshold=card.decision.threshold)
    labels = in_tiles[0]
    return SeamCheck(region, tiled, agreement, pixels, labels, labels != one_pass[0], orientation)


def verify_against(
    model: str, reference: Path, path: Path, *, limit_ppm: float | None = None, reading: Reading = AS_SAID
) -> Agreement:
    """Compare a model or an engine with the float32 model that it stands for, on all tiles of an image's first page.

    limit_ppm: labels in a million that may differ; by default what the model's card says.
    What was found is written into an engine's record, good or bad. Raises ModelError where an engine was made of
    another model, and DeviceError where it does not run here.
    """
    from unet_deploy.model.changed import read_to_run

    file = find_model(model)
    engine = file.suffix in ENGINE_SUFFIXES
    if engine:
        check_apart([record_path(file)], [reference, path])
        record = read_record(file)
        if read_to_run(reference).weights_sha256 != record.weights_sha256:
            raise ModelError(f"{file}: was not made of {reference}, but of other weights ({record.model})")
    with (
        reading.open(path) as source,
        open_model(file, probabilities=not engine or record.options.probabilities, device="auto") as runtime,
        OnnxRuntime(reference, probabilities=True) as truth,
    ):
        check_fits(source.info, runtime.card)
        if runtime.card.classes != truth.card.classes or runtime.card.margin != truth.card.margin:
            raise ModelError(f"{file}: is another network than {reference}; compare it with the model it was made of")
        agreement = compare_on_tiles(runtime, truth, source, plan_for(runtime, source.info.region), limit_ppm=limit_ppm)
    if engine:
        set_accuracy(file, agreement)
    return agreement


def _answer(pixels: np.ndarray, plan: TilePlan, runtime: Runtime, grey: GreyScale) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) uint8 and probabilities (K, H, W) float32 of pixels (C, H, W), all in memory."""
    labels = ArraySink((1, 1, plan.height, plan.width), np.dtype(np.uint8))
    scores = ArraySink((1, len(runtime.card.classes), plan.height, plan.width), np.dtype(np.float32))
    consumers = [write_labels(labels), write_probabilities(scores)]
    stream(ArraySource(pixels), plan, runtime, consumers, greys={0: grey})
    return labels.array[0, 0], scores.array[0]


def _middle(height: int, width: int) -> Region:
    """The middle of a page, at most WHOLE_SIDE a side."""
    tall, wide = min(height, WHOLE_SIDE), min(width, WHOLE_SIDE)
    return Region((height - tall) // 2, (width - wide) // 2, tall, wide)
