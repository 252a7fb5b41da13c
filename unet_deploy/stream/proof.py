"""Proof that a fast runtime says what the model says: the two on the same real tiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, measure_page
from unet_deploy.runtimes import Answer, OutOfMemoryError, Runtime
from unet_deploy.runtimes.agreement import LIMIT_PPM, Accuracy
from unet_deploy.tiling import Tile, TilePlan

TILES = 4
"""Tiles that a first use is proved on."""


@dataclass(frozen=True)
class Proof:
    """What is still to be shown of a runtime before its first answer may be used."""

    open_reference: Callable[[], Runtime]
    """Opens the float32 model with probabilities. Raises VerificationError where it is not to be found."""
    keep: Callable[[Accuracy], None]
    """Writes the result down, so that it is not asked for again."""


def prove(runtime: Runtime, source: ImageSource, plan_of: Callable[[], TilePlan]) -> Accuracy | None:
    """Settle what a runtime has still to show, on tiles of the image that it is about to segment.

    plan_of: the image's plan within the runtime's limits; asked again when short memory has lowered them.
    Returns what was measured, None where there was nothing to show. On tiles of one class it is measured but not
    settled: an image with something in it will be asked again. Raises VerificationError.
    """
    proof = runtime.proof
    if proof is None:
        return None
    with proof.open_reference() as reference:
        while True:
            try:
                accuracy = measure(runtime, reference, source, plan_of(), tiles=TILES)
                break
            except OutOfMemoryError:
                runtime.shrink()
    accuracy.require(runtime.name)
    if accuracy.classes > 1:
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

    tiles: how many, spread over the plan; all by default. Where the runtime keeps several submissions in flight, each
    of its slots is filled to the last place at least twice, and every answer is compared.
    """
    grey = measure_page(source, 0, runtime.card.normalization)
    chosen = _spread(plan, tiles or len(plan))
    rounds = 1 if runtime.slots == 1 else -(-2 * runtime.slots // len(chosen))
    pixels = not_finite = 0
    differ = worst = 0.0
    classes: set[int] = set()
    answers = _answers(runtime, [tile for tile in chosen for _ in range(rounds)], source, grey)
    for tile in chosen:
        seen = source.read(0, tile.read)
        truth = reference.result(reference.submit([seen], [grey]))
        height, width = tile.write.height, tile.write.width
        labels = truth.labels[0, :height, :width]
        pixels += labels.size
        classes.update(np.unique(labels).tolist())
        wrong = 0
        for _ in range(rounds):
            answer = next(answers)
            wrong = max(wrong, *(int((each[:height, :width] != labels).sum()) for each in answer.labels))
            if answer.probabilities is not None and truth.probabilities is not None:
                scores = answer.probabilities[:, :, :height, :width]
                finite = np.isfinite(scores)
                not_finite += int((~finite).sum())
                apart = np.abs(scores - truth.probabilities[:1, :, :height, :width])[finite]
                worst = max(worst, float(apart.max(initial=0.0)))
        differ += wrong
    return Accuracy(
        image=source.info.name,
        tiles=len(chosen),
        pixels=pixels,
        labels_differ_ppm=differ / pixels * 1e6,
        worst_probability=worst if runtime.probabilities else None,
        not_finite=not_finite if runtime.probabilities else None,
        classes=len(classes),
        limit_ppm=limit_ppm,
    )


def _answers(runtime: Runtime, tiles: list[Tile], source: ImageSource, grey: GreyScale) -> Iterator[Answer]:
    """The runtime's answer to each tile, in every place of a submission, with its slots kept full."""
    flying: deque[Any] = deque()
    for tile in tiles:
        if len(flying) == runtime.slots:
            yield runtime.result(flying.popleft())
        places = runtime.limits.batch
        flying.append(runtime.submit([source.read(0, tile.read)] * places, [grey] * places))
    while flying:
        yield runtime.result(flying.popleft())


def _spread(plan: TilePlan, count: int) -> list[Tile]:
    """So many tiles at even distances through the plan, from its middle outwards for one."""
    count = min(count, len(plan))
    return [plan[(2 * index + 1) * len(plan) // (2 * count)] for index in range(count)]
