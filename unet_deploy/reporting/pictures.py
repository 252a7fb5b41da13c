"""Pictures inside a page: no more bytes than each may have, whatever is on them."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image

from unet_deploy.reporting.markup import Markup, element

_QUALITIES = (92, 85, 75, 60, 45)


def jpeg(picture: np.ndarray, most: int) -> bytes:
    """Return a picture, (h, w, 3) uint8, as JPEG of at most so many bytes: as good as that allows, or else smaller."""
    drawn = Image.fromarray(np.ascontiguousarray(picture))
    while True:
        for quality in _QUALITIES:
            file = BytesIO()
            drawn.save(file, "JPEG", quality=quality, subsampling=0)  # outlines are thin: colour at full resolution
            if file.tell() <= most:
                return file.getvalue()
        if max(drawn.size) == 1:
            raise ValueError(f"a picture of {most} bytes is less than any")
        drawn = drawn.resize((max(1, drawn.width // 2), max(1, drawn.height // 2)), Image.Resampling.BOX)


def inline(data: bytes, said: str, **attributes: str | float) -> Markup:
    """Return a JPEG as a picture in the page. said: what is on it, in words, for who cannot see it."""
    source = f"data:image/jpeg;base64,{b64encode(data).decode()}"
    return element("img", src=source, alt=said, **attributes)
