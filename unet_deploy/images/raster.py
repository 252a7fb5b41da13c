"""PNG and JPEG. These formats have no random access, so a picture is decoded whole when it is opened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from unet_deploy.errors import ImageError, reason
from unet_deploy.images import ImageInfo, ImageSource, check_channel
from unet_deploy.images.channels import Channel, channel_number
from unet_deploy.images.claimed import claim_of
from unet_deploy.images.orientation import UPRIGHT, exif_orientation, upright, upright_order
from unet_deploy.images.png import read_header
from unet_deploy.images.samples import ALPHA, Meaning, Samples, Stored, meaning_of
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.images.state import stamp_of, state_of_file
from unet_deploy.tiling import Region

# What a decoder warns of and reads all the same goes to a log that nobody asked for; errors are raised.
logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)

MOST_BYTES = 1 << 30
COARSEST_UM = 10.0
"""Resolutions of PNG that are coarser than this (2540 dpi) are a figure's, a printer's or a screen's."""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class RasterSource(ImageSource):
    """A PNG or JPEG file, decoded whole into memory, and turned as its EXIF says.

    Alpha is not a channel: where it is 0 there is no data. `meaning` says what a palette is. A PNG may say how large
    its pixels are; the density of a JPEG is for printers.
    Raises ImageError where the file is damaged, is of another kind, or decodes to more than MOST_BYTES.
    """

    def __init__(self, path: Path, *, channel: Channel | None = None, meaning: Meaning = "auto") -> None:
        self._path = path
        try:
            self._stamp = stamp_of(path)
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
        picture = _read(data, path, meaning)
        orientation = exif_orientation(data)
        planes = np.ascontiguousarray(upright(picture.planes, orientation))
        number = channel_number(channel, (), path)
        check_channel(number, len(planes), path)
        self._planes = planes if number is None else planes[number : number + 1]
        self._valid = None if picture.valid is None else upright(picture.valid, orientation)
        channels, height, width = self._planes.shape
        turned = "" if orientation == UPRIGHT else "it is turned as its EXIF says"
        note = "; ".join(filter(None, (picture.note, turned)))
        sizes = _sizes(data, orientation)
        self.info = ImageInfo(
            str(path),
            1,
            channels,
            height,
            width,
            planes.dtype,
            sizes,
            tags=sizes.resolution,
            note=note,
            bands=picture.bands,
        )

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._planes[(slice(None), *region.slices)]

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        return None if self._valid is None else self._valid[region.slices]

    def state(self) -> str:
        return state_of_file(self._path, self._stamp)

    def close(self) -> None:
        pass


def _sizes(data: bytes, orientation: int) -> PixelSizes:
    """How large the pixels of a picture are, as it is turned, where it is a PNG whose claim can be believed."""
    header = read_header(data) if data.startswith(_PNG) else None
    if header is None or header.sides_um is None or max(header.sides_um) > COARSEST_UM:
        return PixelSizes()
    return PixelSizes(*upright_order(header.sides_um, orientation))


@dataclass(frozen=True)
class _Picture:
    """What was read of a file, as it is stored."""

    planes: np.ndarray
    """(C, H, W)."""
    valid: np.ndarray | None
    """(H, W) bool, which pixels are there; None for all."""
    note: str
    bands: str


def _read(data: bytes, path: Path, meaning: Meaning) -> _Picture:
    """Read grey values, colours or labels, and what of them is there."""
    header = read_header(data) if data.startswith(_PNG) else None
    numbers = header is not None and header.numbers and (header.table is not None or meaning == "labels")
    found = meaning_of(Stored(header.bits, header.table), meaning) if header and numbers else Samples()
    if not header or not numbers or found.colours is not None:
        return _of_samples(_planes(_decode(data, path), path), data, meaning, found.note)
    # The decoder spreads numbers of fewer bits over 0 to 255.
    spread = 255 // (2**header.bits - 1) if header.bits < 8 else 1
    planes = _planes(_decode(header.as_grey(data), path) // spread, path)
    if meaning == "labels" or not header.transparent:
        return _Picture(planes, None, found.note, "")
    note = "; ".join(filter(None, (found.note, "where its colours are transparent there is no data")))
    return _Picture(planes, ~np.isin(planes[0], header.transparent), note, "")


def _of_samples(stored: np.ndarray, data: bytes, meaning: Meaning, note: str) -> _Picture:
    """Part alpha from channels: samples (S, H, W) as they are decoded, the colours of a palette among them."""
    count = len(stored)
    is_png = data.startswith(_PNG)
    extra = (ALPHA,) if is_png and count in (2, 4) else ()
    bands = "inks (CMYK), not light" if not is_png and count == 4 else ""
    means = meaning_of(Stored(8 * stored.itemsize, samples=count, extra=extra, bands=bands), meaning)
    valid = None if means.alpha is None else stored[means.alpha] > 0
    return _Picture(means.values(stored), valid, "; ".join(filter(None, (note, means.note))), bands)


def _planes(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return pixels (H, W) or (H, W, samples) as (samples, H, W). Raises ImageError where there are none."""
    if 0 in pixels.shape:
        raise ImageError(f"{path}: has no pixels")
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


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
