"""One segmentation of a layer, in a thread of its own, so that napari can be used meanwhile; it can be ended."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from unet_deploy.errors import UnetDeployError, in_python, reason
from unet_deploy.images import check_fits
from unet_deploy.napari.source import Cancelled, LayerSource
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.outputs import Outputs
from unet_deploy.segmentation.report import Report
from unet_deploy.segmentation.run import segment_file
from unet_deploy.tiling import Region
from unet_deploy.zoo import card_of, find_model


@dataclass(frozen=True)
class Wish:
    """What is to be segmented, and by what."""

    model: str | Path
    region: Region | None = None
    """In pixels of the layer; None for all of it."""
    objects: bool = True
    """Whether objects are numbered and measured; classes otherwise."""


@dataclass(frozen=True)
class Made:
    """What came of it."""

    report: Report
    folder: TemporaryDirectory[str]
    """Where its files are, as long as this is kept."""

    @property
    def labels(self) -> Path:
        """The file of numbered objects, or of classes."""
        return self.report.outputs.instances or self.report.outputs.mask


class Work:
    """A segmentation that has begun."""

    def __init__(self, source: LayerSource, wish: Wish) -> None:
        self.share = 0.0
        """How much is done, 0 to 1."""
        self.made: Made | None = None
        self.failed = ""
        """Why nothing was made, in one line; empty where that is not so, and where it was ended."""
        self._source, self._wish = source, wish
        self._thread = threading.Thread(target=self._run, name="segment", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_cancelled(self) -> bool:
        return self._source.cancelled.is_set()

    def cancel(self) -> None:
        """End it with the tile that it is at."""
        self._source.cancelled.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until its thread has ended."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.made = self._segment()
        except Cancelled:
            pass
        except UnetDeployError as error:
            self.failed = "" if self.is_cancelled else str(in_python(str(error)))
        except MemoryError:
            self.failed = "out of memory; segment a region, or the file itself with unet-deploy segment"
        except Exception as error:
            traceback.print_exc()
            self.failed = f"{type(error).__name__}: {reason(error)}"

    def _segment(self) -> Made:
        folder = TemporaryDirectory(prefix="unet-deploy-", ignore_cleanup_errors=True)
        source, wish = self._source, self._wish
        there = Path(folder.name)
        numbered = (there / "objects.csv", there / "instances.tif") if wish.objects else (None, None)
        outputs = Outputs(there / "mask.tif", None, None, *numbered)
        card = card_of(find_model(wish.model))
        check_fits(source.info, card, remedy="choose another model, or a layer with as many channels")
        options = Options(roi=wish.region)
        report = segment_file(source.info.name, outputs, wish.model, options, progress=self._tell, source=source)
        return Made(report, folder)

    def _tell(self, done: int, total: int, title: str = "", /) -> None:
        if self.is_cancelled:
            raise Cancelled
        self.share = done / max(total, 1)
