"""Stored numbers are intensities and labels; tables of colours and min-is-white say only sometimes what they are."""

import doctest

import numpy as np
import PIL.Image
import pytest
import tifffile

from unet_deploy.images import open_image, open_labels, samples
from unet_deploy.images.samples import Stored, is_lut, meaning_of

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 255, (40, 60), dtype=np.uint8)
RAMP = np.arange(256, dtype=np.uint16) * 257
NONE = np.zeros(256, np.uint16)


def steps(*colours):
    """A table of 256 entries between colours of 0 to 255."""
    places = np.linspace(0, 255, len(colours))
    channels = [np.interp(np.arange(256), places, channel) for channel in zip(*colours, strict=True)]
    return np.round(channels).astype(np.uint16) * 257


SCALES = {
    "grey": np.stack([RAMP, RAMP, RAMP]),
    "red": np.stack([RAMP, NONE, NONE]),
    "green": np.stack([NONE, RAMP, NONE]),
    "blue": np.stack([NONE, NONE, RAMP]),
    "magenta": np.stack([RAMP, NONE, RAMP]),
    "green, brightened": np.stack([NONE, (65535 * (RAMP / 65535) ** 0.5).astype(np.uint16), NONE]),
    "fire": steps((0, 0, 0), (0, 0, 61), (120, 0, 140), (255, 60, 20), (255, 190, 0), (255, 255, 255)),
    "viridis": steps((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
    "a window": np.repeat(np.clip((np.arange(256.0) - 40) / 80, 0, 1)[None] * 65535, 3, 0).astype(np.uint16),
}
PALETTES = {
    "of a photograph": RNG.integers(0, 255, (3, 256)).astype(np.uint16) * 257,
    "of classes": np.pad(np.array([[0, 128, 0], [0, 0, 128], [0, 0, 0]], np.uint16) * 257, ((0, 0), (0, 253))),
}


def test_examples_are_true():
    assert doctest.testmod(samples).failed == 0


@pytest.fixture(params=["tif", "png"])
def write(request, tmp_path):
    """A picture with a table of colours, in a format that has them."""

    def writer(name, pixels, table):
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "tif":
            tifffile.imwrite(path, pixels, photometric="palette", colormap=table, metadata=None)
            return path
        picture = PIL.Image.fromarray(pixels, "P")
        picture.putpalette((table.T >> 8).astype(np.uint8).tobytes())
        picture.save(path)
        return path

    return writer


def read(path, opened=open_image, **options):
    with opened(path, **options) as source:
        return source.info, source.crop(0, source.info.region)


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_of_colours_is_how_intensities_are_shown(write, scale):
    info, pixels = read(write("lut", GREY, SCALES[scale]))
    np.testing.assert_array_equal(pixels, GREY[None])
    assert ("--palette colour" in info.note) == (scale != "grey")


@pytest.mark.parametrize("palette", PALETTES)
def test_a_palette_of_a_picture_is_its_colours_and_that_is_said(write, palette):
    table = PALETTES[palette]
    path = write("picture", GREY % 3 if palette == "of classes" else GREY, table)
    info, pixels = read(path)
    np.testing.assert_array_equal(pixels, (table >> 8)[:, GREY % 3 if palette == "of classes" else GREY])
    assert "--palette index" in info.note


def test_the_option_decides_either_way(write):
    table = PALETTES["of a photograph"]
    info, pixels = read(write("a", GREY, table), meaning="index")
    np.testing.assert_array_equal(pixels, GREY[None])
    assert not info.note
    info, pixels = read(write("b", GREY, SCALES["green"]), meaning="colour")
    np.testing.assert_array_equal(pixels, [GREY * 0, GREY, GREY * 0])
    assert not info.note


@pytest.mark.parametrize("table", [*SCALES.values(), *PALETTES.values()], ids=[*SCALES, *PALETTES])
def test_labels_are_the_stored_numbers_whatever_their_colours(write, table):
    info, pixels = read(write("mask", GREY, table), open_labels)
    np.testing.assert_array_equal(pixels, GREY[None])
    assert not info.note


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_labels_of_few_bits_are_the_stored_numbers(tmp_path, bits, kind):
    labels = RNG.integers(0, 2**bits, (33, 45), dtype=np.uint8)
    picture = PIL.Image.fromarray(labels, "P" if kind == "palette" else "L")
    if kind == "palette":
        picture.putpalette(bytes(RNG.integers(0, 255, 3 * 2**bits).tolist()))
        picture.save(tmp_path / "m.png", bits=bits)
    else:
        (tmp_path / "m.png").write_bytes(grey_png(labels, bits))
    np.testing.assert_array_equal(read(tmp_path / "m.png", open_labels)[1][0], labels)


def grey_png(labels, bits):
    """A grey PNG of so many bits a pixel; Pillow writes none of 2 and 4."""
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = labels.shape
    spread = np.unpackbits(labels[..., None], axis=-1)[..., 8 - bits :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in spread)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def test_greys_that_were_packed_are_greys(write):
    table = np.repeat(np.array([[10, 200, 90, 255]], np.uint16) * 257, 3, 0)
    pixels = GREY % 4
    info, found = read(write("packed", pixels, np.pad(table, ((0, 0), (0, 252)))))
    np.testing.assert_array_equal(found[0], (table[0] >> 8)[pixels])
    assert not info.note


class TestImageJ:
    """What ImageJ and Fiji write beside the numbers is how they show them."""

    def test_any_table(self, tmp_path):
        table = PALETTES["of a photograph"]
        tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, photometric="palette", colormap=table)
        info, pixels = read(tmp_path / "a.tif")
        np.testing.assert_array_equal(pixels, GREY[None])
        assert "--palette colour" in info.note

    def test_channels_of_a_composite(self, tmp_path):
        channels = np.stack([GREY, GREY.T.reshape(GREY.shape)])
        tifffile.imwrite(
            tmp_path / "c.tif", channels, photometric="palette", colormap=SCALES["green"], metadata={"axes": "CYX"}
        )
        info, pixels = read(tmp_path / "c.tif")
        assert info.channels == 2
        np.testing.assert_array_equal(pixels, channels)

    def test_a_table_beside_ome_metadata(self, tmp_path):
        table = PALETTES["of a photograph"]
        tifffile.imwrite(tmp_path / "a.ome.tif", GREY, photometric="palette", colormap=table, metadata={"axes": "YX"})
        np.testing.assert_array_equal(read(tmp_path / "a.ome.tif")[1], GREY[None])
        tifffile.imwrite(tmp_path / "w.ome.tif", GREY, photometric="miniswhite", metadata={"axes": "YX"})
        np.testing.assert_array_equal(read(tmp_path / "w.ome.tif")[1], 255 - GREY[None])

    def test_an_inverting_table(self, tmp_path):
        tifffile.imwrite(tmp_path / "i.tif", GREY, imagej=True, photometric="miniswhite")
        info, pixels = read(tmp_path / "i.tif")
        np.testing.assert_array_equal(pixels, GREY[None])
        assert "shown inverted" in info.note


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_white_is_zero_turns_scans_over_and_no_labels(tmp_path, dtype):
    stored = GREY > 100 if dtype is bool else GREY.astype(dtype)
    tifffile.imwrite(tmp_path / "w.tif", stored, photometric="miniswhite", metadata=None)
    most = 1 if dtype is bool else np.iinfo(dtype).max
    np.testing.assert_array_equal(read(tmp_path / "w.tif")[1][0], most - stored.astype(np.int64))
    np.testing.assert_array_equal(read(tmp_path / "w.tif", open_labels)[1][0], stored)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_white_is_zero_says_nothing_of_numbers_without_a_least_and_a_greatest(tmp_path, dtype):
    stored = GREY.astype(dtype)
    nodata = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "w.tif", stored, photometric="miniswhite", metadata=None, extratags=nodata)
    info, pixels = read(tmp_path / "w.tif")
    np.testing.assert_array_equal(pixels[0], stored)
    assert info.nodata == -9999
    assert "shown inverted" in info.note


def test_few_colours_are_no_scale():
    assert not is_lut(np.array([[0, 65535], [0, 0], [0, 0]], np.uint16))
    assert meaning_of(Stored(1, np.array([[0, 65535]] * 3, np.uint16)), "auto").colours.shape == (1, 2)
