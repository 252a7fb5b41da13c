"""What the channels of an image are called, where its file says so, and which of them a person means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from unet_deploy.errors import ImageError

Channel: TypeAlias = "int | str"
"""How a channel is chosen: by its number, from 0, or by the name that the file gives it."""

_LONGEST = 40
"""Characters of a name that are kept."""

_MOST = 16
"""Names that are said at once."""


def usable_names(claimed: Sequence[object], channels: int) -> tuple[str, ...]:
    """Return the names of so many channels, each on one line; none unless there are as many and some say something.

    >>> usable_names(["DAPI", None], 2), usable_names(["RGB"], 3), usable_names(["", ""], 2)
    (('DAPI', ''), (), ())
    """
    names = tuple(" ".join(each.split())[:_LONGEST] if isinstance(each, str) else "" for each in claimed)
    return names if len(names) == channels and any(names) else ()


def numbered_names(names: Sequence[str]) -> str:
    """Return names with the numbers that channels are chosen by, for people.

    >>> numbered_names(("DAPI", "", "GFP"))
    '0 DAPI, 1, 2 GFP'
    """
    numbered = [f"{number} {name}".rstrip() for number, name in enumerate(names)]
    return ", ".join(numbered[:_MOST] + (["..."] if len(numbered) > _MOST else []))


def channel_number(channel: Channel | None, names: Sequence[str], path: Path | str) -> int | None:
    """Return the number of a channel that is chosen by its name, in capitals or not; a number stays what it is.

    Raises ImageError unless one channel, and no other, has the name.

    >>> channel_number("dapi", ("GFP", "DAPI"), "a.tif"), channel_number(2, (), "a.tif")
    (1, 2)
    """
    if not isinstance(channel, str):
        return channel
    found = [number for number, name in enumerate(names) if name.casefold() == channel.casefold()]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} channels are called" if found else "has no channel"
    there = f"it has {numbered_names(names)}" if names else "its channels have no names"
    raise ImageError(f"{path}: {what} {channel!r}; {there}; choose one by its number, from 0")
