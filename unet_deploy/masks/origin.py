"""What a mask was made of, as it says itself: which image, what of it was read, and what its numbers are called.

A TIFF says it in the tag of the document that it shows (TIFF 6.0, 269, DocumentName), a Zarr in an attribute of its
group, both as JSON. The place of the image is seen from the folder of the mask, so that both may move together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_deploy.errors import HIDDEN, UsageError, address
from unet_deploy.images import is_url, url_of
from unet_deploy.images.likeness import likeness
from unet_deploy.images.reading import Reading

DOCUMENT_NAME = 269
RECORD = "unet-deploy"
"""The key of the record, and the name of its attribute."""


@dataclass(frozen=True)
class Origin:
    """The image that a mask is of."""

    image: Path
    """Where it lies, or a path made of its URL."""
    reading: Reading
    """How it was read."""
    level: int
    """Of its pyramid."""
    likeness: str
    """What `likeness` says of it; empty where it could not."""
    classes: tuple[str, ...] = ()
    """What the numbers of the mask, or its planes, are called, the background first; empty where these number
    objects."""

    def beside(self, mask: Path, classes: Sequence[str] = ()) -> dict[str, Any]:
        """As a mask of this name and with these classes records it, plain JSON. Secrets of a URL stay out of it."""
        read = {"channel": self.reading.channel, "palette": self.reading.palette, "level": self.level}
        record = {"image": _seen_from(mask, self.image), **read, "pixels": self.likeness}
        return {RECORD: record | ({"classes": list(classes)} if classes else {})}

    def check(self, mask: Path) -> None:
        """Raise UsageError where the image is not there any more, or is not what it was."""
        if HIDDEN in str(self.image):
            raise UsageError(f"{mask}: its image, {self.image}, has a secret address; name it: --image URL")
        if not is_url(self.image) and not self.image.exists():
            raise UsageError(f"{mask}: its image is not at {self.image} any more; say where it is: --image FILE")
        if not self._is_like(self.image):
            raise UsageError(
                f"{mask}: {address(self.image)} is not the image any more that it was made of; segment it again, "
                f"or look at both all the same: --image {address(self.image)}"
            )

    def check_of(self, image: Path, mask: Path) -> None:
        """Raise UsageError where another image than this one, or a copy of it, is what the mask was made of."""
        if not self._is_like(image):
            raise UsageError(
                f"{mask}: was made of another image than {address(image)}, of {address(self.image)}; "
                f"to look at both all the same: --image {address(image)}"
            )

    def _is_like(self, image: Path) -> bool:
        """Whether an image has the pixels that were read, as far as `likeness` sees."""
        with self.reading.open(image, level=self.level) as source:
            return not self.likeness or likeness(source) == self.likeness


def read_record(mask: Path, record: object) -> Origin | None:
    """Return the origin that a mask of this name has recorded; None for anything else."""
    said = record.get(RECORD) if isinstance(record, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    try:
        image, classes = str(said["image"]), tuple(map(str, said.get("classes", ())))
        reading = Reading(channel=said["channel"], palette=said["palette"])
        place = Path(image) if is_url(Path(image)) else Path(os.path.normpath(mask.parent / image))
        return Origin(place, reading, int(said["level"]), str(said["pixels"]), classes)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def parse_record(mask: Path, text: object) -> Origin | None:
    """The same, of a text."""
    try:
        return read_record(mask, json.loads(text)) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _seen_from(mask: Path, image: Path) -> str:
    if is_url(image):
        return address(url_of(image))
    try:
        return Path(os.path.relpath(image, mask.parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return Path(os.path.abspath(image)).as_posix()
