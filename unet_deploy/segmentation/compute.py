"""Who computes the tiles of an image: this process, or whoever is handed in instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unet_deploy.images import ImageSource
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.measuring import Measured
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.writer import OutputWriter
from unet_deploy.stream.pipeline import PageScales, Timing, stream
from unet_deploy.stream.precision import Settled
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region, TilePlan


@dataclass(frozen=True)
class Task:
    """One image to segment, with all that is settled before its first tile."""

    path: Path
    level: int
    """Of the pyramid, 0 the finest: its pixels are the mask's."""
    state: str
    """Of what is read of the image when its first tile was to be."""
    measured: Measured
    """At which scale the model was opened for it, what is read of it for that, and what was seen to know that."""
    settled: Settled
    """The model as it was opened, and in which precision."""
    ready: Runtime
    """What answers: the model, or the mean of its answers over all orientations."""
    plan: TilePlan
    region: Region
    """What is to be in the mask; the plan covers it."""
    options: Options

    @property
    def source(self) -> ImageSource:
        """The image as it is read, in pixels of its level."""
        return self.measured.source


class Compute(Protocol):
    """Who computes the tiles of an image."""

    def share(self, max_memory: int | None) -> int | None:
        """Of the bytes that all its processes on this machine may hold, those of each; None for a share of the free."""

    def fill(self, task: Task, writer: OutputWriter, progress: Progress | None) -> Timing:
        """See to it that every tile of the task reaches the writer's consumers, in the plan's order.

        progress: called with tiles done and tiles in all. Raises what went wrong; what is finished then is kept.
        """


class StreamHere:
    """This process computes, by reading, computing and writing side by side."""

    def share(self, max_memory: int | None) -> int | None:
        return max_memory

    def fill(self, task: Task, writer: OutputWriter, progress: Progress | None) -> Timing:
        return stream(
            task.source,
            task.plan,
            task.ready,
            writer.consumers,
            greys=PageScales(task.source, task.ready.card.normalization, task.settled.greys),
            resumed=writer.finished_tile,
            skip_background=task.options.skip_background,
            progress=progress,
        )


stream_here: Compute = StreamHere()
"""What computes unless something else is handed in."""
