"""What the files are that somebody names to look at: the image, what lies over it, and the table of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.errors import UsageError, address
from unet_deploy.images import is_url
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks import origin_of

TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Over:
    """A file that lies over an image."""

    path: Path
    classes: tuple[str, ...] = ()
    """What it says of its numbers, the background first."""


@dataclass(frozen=True)
class Named:
    """Files to look at together."""

    image: Path
    over: tuple[Over, ...]
    table: Path | None = None
    reading: Reading = AS_SAID
    """How the image is read."""


def sort_out(files: Sequence[Path], image: Path | None = None, reading: Reading = AS_SAID) -> Named:
    """Tell files apart: a table by its name, a mask by what it says that it was made of; else the first is the image.

    image: what all files lie over; without, it is the first file, or the image that this says it was made of.
    Raises UsageError where there is no image, where it is not the one that a mask was made of, and for two tables.
    """
    tables = [path for path in files if path.suffix.lower() in TABLES and not is_url(path)]
    pictures = [path for path in files if path not in tables]
    if len(tables) > 1:
        raise UsageError(f"{tables[1]}: is the second table; name one")
    table = tables[0] if tables else None
    origins = [origin_of(path) for path in pictures]
    over = [Over(path, origin.classes if origin else ()) for path, origin in zip(pictures, origins, strict=True)]
    if image is not None:
        return Named(image, tuple(over), table, reading)
    if not pictures:
        raise UsageError("name an image or a mask to look at" + (f" with {address(table)}" if table else ""))
    first, *others = origins
    if first:
        first.check(pictures[0])
    shown = first.image if first else pictures[0]
    for path, origin in zip(pictures[1:], others, strict=True):
        if origin:
            origin.check_of(shown, path)
    if first is None:
        return Named(shown, tuple(over[1:]), table, reading)
    return Named(shown, tuple(over), table, first.reading if reading == AS_SAID else reading)
