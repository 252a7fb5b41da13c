"""The HTML file of a command that segments: of one image a page, of several a row each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from unet_deploy.errors import address
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.account import Account, shown_places
from unet_deploy.reporting.before import lines_before
from unet_deploy.reporting.page import check_page, page, write_page
from unet_deploy.reporting.parts import facts, machine_rows, section, warning
from unet_deploy.reporting.pictures import jpeg
from unet_deploy.reporting.segmented import OVERVIEW, segmented_page
from unet_deploy.reporting.several import THUMBNAIL, THUMBNAIL_BYTES, Command, Line, Other, several_page
from unet_deploy.reporting.watched import Watched
from unet_deploy.segmentation.batch import Failed, Interrupted, MadeBefore, Outcome
from unet_deploy.segmentation.compute import Compute
from unet_deploy.segmentation.report import Report


class SegmentPage:
    """What was done of the images of a command, for people. Objects are to be counted in each (`Outputs.counted`).

    images: how many there are. resume: what an earlier run says on the page of images that are not done again stays.
    Raises as `check_page`.
    """

    def __init__(self, path: Path, *, images: int, resume: bool = False, overwrite: bool = False) -> None:
        check_page(path, resume=resume, overwrite=overwrite)
        self.path, self._images, self._replaces = path, images, overwrite
        self._before = lines_before(path) if resume and not overwrite and path.exists() else {}
        self._command: Command | None = None
        self._lines: list[Line] = []
        self._others: list[Other] = []
        self._pictures = _Pictures()
        self._single = ""

    def watching(self, compute: Compute, card: ModelCard) -> Watched:
        """Return who computes the next image and is looked on. card: of the model's file."""
        return Watched(compute, card, most=OVERVIEW if self._images == 1 else THUMBNAIL)

    def add(self, report: Report, watched: Watched) -> None:
        """Take what was seen of an image that is segmented by now."""
        account = Account.of(report, watched)
        if self._images == 1:
            self._single = segmented_page(account, *shown_places(watched, report))
        else:
            self._command = Command(account.card, account.options, report.runtime)
            self._lines.append(Line.of(account))
            self._pictures.add(jpeg(account.overview, THUMBNAIL_BYTES))

    def following(self, outcomes: Iterator[Outcome[Report]]) -> Iterator[Outcome[Report]]:
        """The same outcomes; the page is written when they end, however that is."""
        try:
            for outcome in outcomes:
                self._note(outcome)
                yield outcome
        finally:
            if self._has_news:
                write_page(self.path, self._page(), overwrite=True)
            self._pictures.close()

    @property
    def _has_news(self) -> bool:
        """Whether there is more to say than a page that is there: not where all was made before, or nothing was."""
        made = self._command or self._single
        both = bool(self._lines) and any(other.failed for other in self._others)
        first = bool(self._lines or self._others) and (self._replaces or not self.path.exists())
        return bool(made or both or first)

    def _note(self, outcome: Outcome[Report]) -> None:
        """Take why an image was not segmented, where it was not."""
        image, made = address(outcome.job.image), self._single or self._lines
        if isinstance(outcome, Failed):
            self._others.append(Other(image, str(outcome.error), failed=True))
        elif isinstance(outcome, Interrupted) and (outcome.can_resume or made or self._others):
            self._others.append(Other(image, "interrupted", failed=True))
        elif isinstance(outcome, MadeBefore) and image in self._before:
            line, picture = self._before[image]
            self._lines.append(line)
            self._pictures.add(picture)
        elif isinstance(outcome, MadeBefore):
            self._others.append(Other(image, "made by an earlier run, at which this one did not look", failed=False))

    def _page(self) -> str:
        if self._images != 1:
            return several_page(self._lines, self._others, self._pictures.read, self._command)
        return self._single or _without(self._others)


def _without(others: list[Other]) -> str:
    """The page of a single image that was not segmented."""
    (other,) = others or [Other("nothing", "nothing was done", failed=True)]
    said = "No mask was made in this run." if other.failed else "The mask is there."
    how = section("How it was done", facts(machine_rows()))
    return page(Path(other.image).name, warning(said, f"{other.image}: {other.why}"), how)


class _Pictures:
    """Pictures that wait on the disk for the order in which they are shown."""

    def __init__(self) -> None:
        self._file, self._ends = TemporaryFile(), [0]  # noqa: SIM115 - it is open until `close`

    def add(self, picture: bytes) -> None:
        self._file.seek(self._ends[-1])
        self._file.write(picture)
        self._ends.append(self._file.tell())

    def read(self, at: int) -> bytes:
        self._file.seek(self._ends[at])
        return self._file.read(self._ends[at + 1] - self._ends[at])

    def close(self) -> None:
        self._file.close()
