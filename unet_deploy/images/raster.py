"""PNG and JPEG. These formats have no random access, so the picture is decoded whole when first read."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageInfo, ImageSource, check_channel
from unet_deploy.tiling import Region

MOST_BYTES = 1 << 30
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class RasterSource(ImageSource):
    """A PNG or JPEG file, in memory. Alpha is not a channel. Raises ImageError."""

    def __init__(self, path: Path, *, channel: int | None = None) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
        pixels = _decode(data, path)
        if 0 in pixels.shape:
            raise ImageError(f"{path}: has no pixels")
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        note = ""
        if len(planes) in (2, 4):
            planes, note = planes[:-1], "the alpha channel is not used"
        check_channel(channel, len(planes), path)
        self._planes = planes if channel is None else planes[channel : channel + 1]
        channels, height, width = self._planes.shape
        self.info = ImageInfo(str(path), 1, channels, height, width, pixels.dtype, note=note)

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._planes[(slice(None), *region.slices)]

    def close(self) -> None:
        pass


def _decode(data: bytes, path: Path) -> np.ndarray:
    if data.startswith(_PNG):
        decode, size = imagecodecs.png_decode, _png_bytes(data)
    elif data.startswith(_JPEG):
        decode, size = imagecodecs.jpeg8_decode, _jpeg_bytes(data)
        if b"\xff\xd9" not in data[-4096:]:
            raise ImageError(f"{path}: the JPEG ends too early; copy or save it again")
    else:
        raise ImageError(f"{path}: is neither PNG nor JPEG, whatever its name says; convert it")
    if size > MOST_BYTES:
        raise ImageError(f"{path}: decodes to {size / 1e9:.3g} GB at once; convert it to a tiled TIFF")
    try:
        pixels: np.ndarray = decode(data)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: is damaged and cannot be decoded ({str(error)[:100]}); save it again") from error
    return pixels


def _png_bytes(data: bytes) -> int:
    """Decoded bytes by the IHDR chunk (PNG specification, 11.2.2), four channels at most."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return width * height * (2 if data[24:25] == b"\x10" else 1) * {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(data[25], 4)


def _jpeg_bytes(data: bytes) -> int:
    """Decoded bytes by the first frame header (ITU-T T.81, B.2.2); 0 where there is none."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + o : at + o + 2], "big") for o in (5, 7))
            return height * width * data[at + 9]
        at += 2 + length
    return 0
