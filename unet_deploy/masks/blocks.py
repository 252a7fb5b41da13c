"""Blocks of an output that tiles fill together, and what is the same for every way of keeping those that are full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.system.files import try_lock
from unet_deploy.tiling import Region


def touched(region: Region, side: int) -> Iterator[tuple[int, int]]:
    """Row and column of every block of `side` pixels that a region has a part of."""
    for row in range(region.y // side, -(-region.bottom // side)):
        for column in range(region.x // side, -(-region.right // side)):
            yield row, column


@dataclass
class Filling:
    """A block that some tiles have yet to write to. place: where it lies, with the pixels that it has."""

    place: Region
    pixels: np.ndarray
    missing: int

    @classmethod
    def empty(cls, place: Region, wanted: Region, dtype: np.dtype[Any]) -> Filling:
        """All 0, and full when the part of `wanted` in it is written."""
        inside = place.intersection(wanted)
        return cls(place, np.zeros((place.height, place.width), dtype), inside.height * inside.width)

    def take(self, region: Region, pixels: np.ndarray) -> bool:
        """Take its part of a region's pixels (h, w); returns whether it is full now."""
        shared = self.place.intersection(region)
        part = pixels[shared.moved(-region.y, -region.x).slices]
        self.pixels[shared.moved(-self.place.y, -self.place.x).slices] = part
        self.missing -= part.size
        return self.missing == 0


def lock(file: IO[Any], output: Path) -> None:
    """Keep other processes off an unfinished output. Raises UsageError where one is at it."""
    with suppress(OSError):  # of a file system without locks
        if not try_lock(file):
            raise UsageError(f"{output}: another run is writing it; wait for it, or give another name")


def goes_on(output: Path, found: str, wanted: str, *, resume: bool) -> bool:
    """Whether what an unfinished run left, by its key as JSON, is what this one would make.

    Raises UsageError where it is and was not to be resumed, and where it is not and was.
    """
    if found != wanted and resume:
        raise UsageError(
            f"{output}: the unfinished run had another {_differs(found, wanted)}; "
            "resume with the same, or start anew with --overwrite"
        )
    if found == wanted and not resume:
        raise UsageError(
            f"{output}: an unfinished run is kept beside it; go on with --resume, or start anew with --overwrite"
        )
    return found == wanted


def _differs(found: str, wanted: str) -> str:
    """The first name under which two keys are not the same."""
    try:
        theirs, ours = json.loads(found), json.loads(wanted)
        return str(next(name for name in ours if theirs.get(name) != ours[name]))
    except (ValueError, StopIteration, AttributeError):
        return "version of this program"
