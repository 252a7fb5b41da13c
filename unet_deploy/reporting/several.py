"""The page of many images that were segmented: a row each, those that want a look first."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import PurePath
from typing import Any

import numpy as np
from typing_extensions import Self

from unet_deploy.measure.words import Rows
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.account import Account
from unet_deploy.reporting.found import Spread
from unet_deploy.reporting.markup import Markup, element, file_name, joined, number
from unet_deploy.reporting.outliers import LEAST, UNLIKE, scores
from unet_deploy.reporting.page import page
from unet_deploy.reporting.parts import (
    card_section,
    facts,
    fitting,
    grid,
    key_figures,
    machine_rows,
    memory_row,
    note,
    section,
    segmented_by,
)
from unet_deploy.reporting.pictures import inline
from unet_deploy.reporting.settings import settings_rows
from unet_deploy.segmentation.options import Options
from unet_deploy.system.machine import peak_memory
from unet_deploy.system.words import time_text

THUMBNAIL, THUMBNAIL_BYTES = 256, 16_000
"""Pixels a side and bytes of a picture of an image, at most."""
_ROOM = 4_400_000
"""Bytes of all rows: so that a page of any number of images is less than 5 MB."""
PICTURED = 60
"""Images at the head of the table that are shown with a picture."""


@dataclass(frozen=True)
class Line:
    """What a row says of an image that was segmented."""

    image: str
    objects: int
    foreground: float
    area: float
    """The median of its objects; NaN where there are none, as below."""
    unit: str
    """Of the area, as its column in the table is called."""
    intensity: float
    """The median of the mean intensities of its objects, of the first channel."""
    confidence: float
    """NaN where it is not known."""
    doubts: tuple[str, ...]
    seconds: float
    megapixels: float

    @classmethod
    def of(cls, account: Account) -> Self:
        """The row of an image."""
        found, report = account.found, account.report
        area, grey = (Spread.of(found.columns[name]) for name in (found.area, found.intensities[0]))
        nothing = float("nan")
        return cls(
            account.image,
            report.objects or 0,
            found.foreground,
            area.median if area else nothing,
            found.area,
            grey.median if grey else nothing,
            nothing if report.trust.confidence is None else report.trust.confidence,
            report.trust.doubts,
            report.timing.wall,
            report.megapixels,
        )

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """A row as it stands in a page. Raises TypeError, ValueError or KeyError for what is none."""
        read: dict[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float}
        known = {each.name: read[str(each.type)](plain[each.name]) for each in fields(cls) if str(each.type) in read}
        return cls(**known, doubts=tuple(map(str, plain["doubts"])))


@dataclass(frozen=True)
class Command:
    """What is the same for all images."""

    card: ModelCard
    """Of the model's file."""
    options: Options
    runtime: str


@dataclass(frozen=True)
class Other:
    """An image that this command did not segment, and why."""

    image: str
    why: str
    failed: bool


MEASURES: dict[str, Callable[[Line], float]] = {
    "objects in a megapixel": lambda line: line.objects / max(line.megapixels, 1e-9),
    "share of foreground": lambda line: line.foreground,
    "median area": lambda line: line.area,
    "median intensity": lambda line: line.intensity,
    "confidence": lambda line: line.confidence,
}
"""What images are compared by."""

_RULE = (
    "First images that failed, then those with a reason to look, then those that are most unlike the others: an image "
    f"is an outlier where a measure lies {UNLIKE:g} times as far from the median of all images as is usual (modified "
    f"z-score; from {LEAST} images on). Measures: {', '.join(MEASURES)}."
)


@dataclass(frozen=True)
class Ranked:
    """A row, and why it stands where it does."""

    at: int
    """Of the lines, in the order in which images were done."""
    line: Line
    unlike: tuple[str, ...]
    """The measures by which it is an outlier, with their scores."""


