"""One sheet of the worst images of an evaluation, for a person to look at.

Of a model of several classes it shows each image twice: what the model says, a colour a class, and what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.evaluation.answers import answer
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.pair import Pair, read_image, scales_of
from unet_deploy.evaluation.scores import Evaluation, Score
from unet_deploy.evaluation.truths import Truth, leave_out, read_truth_set
from unet_deploy.images.contrast import stretched
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks.apart import check_apart
from unet_deploy.masks.overlay import Overlay
from unet_deploy.segmentation.models import Given, Models
from unet_deploy.system.colours import BLUE, COLOURS, PURPLE, VERMILION
from unet_deploy.system.extras import importing
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

MOST = 9
"""Images on a sheet."""

MISSED, INVENTED, MISTAKEN = VERMILION, BLUE, PURPLE


def draw_worst(
    path: Path,
    models: Models | Given,
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
    tta: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a PNG of the images of the lowest scores: what was missed, invented, or given another class, in colour.

    evaluation: what `evaluate` said of these pairs.
    Raises MissingPackageError without Matplotlib, and UsageError where `path` is one of the pairs' files.
    """
    check_apart([path], [each for pair in pairs for each in pair.files])
    with importing("matplotlib", "train"):
        from matplotlib.figure import Figure

    classes = evaluation.classes
    order = sorted(range(len(evaluation.parts)), key=lambda at: _quality(evaluation.scores[at]))[:MOST]
    truths = read_truth_set(pairs, classes, mask_kind, MaskCode.of_card(models.card)).truths
    shown = [pairs[evaluation.parts[at].image] for at in order]
    scales = scales_of(shown, models.card.normalization, reading)
    panels = 2 if len(classes) > 2 else 1
    across = math.ceil(math.sqrt(len(order) / panels))
    down = math.ceil(len(order) / across)
    figure = Figure(figsize=(4.2 * across * panels, 4.5 * down), layout="constrained")
    for place, at in enumerate(order):
        part = evaluation.parts[at]
        pair, truth = pairs[part.image], truths[part.image]
        image = read_image(pair, reading)
        pixels = image.crop(0, image.info.region)
        data = image.data_in(0, image.info.region, pixels)
        labels = answer(models, image, grey=scales.get(pair.image), tta=tta)[0]
        if data is not None and data.any():
            pixels = np.where(data, pixels, pixels[:, data].min())  # what is no data may be no number
        inside = (part.region or pair.inside or image.info.region).slices
        axes = [figure.add_subplot(down, across * panels, panels * place + panel + 1) for panel in range(panels)]
        seen = leave_out(truth, data).part(inside)
        picture = pixels[(slice(None), *inside)], seen.of_known(labels[inside]), seen
        _draw(axes, *picture, evaluation.scores[at], classes)
    draw_legend(figure, _meanings(classes))
    with replacing(path, overwrite=overwrite) as beside:
        figure.savefig(beside, format="png", dpi=100)


def _draw(
    axes: Sequence[Any], pixels: np.ndarray, labels: np.ndarray, truth: Truth, score: Score, classes: Sequence[str]
) -> None:
    """Draw one image (C, H, W) and its labels (H, W): what is wrong in the last panel, the classes in one before it."""
    if len(axes) > 1:
        axes[0].imshow(_classes_shown(pixels, labels, classes), interpolation="nearest")
        axes[0].set_title(f"{score.name[:32]}\nthe model's classes", fontsize=8)
    axes[-1].imshow(compared(pixels, labels, truth.labels), interpolation="nearest")
    if truth.labels.any():
        axes[-1].contour(truth.labels > 0, [0.5], colors="white", linewidths=0.4)
    axes[-1].set_title(f"{score.name[:32]}\n{_figures(score, classes)}", fontsize=8)
    for axis in axes:
        axis.set_axis_off()


def _meanings(classes: Sequence[str]) -> list[tuple[str, Sequence[float]]]:
    """What the colours of a sheet stand for."""
    wrong: list[tuple[str, Sequence[float]]] = [("missed", MISSED), ("invented", INVENTED)]
    if len(classes) <= 2:
        return wrong
    named = [(name, COLOURS[label % len(COLOURS)]) for label, name in enumerate(classes[1:])]
    return [*named, *wrong, ("another class", MISTAKEN)]


def _figures(score: Score, classes: Sequence[str]) -> str:
    """Say in one line what was measured of an image."""
    names = [f"{name} " for name in classes[1:]] if len(classes) > 2 else [""]
    dices = ", ".join(f"{name}{overlap.dice:.3f}" for name, overlap in zip(names, score.overlaps, strict=True))
    return f"Dice {dices}, object F1 {score.matches[0].f1:.2f}, merged {score.merged}"


def _classes_shown(pixels: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Draw an image (C, H, W) with its classes (H, W) in colour, as `segment --overlay` does: (h, w, 3) uint8."""
    channels, height, width = pixels.shape
    picture = Overlay(Region(0, 0, height, width), channels, classes)
    picture.add(Region(0, 0, height, width), pixels, labels)
    return picture.picture()


def draw_legend(figure: Any, meanings: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Say below a Matplotlib figure what its colours, of 0 to 255, stand for."""
    from matplotlib.patches import Patch

    handles = [Patch(color="#{:02x}{:02x}{:02x}".format(*map(int, colour)), label=name) for name, colour in meanings]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def grey_picture(pixels: np.ndarray) -> np.ndarray:
    """Make the first channel of an image (C, H, W) a picture to look at: (H, W, 3) float32 of 0 to 255."""
    return np.repeat(stretched(pixels[0].astype(np.float32))[..., None], 3, axis=2)


def compared(pixels: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Draw an image (C, H, W) in grey, pixels whose class (H, W) is not the true one in colour: (H, W, 3) uint8."""
    picture = grey_picture(pixels)
    wrong = labels != truth
    for where, colour in (
        (wrong & (labels == 0), MISSED),
        (wrong & (truth == 0), INVENTED),
        (wrong & (labels > 0) & (truth > 0), MISTAKEN),
    ):
        picture[where] = 0.35 * picture[where] + 0.65 * np.array(colour, np.float32)
    return picture.astype(np.uint8)


def _quality(score: Score) -> float:
    """What the worst images are chosen by: overlap and objects alike."""
    return float(np.mean([overlap.dice for overlap in score.overlaps])) + score.matches[0].f1
