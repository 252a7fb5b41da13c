"""What the tags of a TIFF say of its pixels."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffTag

from unet_deploy.images.nodata import GDAL_NODATA, nodata_note, parse_nodata
from unet_deploy.images.samples import Samples, Stored


def samples_of(page: TiffPage) -> tuple[int, int]:
    """Return how many samples of a pixel are channels, and how many are alpha."""
    extra = page.extrasamples
    colours = 3 if page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) else 1
    alpha = sum(1 for kind in extra if kind in (1, 2) or colours == 3)
    alpha = min(alpha, page.samplesperpixel - 1)
    return page.samplesperpixel - alpha, alpha


def stored_of(file: TiffFile, page: TiffPage) -> Stored:
    """Return what the tags of a page say of its numbers."""
    bits = min(page.bitspersample, 8 * page.dtype.itemsize) if page.dtype else page.bitspersample
    table = None
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None and page.samplesperpixel == 1:
        table = np.asarray(page.colormap, np.uint16).reshape(3, -1)
    # OME knows no palettes, and Bio-Formats writes a LUT as one; but white that is zero it turns over itself.
    shown_only = bool(file.is_imagej or (file.is_ome and table is not None))
    return Stored(bits, table, page.photometric == PHOTOMETRIC.MINISWHITE, shown_only)


def stored_value(tag: TiffTag) -> Any:
    """Return the value of a tag to be written as it is stored: a text with other letters than ASCII as its bytes."""
    if not isinstance(tag.value, str) or tag.value.isascii():
        return tag.value
    file = tag.parent.filehandle
    file.seek(tag.valueoffset)
    return file.read(tag.count)


def nodata_of(page: TiffPage, means: Samples) -> float | None:
    """Return the value of pixels that are no data, as they are read; None where the file says none."""
    stored = parse_nodata(page.tags[GDAL_NODATA].value) if GDAL_NODATA in page.tags else None
    return None if stored is None else means.value(stored)


def note_on(file: TiffFile, meaning: str, nodata: float | None, alpha: int) -> str:
    """Return what a person should know of how a file is read. meaning: of its numbers; alpha: samples of it."""
    notes, all_series = [meaning] if meaning else [], file.series
    if nodata is not None:
        notes.append(nodata_note(nodata))
    if alpha:
        notes.append("the alpha channel is not used")
    if len(all_series) > 1:
        others = ", ".join(" x ".join(map(str, series.shape)) for series in all_series[1:4])
        notes.append(f"{len(all_series) - 1} other image(s) in this file are not read ({others})")
    if _has_parts(file):
        notes.append("the parts of this image that lie in other files are not read")
    return "; ".join(notes)


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
