"""Proof that a fast runtime says what the model says: the two on the same real tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import VerificationError
from unet_deploy.grey import GreyScale, measure_page
from unet_deploy.images import ImageSource
from unet_deploy.runtimes import Runtime
from unet_deploy.tiling import Tile, TilePlan

LIMIT_PPM = 1000.0
"""Labels in a million that may differ from those of the float32 model."""

TILES = 4
"""Tiles that a first use is proved on."""


@dataclass(frozen=True)
class Accuracy:
    """A runtime beside ONNX Runtime in float32 on a CPU."""

    image: str
    tiles: int
    pixels: int
    labels_differ_ppm: float
    """Of a million labels, how many are not the model's."""
    worst_probability: float | None
    """Largest difference of a probability; None where the runtime answers with labels alone."""
    not_finite: int | None
    """Probabilities that are NaN or infinite."""
    limit_ppm: float = LIMIT_PPM

    @property
    def holds(self) -> bool:
        return self.labels_differ_ppm <= self.limit_ppm and not self.not_finite

    def __str__(self) -> str:
        parts = [f"{self.labels_differ_ppm:.3g} labels in a million differ (limit {self.limit_ppm:g})"]
        if self.worst_probability is not None:
            parts.append(f"worst probability {self.worst_probability:.2g} apart, {self.not_finite} not finite")
        return f"{', '.join(parts)}, on {self.tiles} tiles of {self.image}"

    def require(self, name: str) -> None:
        """Raise VerificationError unless it holds."""
        if not self.holds:
            raise VerificationError(f"{name}: not the model's answer: {self}; do not use it, take --precision fp32")


@dataclass(frozen=True)
class Proof:
    """What is still to be shown of a runtime before its first answer may be used."""

    open_reference: Callable[[], Runtime]
    """Opens the float32 model with probabilities. Raises VerificationError where it is not to be found."""
    keep: Callable[[Accuracy], None]
    """Writes the result down, so that it is not asked for again."""


def prove(runtime: Runtime, source: ImageSource, plan: TilePlan) -> Accuracy | None:
    """Settle what a runtime has still to show, on tiles of the image that it is about to segment.

    Returns what was measured, None where there was nothing to show. Raises VerificationError.
    """
    proof = runtime.proof
    if proof is None:
        return None
    with proof.open_reference() as reference:
        accuracy = measure(runtime, reference, source, plan, tiles=TILES)
    accuracy.require(runtime.name)
    proof.keep(accuracy)
    runtime.proof = None
    return accuracy


def measure(
    runtime: Runtime,
    reference: Runtime,
    source: ImageSource,
    plan: TilePlan,
    *,
    tiles: int | None = None,
    limit_ppm: float = LIMIT_PPM,
) -> Accuracy:
    """Compare a runtime with a reference that answers with probabilities, on tiles of the first page.

    tiles: how many, spread over the plan; all by default.
    """
    grey = measure_page(source, 0, runtime.card.normalization)
    chosen = _spread(plan, tiles or len(plan))
    pixels = differ = not_finite = 0
    worst = 0.0
    for tile in chosen:
        seen = source.read(0, tile.read)
        labels, scores = _answer(runtime, seen, grey, tile)
        truth, true_scores = _answer(reference, seen, grey, tile)
        pixels += truth.size
        differ += int((labels != truth).sum())
        if scores is not None and true_scores is not None:
            finite = np.isfinite(scores)
            not_finite += int((~finite).sum())
            worst = max(worst, float(np.abs(scores - true_scores)[finite].max(initial=0.0)))
    scored = runtime.probabilities
    return Accuracy(
        image=source.info.name,
        tiles=len(chosen),
        pixels=pixels,
        labels_differ_ppm=differ / pixels * 1e6,
        worst_probability=worst if scored else None,
        not_finite=not_finite if scored else None,
        limit_ppm=limit_ppm,
    )


def _answer(runtime: Runtime, seen: np.ndarray, grey: GreyScale, tile: Tile) -> tuple[np.ndarray, np.ndarray | None]:
    answer = runtime.result(runtime.submit([seen], [grey]))
    height, width = tile.write.height, tile.write.width
    scores = None if answer.probabilities is None else answer.probabilities[0, :, :height, :width]
    return answer.labels[0, :height, :width], scores


def _spread(plan: TilePlan, count: int) -> list[Tile]:
    """So many tiles at even distances through the plan, from its middle outwards for one."""
    count = min(count, len(plan))
    return [plan[(2 * index + 1) * len(plan) // (2 * count)] for index in range(count)]
