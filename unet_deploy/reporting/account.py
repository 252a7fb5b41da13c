"""What is known of an image that was segmented: what was done, how it went, and what came out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import UnetDeployError, address
from unet_deploy.images import open_labels
from unet_deploy.masks import format_of
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.crops import Files, ShownPlace, choose, draw
from unet_deploy.reporting.found import Found
from unet_deploy.reporting.watched import Watched
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.report import Report
from unet_deploy.system.machine import peak_memory
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Spent:
    """Seconds outside the stream of tiles."""

    before: float
    """The model is opened and proved, the image opened and its scale measured."""
    after: float
    """Objects are parted and measured, files get their names."""


@dataclass(frozen=True)
class Account:
    """What a page says of an image."""

    image: str
    """As it was named, without secrets."""
    report: Report
    card: ModelCard
    """Of the model's file."""
    options: Options
    region: Region
    """What was segmented of each page, in pixels of the level."""
    level: int
    spent: Spent
    allowed: int | None
    """Bytes that the process was to hold at most; None where nobody said it."""
    peak: int
    """Bytes of memory that the process held at most, from its beginning on."""
    found: Found
    overview: np.ndarray
    """(h, w, 3) uint8: the first page with its mask."""
    factor: int
    """Pixels of the image, each way, for one of the overview."""

    @classmethod
    def of(cls, report: Report, watched: Watched) -> Account:
        """What was seen of an image that is segmented by now."""
        task, survey = watched.task, watched.survey
        spent = Spent(watched.getting_ready, watched.since_filled)
        overview, factor = survey.picture.picture(), survey.picture.factor
        found = Found.of(survey, watched.writer.tables)
        return cls(
            address(task.path),
            report,
            watched.card,
            task.options,
            task.region,
            task.level,
            spent,
            watched.allowed,
            peak_memory(),
            found,
            overview,
            factor,
        )


def shown_places(watched: Watched, report: Report) -> tuple[list[ShownPlace], str]:
    """Return the places of an image to show, read from its file and its mask, and why there are none where so it is.

    A report is no reason to fail when the mask is made.
    """
    task = watched.task
    places = choose(watched.writer.tables, watched.survey.doubts.most(), task.region)
    mask = format_of(report.outputs.mask).place(report.outputs.mask)
    try:
        with task.options.reading.open(task.path, level=task.level) as image, open_labels(mask) as labels:
            files = Files(image, labels, watched.card.classes, watched.writer.ids, task.options.outside)
            return draw(places, files), ""
    except (UnetDeployError, OSError) as error:
        return [], f"Image or mask could not be read again: {error}"
