"""What is said of scores: the words of `evaluate`, `score` and `calibrate`, beside those of `show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.cli.show import answer, block, note
from unet_deploy.cli.text import columns, table

if TYPE_CHECKING:
    from unet_deploy.evaluation.calibration import Calibration
    from unet_deploy.evaluation.scores import Evaluation
    from unet_deploy.model.card import ModelCard

NOTABLE = 0.25
"""Pixels from which masks that lie beside their images are worth a word."""


def evaluation(result: Evaluation, groups: frozenset[str]) -> None:
    """Say how good a model or a mask is: image by image, by threshold, and over all."""
    if len(result.scores) > 1:
        block(_scores(result) + "\n")
    if result.cuts:
        block(_cuts(result) + "\n")
    shown = result.figures(groups)
    block(table([("images", str(len(result.scores))), *((each.words, each.text) for each in shown)]))
    _say_without_objects(result)
    if (displaced := result.displacement) and max(map(abs, displaced)) > NOTABLE:
        sides = (("up", "down"), ("left", "right"))
        ways = [f"{abs(by):.1f} {side[by > 0]}" for by, side in zip(displaced, sides, strict=True)]
        note(
            f"the masks lie {' and '.join(ways)} of what the model sees, in pixels: "
            "bring images and masks together and train again, and edges will be sharper"
        )


def evaluation_json(result: Evaluation) -> None:
    """Say how good a model or a mask is, for a machine."""
    block(json.dumps(result.to_json(), indent=2))
    _say_without_objects(result)


def _say_without_objects(result: Evaluation) -> None:
    if result.absent:
        note(f"note: no mask has {', '.join(result.absent)}: Dice is 1 in images where none was found, 0 in others")
    if result.without_objects:
        images = f"{result.without_objects} of {len(result.scores)} images"
        note(f"SEG: no true objects in {images}, which do not count")


def _scores(result: Evaluation) -> str:
    head = ["image", *(f"Dice of {name}" for name in result.classes[1:]), "object F1 at IoU 0.5", "SEG"]
    rows: list[list[str | float]] = [
        [
            each.name,
            *(overlap.dice for overlap in each.overlaps),
            each.matches[0].f1,
            "none" if each.seg is None else each.seg,
        ]
        for each in result.scores
    ]
    return columns(head, rows)


def _cuts(result: Evaluation) -> str:
    from unet_deploy.evaluation.scores import CUTS

    rows: list[list[str | float]] = [
        [f"{cut:.1f}", *row.in_words.values()] for cut, row in zip(CUTS, result.cuts, strict=True)
    ]
    return columns(["threshold", *result.cuts[0].in_words], rows)


def masks_read(result: Evaluation) -> None:
    """Say what is not plain of how masks were read."""
    for line in result.notes:
        note(line)


def training_images(result: Evaluation, card: ModelCard) -> None:
    """Say where scores include images that the model was trained on."""
    if result.trained_on:
        rule, _, _ = card.split.partition(" held back")
        note(
            f"note: the model was trained on {len(result.trained_on)} of {len(result.scores)} images: expect less of "
            f"new ones; score what training held back with --validation {rule or 'RULE'}"
        )


def left_out(known: int, seen: int) -> None:
    """Say which images can tell nothing new of a model."""
    if known:
        note(f"note: {known} of {known + seen} images were trained on and are left out")


def calibration(found: Calibration, output: Path) -> None:
    """Say what was chosen, and what it is worth."""
    for each in found.curves:
        tried = [f"{value}" for value in each.values], [f"{score:.4f}" for score in each.scores]
        answer(f"{each.field.replace('_', ' ')}: {each.chosen}")
        block(table(list(zip(*tried, strict=True))) + "\n")
    worth = f"object F1 over IoU 0.5 to 0.9 {found.after:.4f} of {found.images} images, {found.before:.4f} before"
    answer(f"{output}: {worth}; in its card")


def calibration_json(found: Calibration) -> None:
    """The same, for a machine."""
    curves = {each.field: dict(zip(map(str, each.values), each.scores, strict=True)) for each in found.curves}
    chosen = {each.field: each.chosen for each in found.curves}
    figures = {"decision": chosen, "f1": found.after, "f1_before": found.before, "images": found.images}
    block(json.dumps({**figures, "curves": curves}, indent=2))
