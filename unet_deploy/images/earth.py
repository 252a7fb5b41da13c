"""Where an image lies on Earth (OGC GeoTIFF 1.1), at any level of its pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tifffile import TiffPage

from unet_deploy.images.sizes import LevelPlace
from unet_deploy.images.tiff_tags import stored_value

SCALE, TIE_POINTS, MATRIX, KEYS = 33550, 33922, 34264, 34735
_CODES = (SCALE, TIE_POINTS, MATRIX, KEYS, 34736, 34737)
_MULTIPLES = {SCALE: 3, TIE_POINTS: 6, MATRIX: 16}
"""How many numbers these tags have, or several times as many."""

_RASTER_TYPE, _IS_POINT = 1025, 2
"""The key that says whether whole numbers are corners of pixels or, as a point, their centres (section 7.5.2)."""

EarthTag = tuple[int, int, int, Any, bool]
"""As tifffile writes it: code, type, count, value, and that it goes to the first page."""


def lies_on_earth(tags: Mapping[str, Any]) -> bool:
    """Return whether tags that a mask takes over, as tifffile writes them, lay it on Earth."""
    return any(tag[0] in _CODES for tag in tags.get("extratags", ()))


def earth_tags(finest: TiffPage, place: LevelPlace) -> tuple[list[EarthTag], list[str]]:
    """Return the tags that lay a level on Earth, and names of what cannot be brought to it.

    They are those of the finest level, with what counts in pixels brought to this one: the levels that programs make
    seldom have tags of their own.
    """
    found = [finest.tags[code] for code in _CODES if code in finest.tags]
    tags = [(tag.code, int(tag.dtype), tag.count, stored_value(tag), True) for tag in found]
    if place.level == 0:
        return tags, []
    if any(tag.count % _MULTIPLES.get(tag.code, 1) for tag in found):
        return [], ["its place on Earth"]
    corner = corner_of(finest)
    return [_at(place, corner, tag) for tag in tags], []


def corner_of(page: TiffPage) -> float:
    """Return where the corner of the first pixel lies, in pixels as the tags count them: 0, or -0.5 from its centre."""
    keys = np.atleast_1d(page.tags[KEYS].value).tolist() if KEYS in page.tags else []
    return -0.5 if (_RASTER_TYPE, 0, 1, _IS_POINT) in zip(*(keys[at::4] for at in range(4)), strict=False) else 0.0


def _at(place: LevelPlace, corner: float, tag: EarthTag) -> EarthTag:
    """Return a tag of the finest level at another. corner: where the first pixel's lies, in pixels."""
    code, dtype, count, value, once = tag
    x, y = place.step_x, place.step_y
    if code == SCALE:
        value = (value[0] * x, value[1] * y, *value[2:])
    elif code == TIE_POINTS:  # pixel i, j, k stands for x, y, z, one after another
        points = [value[at : at + 6] for at in range(0, len(value), 6)]
        value = tuple(
            number for i, j, *rest in points for number in ((i - corner) / x + corner, (j - corner) / y + corner, *rest)
        )
    elif code == MATRIX:  # four rows of four; a column for i, j, k and 1
        shift_x, shift_y = corner * (1 - x), corner * (1 - y)
        rows = [value[at : at + 4] for at in range(0, 16, 4)]
        value = tuple(n for a, b, c, d in rows for n in (a * x, b * y, c, d + a * shift_x + b * shift_y))
    return code, dtype, count, value, once
