"""One picture of a calibration: F1 over each number that was tried, and what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unet_deploy.evaluation.calibration import Calibration, Curve
from unet_deploy.system.colours import BLUE, VERMILION
from unet_deploy.system.extras import importing
from unet_deploy.system.files import replacing

TITLES = {
    "threshold": "probability above which a pixel counts",
    "fill_holes": "holes inside an object",
    "min_size": "least area, in squared diameters",
    "split": "depth at which objects part, in diameters",
    "min_part": "least area of a part, in squared diameters",
    "peak": "probability of foreground that an object reaches somewhere",
}


def draw_curves(path: Path, found: Calibration, *, overwrite: bool = False) -> None:
    """Write a PNG of all curves. Raises MissingPackageError without Matplotlib."""
    with importing("matplotlib", "train"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(found.curves), 3.0), layout="constrained")
    least = min(min(curve.scores) for curve in found.curves)
    for place, curve in enumerate(found.curves, start=1):
        axis = figure.add_subplot(1, len(found.curves), place)
        _draw(axis, curve)
        axis.set_ylim(max(0.0, least - 0.02), min(1.0, found.after + 0.02))
        if place == 1:
            axis.set_ylabel(f"object F1 over IoU 0.5 to 0.9, {found.images} images")
    with replacing(path, overwrite=overwrite) as beside:
        figure.savefig(beside, format="png", dpi=120)


def _draw(axis: Any, curve: Curve) -> None:
    places = range(len(curve.values))
    line, choice = ([channel / 255 for channel in colour] for colour in (BLUE, VERMILION))
    axis.plot(places, curve.scores, "o-", color=line, markersize=4)
    at = curve.values.index(curve.chosen) if curve.chosen in curve.values else None
    if at is not None:
        axis.plot([at], [curve.scores[at]], "o", color=choice, markersize=9)
    axis.set_xticks(list(places), [_named(value) for value in curve.values], fontsize=7)
    axis.set_title(TITLES[curve.field], fontsize=8)
    axis.grid(alpha=0.3)


def _named(value: Any) -> str:
    return {False: "kept", True: "filled"}[value] if isinstance(value, bool) else f"{value:g}"
