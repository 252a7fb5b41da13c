"""Names of axes, as arrays carry them, and what each is to an image."""

from __future__ import annotations

from collections.abc import Sequence

_NAMES = {
    "c": ("c", "s", "ch", "channel", "channels", "band", "bands", "sample", "samples", "rgb"),
    "y": ("y", "row", "rows", "height", "lat", "latitude"),
    "x": ("x", "col", "cols", "column", "columns", "width", "lon", "longitude"),
    "z": ("z", "depth", "slice", "slices"),
    "t": ("t", "time", "frame", "frames"),
}
"""What axes are called, by the letter that they have in OME."""

_LETTERS = {name: letter for letter, names in _NAMES.items() for name in names}


def known_axes(names: object) -> tuple[str, ...] | None:
    """Return a list of names of axes with those of channels, rows and columns as c, y and x.

    None where it leaves these open, or is no list.

    >>> known_axes(["time", "y", "x", "band"])
    ('t', 'y', 'x', 'c')
    >>> known_axes(["dim_0", "dim_1"]) is None
    True
    """
    lower = [str(name).lower() for name in names] if isinstance(names, (tuple, list)) else []
    letters = tuple(_LETTERS.get(name, name) for name in lower)
    once = len(set(letters)) == len(letters)
    return letters if once and {"y", "x"} <= set(letters) else None


def image_order(axes: Sequence[str]) -> tuple[int, ...]:
    """Return the order of axes that makes pages, channels, rows and columns of them.

    >>> image_order(("y", "x", "c")), image_order(("c", "t", "y", "x"))
    ((2, 0, 1), (1, 0, 2, 3))
    """
    last = [axes.index(name) for name in "cyx" if name in axes]
    return (*(at for at in range(len(axes)) if at not in last), *last)
