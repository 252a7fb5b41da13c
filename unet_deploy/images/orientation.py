"""How a picture lies: what EXIF and TIFF's tag 274 say of it, and its pixels as a viewer shows them that heeds it.

    1       2       3       4       5       6       7       8
    ###     ###       #     #       ####    #          #    ####
    #         #      ##     ##      # #     # #      # #     # #
    ##       ##       #     #       #       ####    ####       #
    #         #     ###     ###

That is how an upright F is stored for each number.
"""

from __future__ import annotations

import struct

import numpy as np

from unet_deploy.images import ImageInfo
from unet_deploy.images.png import SIGNATURE, chunks_of
from unet_deploy.tiling import Region

ORIENTATION = 274
"""The tag of TIFF, and of EXIF, which is one."""

UPRIGHT = 1
_TURNED = (5, 6, 7, 8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels (..., H, W) as they are shown, which may be (..., W, H) (TIFF 6.0, Orientation).

    >>> stored = np.array([[1, 2, 3], [4, 5, 6]])
    >>> upright(stored, 3).tolist(), upright(stored, 6).tolist()
    ([[6, 5, 4], [3, 2, 1]], [[4, 1], [5, 2], [6, 3]])
    """
    if orientation in _TURNED:
        pixels = np.swapaxes(pixels, -1, -2)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[..., rows, columns]


def upright_sides(info: ImageInfo) -> tuple[int, int]:
    """Return the height and width of an image as it is shown."""
    return (info.width, info.height) if info.orientation in _TURNED else (info.height, info.width)


def stored_region(region: Region, info: ImageInfo) -> Region:
    """Return where a region of an image as it is shown lies in the image as it is stored."""
    height, width = upright_sides(info)
    y = height - region.bottom if info.orientation in (3, 4, 7, 8) else region.y
    x = width - region.right if info.orientation in (2, 3, 6, 7) else region.x
    if info.orientation in _TURNED:
        return Region(x, y, region.width, region.height)
    return Region(y, x, region.height, region.width)


def shown_region(region: Region, info: ImageInfo) -> Region:
    """Return where a region of an image as it is stored lies in the image as it is shown: `stored_region` turned back.

    >>> info = ImageInfo("a.tif", 1, 1, 2, 3, np.dtype(np.uint8), orientation=6)
    >>> shown_region(Region(0, 2, 1, 1), info), stored_region(Region(2, 1, 1, 1), info)
    (Region(y=2, x=1, height=1, width=1), Region(y=0, x=2, height=1, width=1))
    """
    if info.orientation in _TURNED:
        region = Region(region.x, region.y, region.width, region.height)
    height, width = upright_sides(info)
    y = height - region.bottom if info.orientation in (3, 4, 7, 8) else region.y
    x = width - region.right if info.orientation in (2, 3, 6, 7) else region.x
    return Region(y, x, region.height, region.width)


def shown_points(points: np.ndarray, info: ImageInfo) -> np.ndarray:
    """Return points (n, 2), the x and y from the corner of an image as it is stored, from that of it as it is shown.

    >>> info = ImageInfo("a.tif", 1, 1, 2, 3, np.dtype(np.uint8), orientation=6)
    >>> shown_points(np.array([[2.5, 0.5]]), info).tolist()
    [[1.5, 2.5]]
    """
    height, width = upright_sides(info)
    x, y = points.T if info.orientation not in _TURNED else points.T[::-1]
    x = width - x if info.orientation in (2, 3, 6, 7) else x
    y = height - y if info.orientation in (3, 4, 7, 8) else y
    return np.stack([x, y], axis=1)


def upright_order(sides: tuple[float, float], orientation: int) -> tuple[float, float]:
    """Return the height and width of a pixel as it is shown, from those as it is stored."""
    return sides[::-1] if orientation in _TURNED else sides


def orientation_of(value: object) -> int:
    """Return the orientation that a tag says, UPRIGHT where it says none that there is."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def lying_note(orientation: int) -> str:
    """Say what becomes of an image that is not stored upright; empty where it is."""
    if orientation == UPRIGHT:
        return ""
    return f"viewers may turn it (orientation {orientation}), and its TIFF mask alike; all else is as it is stored"


def exif_orientation(data: bytes) -> int:
    """Return the orientation of a PNG or JPEG, UPRIGHT where it has no EXIF or damaged one."""
    try:
        return orientation_of(_tag_of(_exif_of(data)))
    except (struct.error, IndexError):
        return UPRIGHT


def _exif_of(data: bytes) -> bytes:
    """Return what EXIF a file has, which begins as a TIFF does; empty where it has none."""
    if data.startswith(SIGNATURE):
        return next((chunk[8:-4] for chunk in chunks_of(data) if chunk[4:8] == b"eXIf"), b"")
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:  # the scan begins
        if data[at + 1] == 0xFF:  # fill
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : end]
        at = end
    return b""


def _tag_of(exif: bytes) -> int | None:
    """Return the value of the first orientation tag of the first directory; None where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, first)
    for entry in range(first + 2, first + 2 + 12 * entries, 12):
        tag, kind, _, short = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == ORIENTATION:
            return short if kind == 3 else struct.unpack_from(f"{order}I", exif, entry + 8)[0]
    return None
