"""What a picture claims to be is read where its decoder reads it, and refused before memory is taken for it."""

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile

from unet_deploy.errors import ImageError
from unet_deploy.images import open_image
from unet_deploy.images.claimed import Claim, claim_of

GREY = np.random.default_rng(0).integers(0, 255, (70, 131), dtype=np.uint8)
RGB = np.dstack([GREY] * 3)

CODECS = {
    "png": imagecodecs.png_encode,
    "jpeg": imagecodecs.jpeg8_encode,
    "jpeg 2000": lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k"),
    "jpeg 2000 in a box": lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="jp2"),
    "jpeg xl": imagecodecs.jpegxl_encode,
    "jpeg xl in a box": lambda pixels: imagecodecs.jpegxl_encode(pixels, usecontainer=True),
    "jpeg xr": imagecodecs.jpegxr_encode,
    "webp": imagecodecs.webp_encode,
    "webp, lossless": lambda pixels: imagecodecs.webp_encode(pixels, lossless=True),
    "lerc": imagecodecs.lerc_encode,
}


@pytest.mark.parametrize("shape", [(70, 131), (64, 64), (8, 120), (1, 1), (131, 70)])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_says_what_it_holds(codec, shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[0, 0] = 9
    claim = claim_of(bytes(CODECS[codec](pixels)))
    assert (claim.height, claim.width) == shape


def larger(data, codec):
    """The same picture, of which the header says that it is 60,000 x 60,000."""
    sides, data = struct.pack(">HH", 60_000, 60_000), bytearray(data)
    if codec == "jpeg":
        at = data.rfind(b"\xff\xc0") + 5
        data[at : at + 4] = sides
    elif codec == "png":
        data[16:24] = struct.pack(">II", 60_000, 60_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        at = data.find(b"\xff\x4f\xff\x51") + 8
        data[at : at + 8] = struct.pack(">II", 60_000, 60_000)
    return bytes(data)


FILLS = {
    "none": lambda data: data,
    "fill bytes before each marker": lambda data: data.replace(b"\xff\xdb", b"\xff\xff\xff\xff\xdb", 1).replace(
        b"\xff\xc0", b"\xff\xff\xff\xc0", 1
    ),
    "bytes between segments": lambda data: data.replace(b"\xff\xc0", b"\x00\x01\x02\xff\xc0", 1),
    "a comment that looks like a frame": lambda data: (
        data[:2] + b"\xff\xfe\x00\x0c\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01" + data[2:]
    ),
}


@pytest.mark.parametrize("fill", FILLS)
def test_a_jpeg_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path, fill):
    path = tmp_path / "a.jpg"
    honest = FILLS[fill](imagecodecs.jpeg8_encode(RGB))
    assert claim_of(honest) == Claim(70, 131, 3)
    path.write_bytes(honest)
    with open_image(path) as source:
        assert (source.info.height, source.info.width) == (70, 131)
    path.write_bytes(larger(honest, "jpeg"))
    refused(path, r"decodes to 10\.8 GB at once; convert it to a tiled TIFF")


def test_a_png_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(larger(imagecodecs.png_encode(GREY), "png"))
    refused(path, r"decodes to 3\.6 GB at once")


@pytest.mark.parametrize(
    ("codec", "number"), [("jpeg", 7), ("jpeg 2000", 34712), ("jpeg 2000 in a box", 34712), ("png", 34933)]
)
def test_a_tile_that_claims_more_than_itself_is_refused_before_it_is_decoded(tmp_path, codec, number):
    path = tmp_path / "a.tif"
    content = larger(CODECS[codec](GREY[:64, :64]), codec)
    tifffile.imwrite(
        path, iter([content]), shape=(64, 64), dtype=np.uint8, tile=(64, 64), compression=number, metadata=None
    )
    refused(path, r"a strip or tile of 64 x 64 pixels holds a picture that claims 60000 x 60000; save it again")


def refused(path, says):
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=says), open_image(path) as source:
            source.crop(0, source.info.region)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 50, b"II\xbc\x01", b"hello"]
)
def test_what_says_no_size_claims_nothing(content):
    assert claim_of(content) is None


def test_a_size_that_no_image_has_is_refused_before_a_pixel_is_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "endless.zarr", shape=(9 * 10**15, 64), chunks=(64, 64), dtype="u1")
    with pytest.raises(ImageError, match=r"claims 1 x 9000000000000000 x 64 pixels, which no image has"):
        open_image(tmp_path / "endless.zarr")