def ranked(lines: Sequence[Line]) -> list[Ranked]:
    """Return the rows in the order in which they are to be looked at."""
    table = {name: scores(np.array([float(of(line)) for line in lines])) for name, of in MEASURES.items()}
    rows = []
    for at, line in enumerate(lines):
        unlike = {name: float(found[at]) for name, found in table.items() if found[at] > UNLIKE}
        said = tuple(f"{name} ({score:.1f})" for name, score in sorted(unlike.items(), key=lambda each: -each[1]))
        rows.append((not line.doubts, -max(unlike.values(), default=0.0), at, Ranked(at, line, said)))
    return [row for *_, row in sorted(rows, key=lambda each: each[:3])]


def several_page(
    lines: Sequence[Line], others: Sequence[Other], thumbnail: Callable[[int], bytes], command: Command | None
) -> str:
    """Return the page of many images. thumbnail: the picture of the line of a number, as JPEG.

    command: None where no image was segmented.
    """
    failed = [each for each in others if each.failed]
    rows = ranked(lines)
    outliers = sum(1 for row in rows if row.unlike)
    doubted = sum(1 for row in rows if row.line.doubts)
    count, seconds = len(lines) + len(others), sum(line.seconds for line in lines)
    return page(
        f"{count} images",
        *([segmented_by(command.card, f" with {command.runtime}.")] if command else []),
        key_figures(
            [
                ("images segmented", number("images", len(lines))),
                ("failed", number("failed", len(failed))),
                ("with a reason to look", number("doubted", doubted)),
                ("outliers", number("outliers", outliers)),
                ("objects", number("objects", sum(line.objects for line in lines))),
                ("for reading, computing, writing", number("seconds", seconds, time_text(seconds))),
            ]
        ),
        section("Images", note(_RULE), _table(rows, others, thumbnail)),
        section("How it was done", facts([*_settings(command, lines), *machine_rows()])),
        *([card_section(command.card)] if command else []),
    )


def _settings(command: Command | None, lines: Sequence[Line]) -> Rows:
    if command is None:
        return []
    return [
        ("runtime", command.runtime),
        ("segmented", f"{sum(line.megapixels for line in lines):.4g} megapixels"),
        memory_row(peak_memory()),
        *settings_rows(command.options, command.card),
    ]


def _table(rows: Sequence[Ranked], others: Sequence[Other], thumbnail: Callable[[int], bytes]) -> Markup:
    head = ["", "image", "look at", "objects", "foreground", "median area", "median intensity", "confidence", "time"]
    shown = fitting(
        chain(
            (_other(each) for each in others if each.failed),
            (_row(row, thumbnail(row.at) if at < PICTURED else b"") for at, row in enumerate(rows)),
            (_other(each) for each in others if not each.failed),
        ),
        _ROOM,
    )
    left = len(rows) + len(others) - len(shown)
    more = [note(f"{left} more images have no row here; --report FILE.json has all.")] if left else []
    return joined(element("div", grid(head, shown), class_="rows"), *more)


def _row(row: Ranked, picture: bytes) -> list[str]:
    line = row.line
    name = PurePath(line.image).name
    unit = "µm²" if line.unit == "area_um2" else "px"
    unlike = [f"outlier: {', '.join(row.unlike)}"] if row.unlike else []
    reasons = [joined(each, element("br")) for each in (*line.doubts, *unlike)]
    return [
        inline(picture, f"{name} with its mask") if picture else "",
        element("span", file_name(name), title=line.image, data_line=json.dumps(asdict(line))),
        joined(*reasons),
        number("objects", line.objects),
        number("foreground", line.foreground, f"{100 * line.foreground:.2f} %"),
        _measured(line.unit, line.area, f"{line.area:.4g} {unit}"),
        _measured("mean_intensity", line.intensity, f"{line.intensity:.4g}"),
        _measured("confidence", line.confidence, f"{line.confidence:.3f}"),
        number("seconds", line.seconds, f"{line.seconds:.3g} s"),
    ]


def _measured(name: str, value: float, text: str) -> Markup:
    return number(name, value, text) if np.isfinite(value) else Markup("-")


def _other(other: Other) -> list[str]:
    name = element("span", file_name(PurePath(other.image).name), title=other.image)
    said = other.why.removeprefix(f"{other.image}: ")
    why = element("b", "failed: ", said) if other.failed else said
    return ["", name, why, *[Markup("-")] * 6]
