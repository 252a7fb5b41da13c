"""What every runtime and every model file agree on: the names of the ports, how pixels cross the bus, precisions."""

from __future__ import annotations

from typing import Literal

import numpy as np

IMAGE, OFFSET, SCALE = "image", "offset", "scale"
LABELS, PROBABILITIES = "labels", "probabilities"
"""Names of the inputs and outputs of every model; shapes are in docs/model-file.md."""

Pixels = Literal["uint8", "uint16", "float32"]
"""How pixels cross the bus to a device: as they are stored, or as float32 where they are neither."""

Precision = Literal["fp32", "fp16", "int8"]
"""What the layers of a graph compute in."""

LIMIT_PPM = 1000.0
"""Labels in a million that may differ between a fast runtime and the float32 model, where no card says otherwise."""


def pixels_for(*dtypes: np.dtype) -> Pixels:
    """Return the narrowest way of crossing the bus that holds pixels of all these types.

    >>> pixels_for(np.dtype("uint8"), np.dtype("uint16")), pixels_for(np.dtype("int16"))
    ('uint16', 'float32')
    """
    ways: tuple[Pixels, ...] = ("uint8", "uint16")
    return next((way for way in ways if all(np.can_cast(dtype, way) for dtype in dtypes)), "float32")
