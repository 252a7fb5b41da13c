"""From maps to longitude and latitude, by PROJ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unet_deploy.errors import ImageError, reason
from unet_deploy.system.extras import importing

Projection = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_DECIMALS = 9
"""Digits of a degree that tell a tenth of a millimetre on the ground."""


def to_wgs84(epsg: int, name: str) -> Projection:
    """Return what brings x and y of a reference system to longitude and latitude, NaN where it does not reach.

    name: of the image, for errors. Raises MissingPackageError without pyproj, and ImageError for a code that PROJ does
    not know.
    """
    with importing("pyproj", "geo"):
        from pyproj import Transformer
        from pyproj.exceptions import ProjError
    try:
        transformer = Transformer.from_crs(epsg, 4326, always_xy=True)
    except ProjError as error:
        raise ImageError(f"{name}: EPSG:{epsg} cannot be brought to WGS 84 ({reason(error)}); take pixels") from error

    def project(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longitude, latitude = (np.round(np.atleast_1d(each), _DECIMALS) for each in transformer.transform(x, y))
        there = np.isfinite(longitude) & np.isfinite(latitude)
        longitude, latitude = np.where(there, longitude, np.nan), np.where(there, latitude, np.nan)
        return longitude, latitude

    return project


def going_on(project: Projection, centre: tuple[np.ndarray, np.ndarray]) -> Projection:
    """Return a projection whose longitudes go on beyond 180 degrees, so that no outline breaks off there.

    centre: x and y of the place from which longitudes are at most 180 degrees away.
    """
    middle, _ = project(*centre)

    def projected(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longitude, latitude = project(x, y)
        return longitude - 360.0 * (longitude - middle > 180) + 360.0 * (longitude - middle < -180), latitude

    return projected
