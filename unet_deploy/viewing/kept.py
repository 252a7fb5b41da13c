"""Overviews that were made before, in the cache folder: so many bytes together; those not looked at longest go first.

What cannot be read or written there is made anew or not kept; a cache is never the reason that nothing is seen.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from unet_deploy.errors import UnetDeployError
from unet_deploy.system.cache import cache_folder
from unet_deploy.system.files import replacing
from unet_deploy.viewing.pixels import Pixels

MOST_BYTES = 1 << 30
"""Of all overviews together."""


def load(key: str, shape: tuple[int, ...]) -> Pixels | None:
    """Return the overview of this key, of this shape (C, h, w); None where there is none."""
    path = _path_of(key)
    try:
        with np.load(path, allow_pickle=False) as stored:
            values, there = stored["values"], stored["there"]
        if values.shape != shape or there.shape != shape[1:] or there.dtype != np.bool_:
            return None
        os.utime(path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return Pixels(values, there)


def keep(key: str, pixels: Pixels) -> None:
    """Keep an overview, and let others go where all are too many bytes."""
    path = _path_of(key)
    with suppress(OSError, UnetDeployError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, overwrite=True) as beside, beside.open("wb") as file:
            np.savez(file, values=pixels.values, there=np.asarray(pixels.there))
        _shrink(path.parent)


def _path_of(key: str) -> Path:
    return cache_folder() / "overviews" / f"{key}.npz"


def _shrink(folder: Path) -> None:
    found = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in found:
        total += path.stat().st_size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
