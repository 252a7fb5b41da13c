"""The page of a comparison: one way of computing an answer against another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unet_deploy.errors import address
from unet_deploy.images.orientation import upright
from unet_deploy.masks.overlay import Overlay
from unet_deploy.measure.verify import SeamCheck
from unet_deploy.measure.words import Rows, differing, seam_rows
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.markup import Markup, element, number
from unet_deploy.reporting.page import page
from unet_deploy.reporting.parts import (
    card_section,
    class_keys,
    facts,
    key_figures,
    legend,
    machine_rows,
    note,
    process_rows,
    section,
    warning,
)
from unet_deploy.reporting.pictures import inline, jpeg
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.system.colours import VERMILION
from unet_deploy.tiling import Region

_SIDE, _BYTES = 1024, 600_000
"""Pixels a side and bytes of a picture, at most."""


def tiled_page(model: str, check: SeamCheck, image: Path, runtime: Runtime) -> str:
    """Return the page that sets the answer tile by tile beside that in one pass, both by a runtime."""
    said = "An image is cut into tiles. If the answer in tiles is that in one pass, they leave no seams."
    rows = [*seam_rows(check, Path(address(image))), ("runtime", runtime.name)]
    picture = _picture(check, runtime.card.classes)
    return _page(f"{address(model)}: tiles against one pass", said, rows, check.agreement, runtime.card, picture)


def reference_page(model: str, reference: Path, image: Path, agreement: Agreement, card: ModelCard) -> str:
    """Return the page that sets a model or an engine beside the float32 model that it stands for."""
    said = "A fast or smaller model stands for another. If their labels agree, it may be used in its place."
    rows = [
        ("compared", address(model)),
        ("with", address(reference)),
        ("on", f"{agreement.tiles} tiles of {address(image)}"),
        ("labels that differ", differing(agreement)),
        ("labels that may", f"{agreement.limit_ppm:g} in a million"),
        *_of_probabilities(agreement),
    ]
    return _page(f"{address(model)} against {address(reference)}", said, rows, agreement, card)


def _of_probabilities(agreement: Agreement) -> Rows:
    if agreement.worst_probability is None:
        return []
    worst = f"{agreement.worst_probability:.2g} apart"
    return [("worst probability", worst), ("not finite", str(agreement.not_finite))]


def _picture(check: SeamCheck, classes: Sequence[str]) -> Markup:
    """What was compared, with the labels in tiles, and where they are not those in one pass."""
    region = Region(0, 0, *check.labels.shape)
    overlay = Overlay(region, len(check.pixels), classes, check.orientation, most=_SIDE)
    overlay.add(region, check.pixels, check.labels)
    drawn = overlay.picture()
    rows, columns = np.nonzero(upright(check.differ, check.orientation))
    drawn[rows // overlay.factor, columns // overlay.factor] = VERMILION
    height, width = drawn.shape[:2]
    shown = inline(jpeg(drawn, _BYTES), "What was compared", width=width, height=height, class_="overview")
    return section(
        "The labels in tiles", element("figure", shown), legend([*class_keys(classes), ("differ", VERMILION)])
    )


def _page(title: str, said: str, rows: Rows, agreement: Agreement, card: ModelCard, *pictures: Markup) -> str:
    return page(
        title,
        element("p", said, class_="lead"),
        _verdict(agreement),
        key_figures(_figures(agreement)),
        *pictures,
        section("What was compared", facts(rows)),
        section("How it was done", facts([*process_rows(), *machine_rows()])),
        card_section(card),
    )


def _verdict(agreement: Agreement) -> Markup:
    if not agreement.holds:
        return warning("They do not agree.", "More differs than may: do not use it.")
    if agreement.classes < 2:
        return warning("They agree, and little is said by it.", "The image is of one class: compare on another.")
    return note("They agree.")


def _figures(agreement: Agreement) -> list[tuple[str, Markup]]:
    ppm, worst = agreement.labels_differ_ppm, agreement.worst_probability
    figures = [
        ("labels in a million differ", number("labels_differ_ppm", ppm, f"{ppm:.3g}")),
        ("pixels compared", number("pixels", agreement.pixels)),
        ("of them ties", number("ties", agreement.ties)),
    ]
    if worst is not None:
        figures.append(("between the farthest probabilities", number("worst_probability", worst, f"{worst:.2g}")))
    return figures
