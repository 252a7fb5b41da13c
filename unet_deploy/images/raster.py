"""PNG and JPEG. These formats have no random access, so a picture is decoded whole when it is opened."""

from __future__ import annotations

import logging
from pathlib import Path

import imagecodecs
import numpy as np

from unet_deploy.errors import ImageError, reason
from unet_deploy.images import ImageInfo, ImageSource, check_channel
from unet_deploy.images.claimed import claim_of
from unet_deploy.images.png import read_header
from unet_deploy.images.samples import Meaning, Stored, meaning_of
from unet_deploy.tiling import Region

# What a decoder warns of and reads all the same goes to a log that nobody asked for; errors are raised.
logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)

MOST_BYTES = 1 << 30
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class RasterSource(ImageSource):
    """A PNG or JPEG file, decoded whole into memory. Alpha is not a channel; `meaning` says what a palette is.

    Raises ImageError where the file is damaged, is of another kind, or decodes to more than MOST_BYTES.
    """

    def __init__(self, path: Path, *, channel: int | None = None, meaning: Meaning = "auto") -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
        pixels, note = _read(data, path, meaning)
        if 0 in pixels.shape:
            raise ImageError(f"{path}: has no pixels")
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        if len(planes) in (2, 4):
            planes, note = planes[:-1], "; ".join(filter(None, (note, "the alpha channel is not used")))
        check_channel(channel, len(planes), path)
        self._planes = planes if channel is None else planes[channel : channel + 1]
        channels, height, width = self._planes.shape
        self.info = ImageInfo(str(path), 1, channels, height, width, pixels.dtype, note=note)

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._planes[(slice(None), *region.slices)]

    def close(self) -> None:
        pass


def _read(data: bytes, path: Path, meaning: Meaning) -> tuple[np.ndarray, str]:
    """Return the pixels of a picture, (H, W) or (H, W, samples), and a note on what their numbers were taken for."""
    header = read_header(data) if data.startswith(_PNG) else None
    if header is None or not header.numbers:
        return _decode(data, path), ""
    samples = meaning_of(Stored(header.bits, header.table), meaning)
    if header.table is None and meaning != "labels":
        return _decode(data, path), ""
    if samples.colours is not None:
        return _decode(data, path), samples.note
    # The decoder spreads numbers of fewer bits over 0 to 255.
    spread = 255 // (2**header.bits - 1) if header.bits < 8 else 1
    return _decode(header.as_grey(data), path) // spread, samples.note


def _decode(data: bytes, path: Path) -> np.ndarray:
    """Return the pixels of a whole picture, (H, W) or (H, W, samples), as their decoder gives them."""
    if data.startswith(_PNG):
        decode, claim = imagecodecs.png_decode, claim_of(data)
    elif data.startswith(_JPEG):
        decode, claim = imagecodecs.jpeg8_decode, claim_of(data)
        if b"\xff\xd9" not in data[-4096:]:
            raise ImageError(f"{path}: the JPEG ends too early; copy or save it again")
    else:
        raise ImageError(f"{path}: is neither PNG nor JPEG, whatever its name says; convert it")
    if claim is None:
        raise ImageError(f"{path}: is damaged and cannot be decoded (its header says no size); save it again")
    if claim.decoded > MOST_BYTES:
        raise ImageError(f"{path}: decodes to {claim.decoded / 1e9:.3g} GB at once; convert it to a tiled TIFF")
    try:
        pixels: np.ndarray = decode(data)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: is damaged and cannot be decoded ({reason(error)}); save it again") from error
    return pixels
