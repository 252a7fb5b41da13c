"""The page of an evaluation: scores, where they come from, and the worst images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unet_deploy.evaluation.objects import IOU_THRESHOLDS
from unet_deploy.evaluation.scores import CUTS, Evaluation, Score
from unet_deploy.evaluation.sheet import INVENTED, MISSED, MISTAKEN, compared
from unet_deploy.evaluation.worst import MOST as SHOWN
from unet_deploy.evaluation.worst import WorstImage, order
from unet_deploy.measure.words import Rows
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.charts import curve
from unet_deploy.reporting.markup import Markup, element, number
from unet_deploy.reporting.page import page
from unet_deploy.reporting.parts import (
    card_section,
    facts,
    fitting,
    grid,
    key_figures,
    legend,
    machine_rows,
    note,
    process_rows,
    section,
    warning,
)
from unet_deploy.reporting.pictures import inline, jpeg

_SIDE, _BYTES = 640, 150_000
"""Pixels a side and bytes of a picture, at most."""
_ROOM = 2_600_000
"""Bytes of the rows of all images: with the pictures of the worst a page is less than 5 MB."""


@dataclass(frozen=True)
class Evaluated:
    """What a page says of an evaluation."""

    result: Evaluation
    card: ModelCard
    conditions: str
    """What was scored and how, in words."""
    runtime: str
    """Runtime and device that answered."""
    groups: frozenset[str]
    """Of measures, those that were asked for."""


def evaluated_page(done: Evaluated, worst: Iterable[WorstImage]) -> str:
    """Return the page of an evaluation. worst: its worst images, the worst first."""
    result = done.result
    figures = result.figures(done.groups)
    shown = [each for each in figures if each.measure.field in ("mean_dice", "object_f1", "mean_object_f1", "seg")]
    return page(
        f"{done.card.name}: evaluation",
        element("p", f"{done.conditions[0].upper()}{done.conditions[1:]}.", class_="lead"),
        *_warnings(result),
        key_figures((each.words, number(each.words, each.value, each.text)) for each in shown[:6]),
        section("Scores", facts((each.words, number(each.words, each.value, each.text)) for each in figures)),
        _curves(result),
        _worst(worst, result.classes),
        _images(result),
        section("How it was done", facts([*_how(done), *process_rows(), *machine_rows()])),
        card_section(done.card),
    )


def _how(done: Evaluated) -> Rows:
    decision = done.card.decision
    known = f"as they are, or where objects are not of a size that the model knows, at {decision.diameter or 0:g} px"
    return [
        ("images", done.conditions),
        ("scale", known if decision.diameter else "as they are"),
        ("threshold", f"{decision.threshold:g}"),
        ("runtime", done.runtime),
    ]


def _warnings(result: Evaluation) -> list[Markup]:
    said = []
    if result.trained_on:
        count = f"{len(result.trained_on)} of {len(result.scores)} images"
        said.append(warning("Expect less of new images.", f"The model was trained on {count}."))
    return [*said, *(note(line) for line in result.notes)]


def _curves(result: Evaluation) -> Markup:
    places = list(map(float, IOU_THRESHOLDS))
    drawn = [curve(places, result.f1, ("intersection over union that counts as found", "F1 of objects"))]
    heads = [f"{place:.2f}" for place in places]
    cells = [number(f"f1.{head}", f1, f"{f1:.4f}") for head, f1 in zip(heads, result.f1, strict=True)]
    if result.cuts:
        cuts = list(map(float, CUTS))
        for words, values in (
            ("Dice", [cut.dice for cut in result.cuts]),
            ("F1 of objects at IoU 0.5", [cut.object_f1 for cut in result.cuts]),
        ):
            drawn.append(curve(cuts, values, ("probability from which a pixel counts", words)))
    return section(
        "F1 of objects over IoU",
        element("div", *(element("figure", each) for each in drawn), class_="charts"),
        grid(["IoU", *heads], [["F1", *cells]]),
    )


def _worst(worst: Iterable[WorstImage], classes: Sequence[str]) -> Markup:
    names = [("missed", MISSED), ("invented", INVENTED), *([("another class", MISTAKEN)] if len(classes) > 2 else [])]
    rule = f"The {SHOWN} of the lowest sum of Dice, the mean of all classes, and of object F1 at IoU 0.5."
    figures = [_figure(image) for image in worst]
    return section("The worst images", note(rule), legend(names), element("div", *figures, class_="worst"))


def _figure(image: WorstImage) -> Markup:
    picture = Image.fromarray(compared(image.pixels, image.labels, image.truth.labels))
    step = math.ceil(max(picture.size) / _SIDE)
    small = np.asarray(picture.reduce(step))
    height, width = small.shape[:2]
    score = image.score
    said = f"Dice {np.mean([each.dice for each in score.overlaps]):.3f}, object F1 {score.matches[0].f1:.3f}"
    scale = f"; a pixel is the mean of {step} x {step}" if step > 1 else ""
    caption = element("figcaption", element("b", score.name), element("br"), said, scale)
    drawn = inline(jpeg(small, _BYTES), f"{score.name}: errors in colour", width=width, height=height)
    return element("figure", drawn, caption)


def _images(result: Evaluation) -> Markup:
    head = ["image", *(f"Dice of {name}" for name in result.classes[1:]), "object F1 at IoU 0.5", "SEG", "merged", ""]
    ranked = [result.scores[at] for at in order(result)]
    seen = frozenset(result.trained_on)
    rows = fitting((_row(score, result.classes, trained_on=score.name in seen) for score in ranked), _ROOM)
    left = len(ranked) - len(rows)
    more = [note(f"{left} more images have no row here; --json has all.")] if left else []
    return section("Images, the worst first", grid(head, rows), *more)


def _row(score: Score, classes: Sequence[str], *, trained_on: bool) -> list[str]:
    named = zip(classes[1:], score.overlaps, strict=True)
    return [
        score.name,
        *(number(f"dice.{name}", overlap.dice, f"{overlap.dice:.4f}") for name, overlap in named),
        number("f1", score.matches[0].f1, f"{score.matches[0].f1:.4f}"),
        "none" if score.seg is None else number("seg", score.seg, f"{score.seg:.4f}"),
        number("merged", score.merged),
        "trained on" if trained_on else "",
    ]
