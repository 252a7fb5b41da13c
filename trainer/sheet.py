"""One sheet of the worst images of an evaluation, for a person to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.data import MaskKind, Pair, read_pixels, read_truths
from trainer.evaluate import Evaluation, Score
from unet_deploy.files import replacing
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation import segment_array

MOST = 9
"""Images on a sheet."""

# Okabe and Ito's vermilion, blue and purple.
MISSED, INVENTED, MISTAKEN = (213, 94, 0), (0, 114, 178), (204, 121, 167)


def draw_worst(
    path: Path,
    runtime: Runtime,
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    tta: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a PNG of the images of the lowest scores: what was missed, invented, or given another class, in colour."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    order = sorted(range(len(pairs)), key=lambda at: _quality(evaluation.scores[at]))[:MOST]
    truths = read_truths(pairs, evaluation.classes, mask_kind)
    across = math.ceil(math.sqrt(len(order)))
    figure = Figure(figsize=(4.2 * across, 4.5 * math.ceil(len(order) / across)), layout="constrained")
    for place, at in enumerate(order):
        pixels = read_pixels(pairs[at])
        labels = segment_array(pixels, runtime, None, tta=tta)[0][0]
        axis = figure.add_subplot(math.ceil(len(order) / across), across, place + 1)
        axis.imshow(compared(pixels, labels, truths[at].labels), interpolation="nearest")
        if truths[at].labels.any():
            axis.contour(truths[at].labels > 0, [0.5], colors="white", linewidths=0.4)
        score = evaluation.scores[at]
        dices = " ".join(f"{area.dice:.3f}" for area in score.areas)
        title = f"{pairs[at].name[:32]}\nDice {dices}, object F1 {score.matches[0].f1:.2f}"
        axis.set_title(f"{title}, merged {score.merged}", fontsize=8)
        axis.set_axis_off()
    meanings = [("missed", MISSED), ("invented", INVENTED)]
    if len(evaluation.classes) > 2:
        meanings.append(("another class", MISTAKEN))
    handles = [Patch(color="#{:02x}{:02x}{:02x}".format(*colour), label=name) for name, colour in meanings]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with replacing(path, overwrite=overwrite) as beside:
        figure.savefig(beside, format="png", dpi=100)


def compared(pixels: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the image (C, H, W) in grey, pixels whose class (H, W) is not the true one in colour."""
    grey = pixels[0].astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.7))
    grey = np.clip((grey - low) * (255 / max(high - low, 1e-6)), 0, 255)
    picture = np.repeat(grey[..., None], 3, axis=2)
    wrong = labels != truth
    for where, colour in (
        (wrong & (labels == 0), MISSED),
        (wrong & (truth == 0), INVENTED),
        (wrong & (labels > 0) & (truth > 0), MISTAKEN),
    ):
        picture[where] = 0.35 * picture[where] + 0.65 * np.array(colour, np.float32)
    return picture.astype(np.uint8)


def _quality(score: Score) -> float:
    """What the worst is judged by: overlap and objects alike."""
    return float(np.mean([area.dice for area in score.areas])) + score.matches[0].f1
