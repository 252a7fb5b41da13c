"""Regions of interest of ImageJ and Fiji: a .roi, or the .zip of many that the ROI Manager saves.

ImageJ counts in pixels from the corner of the first one, and its own masks hold the pixels whose centre is inside.
"""

from __future__ import annotations

import logging
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_deploy.annotations.json_file import drawing_of
from unet_deploy.annotations.shapes import Drawing, Polygon, Shape, ellipse, no_area, rectangle, ring_of
from unet_deploy.errors import DataError, reason
from unet_deploy.system.extras import importing

if TYPE_CHECKING:
    from roifile import ImagejRoi

_DAMAGED = (
    *(ValueError, TypeError, IndexError, AssertionError, OverflowError, RuntimeError, EOFError),
    *(struct.error, zlib.error),
)
_LARGEST = 1 << 26
"""Bytes of a region of interest; a million points are 8 MB."""

_NUMBERED = re.compile(r"[\s_.:#-]*\d[\d\s_.:#-]*$")
"""How names end that are counted: nucleus-1, nucleus 2; those that ImageJ gives, 0012-0034, are nothing else."""


def class_named(name: str) -> str | None:
    """The class that a name says, as people count their regions; None for those that ImageJ gives.

    >>> [class_named(name) for name in ("nucleus-1", "Immune cells 12", "Annotated", "0012-0034-0007")]
    ['nucleus', 'Immune cells', 'Annotated', None]
    """
    return _NUMBERED.sub("", name).strip() or None


def holds_regions(path: Path) -> bool:
    """Whether a .zip has regions of interest in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_is_region(name) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, *_DAMAGED):
        return False


def read_regions(path: Path) -> Drawing:
    """Read what is drawn. The class of a region is its group, or else what its name begins with.

    Raises DataError for a file that is damaged, and for regions that have no area or lie on a later slice of a stack;
    MissingPackageError.
    """
    try:
        with _doubts_raised():
            regions = [(name, _region(path, name, data)) for name, data in _files(path)]
        return drawing_of(path, tuple(_shape(path, Path(name).stem, region) for name, region in regions))
    except (OSError, zipfile.BadZipFile, *_DAMAGED) as error:
        raise DataError(f"{path}: cannot be read as regions of ImageJ ({reason(error)}); save them again") from error


def _region(path: Path, name: str, data: bytes) -> ImagejRoi:
    """One region of a file. Raises DataError where it is damaged, and MissingPackageError."""
    with importing("roifile", "imagej"):
        from roifile import ImagejRoi
    try:
        return ImagejRoi.frombytes(data)
    except _DAMAGED as error:
        where = f"{path}: {name}" if path.suffix.lower() == ".zip" else f"{path}"
        raise DataError(f"{where}: cannot be read as a region of ImageJ ({reason(error)}); save it again") from error


class _Doubts(logging.Handler):
    """Raises what roifile only warns of, such as a name that is cut off."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(record.getMessage())


@contextmanager
def _doubts_raised() -> Iterator[None]:
    """Put around what reads regions: what is doubtful raises ValueError."""
    logger, handler = logging.getLogger("roifile"), _Doubts()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and bytes of all regions of a file."""
    if path.suffix.lower() == ".roi":
        yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for each in filter(lambda each: _is_region(each.filename), archive.infolist()):
            if each.file_size > _LARGEST:
                raise ValueError(f"{each.filename} is {each.file_size / 1e6:.0f} MB")
            yield each.filename, archive.read(each)


def _is_region(name: str) -> bool:
    return name.lower().endswith(".roi") and not name.startswith("__MACOSX")


def _shape(path: Path, file: str, region: ImagejRoi) -> Shape:
    said = region.name or file
    name = f"region {said!r}"
    if region.z_position > 1 or region.t_position > 1:
        raise DataError(
            f"{path}: {name} lies on slice {region.z_position}, frame {region.t_position} of a stack; save each plane "
            "as an image with its regions"
        )
    of, polygon = int(region.group) or class_named(said), _polygon(region, f"{path}: {name}")
    return Shape(name, of, (polygon,), max(0, region.position))


def _polygon(region: ImagejRoi, where: str) -> Polygon:
    """The rings of a region. Raises DataError where it has no area."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if region.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE):
        raise no_area(region.subtype.name.lower(), where)
    if region.multi_coordinates is not None:
        try:
            rings = region.path2coords(region.multi_coordinates)
        except NotImplementedError as error:
            raise DataError(f"{where}: has curves in it; draw it as a polygon") from error
        return tuple(ring_of(ring.tolist(), where) for ring in rings)
    if region.roitype == ROI_TYPE.RECT and not region.rounded_rect_arc_size:
        return (rectangle(*_box(region, where)),)
    if region.roitype == ROI_TYPE.OVAL:
        return (ellipse(*_box(region, where)),)
    if region.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        return (ring_of(np.asarray(region.coordinates()).tolist(), where),)
    if region.roitype == ROI_TYPE.RECT:
        raise DataError(f"{where}: is a rectangle with round corners; draw it with straight ones, or as a polygon")
    raise no_area(region.roitype.name.lower(), where)


def _box(region: ImagejRoi, where: str) -> list[float]:
    """Left, top, right and bottom. Raises DataError for what is no place."""
    corners: list[list[float]] = [[region.left, region.top], [region.right, region.bottom]]
    if region.subpixelrect:
        corners = [[region.xd, region.yd], [region.xd + region.widthd, region.yd + region.heightd]]
    return ring_of(corners, where).reshape(-1).tolist()
