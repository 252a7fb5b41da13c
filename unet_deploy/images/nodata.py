"""Pixels that are no data: beyond the edge of a scan or a mosaic, where a value stands for nothing that was seen."""

from __future__ import annotations

import math

import numpy as np

GDAL_NODATA = 42113
"""The tag of a TIFF that says the value of pixels that are no data."""

FILL_VALUE = "_FillValue"
"""The attribute of a Zarr array that says it, as CF conventions name it."""


def holds_data(pixels: np.ndarray, nodata: float) -> np.ndarray:
    """Return which pixels (C, ...) hold data, as bool (...): those that are not `nodata` in all channels.

    NaN in any channel is no data where `nodata` is NaN: no value of such a pixel can be trusted.

    >>> holds_data(np.array([[-9999.0, -9999.0, 7.0], [-9999.0, 5.0, 6.0]]), -9999).tolist()
    [False, True, True]
    """
    if math.isnan(nodata):
        return ~np.isnan(pixels).any(axis=0)
    return (pixels != nodata_as(nodata, pixels.dtype)).any(axis=0)


def nodata_as(nodata: float, dtype: np.dtype) -> np.generic | float:
    """Return a value as pixels of a dtype hold it: files write it in decimal, and float32 rounds."""
    if dtype.kind != "f":
        return nodata
    with np.errstate(over="ignore"):
        rounded: np.generic = dtype.type(nodata)
    return rounded


def parse_nodata(text: object) -> float | None:
    """Return the value of no data that a file says, as GDAL_NODATA writes it; None where it is no number."""
    try:
        return float(str(text).strip().strip("\0").replace(",", "."))
    except ValueError:
        return None


def nodata_note(nodata: float | None) -> str:
    """Say which pixels are no data; empty where the file says none."""
    return "" if nodata is None else f"pixels of {nodata:g} are no data"
