"""What the channels of an image are called, where its file says so."""

from __future__ import annotations

from collections.abc import Sequence

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
