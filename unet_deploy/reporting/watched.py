"""A `Compute` that looks on while another fills a mask: so a report is of the very pixels that were segmented."""

from __future__ import annotations

import time

from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.survey import Survey, held_bytes
from unet_deploy.segmentation.compute import Compute, Task
from unet_deploy.segmentation.writer import OutputWriter, cut_to
from unet_deploy.stream.pipeline import Timing
from unet_deploy.system.progress import Progress


class Watched:
    """Who computes, and what is seen of it. For one image.

    card: of the model's file. most: pixels a side of the picture of the image.
    """

    survey: Survey
    """What was seen, once the mask is filled."""
    task: Task
    """What was done."""
    writer: OutputWriter
    """What gave the files their names; its tables are there once they have them."""

    def __init__(self, compute: Compute, card: ModelCard, *, most: int) -> None:
        self.card = card
        self._compute, self._most = compute, most
        self.allowed: int | None = None
        """Bytes that the process was to hold at most; None where nobody said it."""
        self._began = time.perf_counter()
        self.getting_ready = 0.0
        """Seconds before the first tile: the model is opened and proved, the image opened and its scale measured."""
        self._filled = 0.0

    @property
    def since_filled(self) -> float:
        """Seconds since the last tile: objects are parted and measured, files finished."""
        return time.perf_counter() - self._filled

    def share(self, max_memory: int | None) -> int | None:
        self.allowed = max_memory
        share = self._compute.share(max_memory)
        return share if share is None else max(1, share - held_bytes(self.card, self._most))

    def fill(self, task: Task, writer: OutputWriter, progress: Progress | None) -> Timing:
        self.getting_ready = time.perf_counter() - self._began
        self.task, self.writer = task, writer
        self.survey = Survey(task.source.info, task.region, task.ready.card, most=self._most)
        writer.consumers.append(cut_to(task.region, self.survey))
        timing = self._compute.fill(task, writer, progress)
        self._filled = time.perf_counter()
        return timing
