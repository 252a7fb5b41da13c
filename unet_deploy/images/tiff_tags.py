"""What the tags of a TIFF say of its pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffPageSeries, TiffTag

from unet_deploy.images.nodata import GDAL_NODATA, nodata_note, parse_nodata
from unet_deploy.images.samples import ALPHA, PREMULTIPLIED, Samples, Stored

_BANDS: dict[int, str] = {
    PHOTOMETRIC.SEPARATED: "inks (CMYK), not light",
    PHOTOMETRIC.CIELAB: "L*, a* and b*, not red, green and blue",
    PHOTOMETRIC.ICCLAB: "L*, a* and b*, not red, green and blue",
    PHOTOMETRIC.ITULAB: "L*, a* and b*, not red, green and blue",
    PHOTOMETRIC.CFA: "a mosaic of colours (CFA), as a camera saw it",
    PHOTOMETRIC.LOGLUV: "the logarithm of luminance, u and v",
}
"""What the samples of a pixel are, where that is neither grey nor red, green and blue."""

_TO_RGB = (6, 7, 33007, 34892, 33003)
"""Compressions whose decoders make red, green and blue of YCbCr: JPEG, and Aperio's JPEG 2000."""

_PLACE_IN_STACK = re.compile(r"^(?:[ctz]:\d+/\d+\s*)+(?:- )?")
"""What ImageJ puts before the label of a plane: c:1/3 z:2/9 - ."""


def stored_of(file: TiffFile, page: TiffPage) -> Stored:
    """Return what the tags of a page say of its numbers."""
    bits = min(page.bitspersample, 8 * page.dtype.itemsize) if page.dtype else page.bitspersample
    extra, table = tuple(map(int, page.extrasamples))[: page.samplesperpixel - 1], None
    numbers = page.samplesperpixel - sum(kind in (PREMULTIPLIED, ALPHA) for kind in extra)
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None and numbers == 1:
        table = np.asarray(page.colormap, np.uint16).reshape(3, -1)
    # OME knows no palettes, and Bio-Formats writes a LUT as one; but white that is zero it turns over itself.
    shown_only = bool(file.is_imagej or (file.is_ome and table is not None))
    bands = _BANDS.get(page.photometric, "")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _TO_RGB:
        bands = "Y, Cb and Cr, not red, green and blue"
    return Stored(
        bits,
        table,
        page.photometric == PHOTOMETRIC.MINISWHITE,
        unsigned=page.dtype is None or page.dtype.kind in "ub",
        shown_only=shown_only,
        samples=page.samplesperpixel,
        extra=extra,
        bands=bands,
    )


def stored_value(tag: TiffTag) -> Any:
    """Return the value of a tag to be written as it is stored: a text with other letters than ASCII as its bytes."""
    if not isinstance(tag.value, str) or tag.value.isascii():
        return tag.value
    file = tag.parent.filehandle
    file.seek(tag.valueoffset)
    return file.read(tag.count)


def mask_series(file: TiffFile, page: TiffPage) -> list[TiffPageSeries]:
    """Return the transparency masks of a level of the first image, which has pages like this one (TIFF 6.0, 254)."""
    levels = [level for series in file.series[1:] for level in series.levels if level.keyframe is not None]
    sides = page.imagelength, page.imagewidth
    return [
        level
        for level in levels
        if level.keyframe.subfiletype & 4 and (level.keyframe.imagelength, level.keyframe.imagewidth) == sides
    ]


def nodata_of(page: TiffPage, means: Samples) -> float | None:
    """Return the value of pixels that are no data, as they are read; None where the file says none."""
    stored = parse_nodata(page.tags[GDAL_NODATA].value) if GDAL_NODATA in page.tags else None
    return None if stored is None else means.value(stored)


def note_on(file: TiffFile, meaning: str, nodata: float | None, unread: Sequence[TiffPageSeries]) -> str:
    """Return what a person should know of how a file is read. meaning: of its numbers; unread: its other images."""
    notes = [meaning] if meaning else []
    if nodata is not None:
        notes.append(nodata_note(nodata))
    if unread:
        others = ", ".join(" x ".join(map(str, series.shape)) for series in unread[:3])
        notes.append(f"{len(unread)} other image(s) in this file are not read ({others})")
    if _has_parts(file):
        notes.append("the parts of this image that lie in other files are not read")
    return "; ".join(notes)


def claimed_names(file: TiffFile, channels: int) -> list[str | None]:
    """Return what a file calls its channels, be it as many as there are or not: OME before the labels of ImageJ.

    ImageJ has a label for each plane, channels counted fastest; they name channels where all pages have the same.
    """
    if file.is_ome and file.ome_metadata:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
        return [] if pixels is None else [channel.get("Name") for channel in pixels.iterfind("{*}Channel")]
    labels = (file.imagej_metadata or {}).get("Labels") if file.is_imagej else None
    if not isinstance(labels, list) or len(labels) < channels:
        return []
    names = [_PLACE_IN_STACK.sub("", str(label)) for label in labels]
    same = all(name == names[at % channels] for at, name in enumerate(names))
    return list(names[:channels]) if same and len(set(names)) == channels else []


def _has_parts(file: TiffFile) -> bool:
    """Return whether OME metadata place planes of the image in other files (OME-TIFF specification, UUID)."""
    if not file.is_ome or not file.ome_metadata:
        return False
    root = ElementTree.fromstring(file.ome_metadata)
    own = root.get("UUID")
    parts = {uuid.text: str(uuid.get("FileName", "")).lower() for uuid in root.iterfind(".//{*}TiffData/{*}UUID")}
    if own is None:  # a single file that was renamed is whole all the same
        return len(parts) > 1
    return any(text != own and name != file.filename.lower() for text, name in parts.items())
