"""What was done for one image, and the file that says it of all images of a command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unet_deploy._version import __version__
from unet_deploy.errors import UsageError, address
from unet_deploy.images import ImageInfo
from unet_deploy.masks import format_of
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.segmentation.batch import Failed, Made, MadeBefore, Outcome
from unet_deploy.segmentation.outputs import Outputs
from unet_deploy.segmentation.scaling import AS_IT_IS, Scaled
from unet_deploy.segmentation.trust import Trust
from unet_deploy.stream.pipeline import Timing
from unet_deploy.system.files import check_free, replacing
from unet_deploy.tiling import Region, TilePlan


@dataclass(frozen=True)
class Report:
    """What was done for one image."""

    image: ImageInfo
    plan: TilePlan
    region: Region
    """What of each page was segmented: the tiles may cover a little more."""
    outputs: Outputs
    runtime: str
    """Runtime and device that answered, as they are named."""
    timing: Timing
    proved: Agreement | None
    """How a GPU's answer compared with the model's, where this image was the first."""
    objects: int | None = None
    """How many there are, where they were counted."""
    nodata: int | None = None
    """What the mask says to stand for no data; None where its image cannot have any."""
    places: str = ""
    """In what the places of objects are given, where the image lies on a map."""
    too_large: int = 0
    """How many objects were to be parted where they touch, but span too much for it and stayed as they are."""
    scaled: Scaled = AS_IT_IS
    """At which scale the image was taken, and why."""
    trust: Trust = field(default_factory=Trust)
    """What is known of the mask's quality."""
    model: str = ""
    """Its name."""
    precision: str | None = None
    """Which precision `auto` has taken, `bf16` or `fp32`; None where it was not asked, or had no choice."""
    why: str = ""
    """Why that, in words."""

    @property
    def off_map(self) -> list[Path]:
        """The files of an image on a map that do not say that they lie on it."""
        if self.image.on_map is None:
            return []
        return [path for path in self.outputs.of_pixels if not format_of(path).mapped]

    @property
    def megapixels(self) -> float:
        """What was segmented, all pages together."""
        return self.image.pages * self.region.height * self.region.width / 1e6

    def to_json(self) -> dict[str, Any]:
        """What a program may want to know of it, of plain values: lengths in pixels of the image, times in seconds."""
        return {
            "files": list(map(str, self.outputs)),
            "model": self.model,
            "runtime": self.runtime,
            **({"precision": self.precision, "precision_why": self.why} if self.precision else {}),
            "scale": asdict(self.scaled),
            "objects": self.objects,
            "objects_too_large_to_part": self.too_large,
            "confidence": self.trust.confidence,
            "doubts": list(self.trust.doubts),
            "megapixels": self.megapixels,
            "seconds": self.timing.wall,
            "tiles": self.image.pages * len(self.plan),
            "tiles_resumed": self.timing.resumed,
            "tiles_skipped": self.timing.skipped,
        }


_KIND = "unet-deploy"


class ReportFile:
    """A JSON file that says what was done of each image of a command, in the order in which they were done.

    resume: what an earlier run says in it of an image stays until that is done again.
    Raises UsageError where another file has the name, and UnetDeployError where none can be made there.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        if path.suffix.lower() != ".json":
            raise UsageError(f"--report {path}: give a name that ends in .json or .html")
        check_free(path, overwrite=overwrite or resume)
        self._path = path
        self._entries = self._earlier() if resume and path.exists() and not overwrite else {}

    def following(self, outcomes: Iterator[Outcome[Report]]) -> Iterator[Outcome[Report]]:
        """The same outcomes; the file is written when they end, however that is, unless there is nothing to say."""
        try:
            for outcome in outcomes:
                self.add(outcome)
                yield outcome
        finally:
            if self._entries:
                self.write()

    def add(self, outcome: Outcome[Report]) -> None:
        """Say of an image, as it was named, what became of it."""
        image = address(outcome.job.image)
        if isinstance(outcome, MadeBefore):
            self._entries.setdefault(image, {"image": image, "made": "by an earlier run"})
            return
        self._entries.pop(image, None)
        if isinstance(outcome, Made):
            self._entries[image] = {"image": image, **outcome.result.to_json()}
        elif isinstance(outcome, Failed):
            self._entries[image] = {"image": image, "error": str(outcome.error), "can_resume": outcome.can_resume}
        elif outcome.can_resume or self._entries:
            self._entries[image] = {"image": image, "error": "interrupted", "can_resume": outcome.can_resume}

    def write(self) -> None:
        """Write the file, or replace it by what is known now. Raises UnetDeployError."""
        plain = {_KIND: __version__, "images": list(self._entries.values())}
        with replacing(self._path, overwrite=True) as beside:
            beside.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")

    def _earlier(self) -> dict[str, Mapping[str, Any]]:
        try:
            plain = json.loads(self._path.read_text(encoding="utf-8"))
            plain[_KIND]
            return {each["image"]: each for each in plain["images"]}
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"--report {self._path}: exists, and no run of ours wrote it; give another name, or --overwrite"
            ) from None
