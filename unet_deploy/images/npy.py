"""Masks that NumPy saved (.npy), as far as they are numbers: what is a pickle inside may run code, and is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unet_deploy.errors import ImageError, reason
from unet_deploy.images.array import ArraySource


def open_npy(path: Path) -> ArraySource:
    """Open an array in a file, which is read as far as it is looked at. Raises ImageError for what is none."""
    try:
        pickled = _dtype_in(path).hasobject
        array = None if pickled else np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or reason(error)})") from error
    except Exception as error:  # of the parser of Python that NumPy reads heads with
        raise ImageError(
            f"{path}: is no readable NumPy file ({reason(error)}); save its masks as PNG or TIFF"
        ) from error
    if array is None:
        raise ImageError(
            f"{path}: is a pickle inside, which may run code, and is not read; save its masks as PNG or TIFF "
            "(in Cellpose: File, Save masks as PNG/tif)"
        )
    return ArraySource(array, name=str(path))


def _dtype_in(path: Path) -> np.dtype:
    """The type that the head of a file says its values are of. Raises OSError, and whatever NumPy does."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)[2]
