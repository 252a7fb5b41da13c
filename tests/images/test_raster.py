"""PNG and JPEG: grey, colour, alpha, 16 bits, and what is broken."""

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
from source_conformance import FileSourceConformance

from unet_deploy.errors import ImageError
from unet_deploy.images import open_image
from unet_deploy.tiling import Region

RNG = np.random.default_rng(2)
GREY = RNG.integers(0, 255, (40, 60), dtype=np.uint8)


def channels_last(pixels):
    """The first page as encoders want it: (H, W) or (H, W, C)."""
    return np.ascontiguousarray(pixels[0, 0] if len(pixels[0]) == 1 else np.moveaxis(pixels[0], 0, -1))


class TestPngSource(FileSourceConformance):
    shapes = ((1, 1, 53, 41), (1, 3, 53, 41), (1, 1, 1, 1))
    dtypes = (np.uint8, np.uint16)

    def write(self, folder, pixels):
        path = folder / "a.png"
        path.write_bytes(imagecodecs.png_encode(channels_last(pixels)))
        return path


class TestJpegSource(FileSourceConformance):
    shapes = ((1, 1, 53, 41), (1, 3, 53, 41), (1, 1, 1, 1))
    dtypes = (np.uint8,)

    def write(self, folder, pixels):
        path = folder / "a.jpg"
        path.write_bytes(imagecodecs.jpeg8_encode(channels_last(pixels), level=90))
        return path

    def stored(self, path, pixels):
        decoded = imagecodecs.jpeg8_decode(path.read_bytes())
        return np.moveaxis(decoded.reshape(*decoded.shape[:2], -1), -1, 0)[None]


def read(path, **options):
    with open_image(path, **options) as source:
        return source.info, source.read(0, Region(0, 0, source.info.height, source.info.width))


@pytest.mark.parametrize(
    ("pixels", "channels"),
    [
        (GREY, 1),
        (GREY.astype(np.uint16) * 257, 1),
        (np.dstack([GREY] * 2), 1),
        (np.dstack([GREY, GREY // 2, GREY // 3]), 3),
        (np.dstack([GREY, GREY // 2, GREY // 3, GREY]), 3),
        (np.dstack([GREY.astype(np.uint16) * 200] * 3), 3),
    ],
)
def test_png_pixels_arrive_and_alpha_does_not(tmp_path, pixels, channels):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    info, seen = read(path)
    expected = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)[:channels]
    np.testing.assert_array_equal(seen, expected)
    assert info.dtype == pixels.dtype
    assert ("alpha" in info.note) == (pixels.ndim == 3 and pixels.shape[2] in (2, 4))


def test_jpeg_is_read_as_its_decoder_reads_it(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(GREY, level=90))
    np.testing.assert_array_equal(read(path)[1][0], imagecodecs.jpeg8_decode(path.read_bytes()))


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0.02, 0.4, 0.9])
def test_a_truncated_picture_is_one_line_never_half_a_picture(tmp_path, kind, keep):
    encode = imagecodecs.png_encode if kind == "png" else imagecodecs.jpeg8_encode
    data = encode(RNG.integers(0, 255, (300, 300), dtype=np.uint8))
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ImageError, match=rf"cut\.{kind}: [^\n]+$"):
        open_image(path)


def claiming(pixels, width, height):
    """A PNG whose header says that it is larger than it is."""
    data = bytearray(imagecodecs.png_encode(pixels))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_what_a_decoder_warns_of_is_said_by_the_error_alone(tmp_path, caplog):
    path = tmp_path / "a.png"
    path.write_bytes(claiming(GREY, 0, 40))
    with pytest.raises(ImageError):
        open_image(path)
    assert not caplog.records


RGB, DEEP = np.dstack([GREY] * 3), np.uint16(256) * GREY


@pytest.mark.parametrize(
    ("pixels", "gigabytes"),
    [(GREY, 3.6), (DEEP, 7.2), (RGB, 10.8), (np.dstack([DEEP] * 3), 21.6), (np.dstack([DEEP] * 2), 14.4)],
)
def test_a_png_that_claims_gigabytes_is_refused_before_it_is_decoded(tmp_path, monkeypatch, pixels, gigabytes):
    monkeypatch.setattr(imagecodecs, "png_decode", lambda data: pytest.fail("it was decoded"))
    path = tmp_path / "bomb.png"
    path.write_bytes(claiming(pixels, 60_000, 60_000))
    with pytest.raises(ImageError, match=rf"decodes to {gigabytes} GB at once; convert it to a tiled TIFF"):
        open_image(path)


def test_a_jpeg_that_claims_gigabytes_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    data = bytearray(imagecodecs.jpeg8_encode(RGB))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    monkeypatch.setattr(imagecodecs, "jpeg8_decode", lambda data: pytest.fail("it was decoded"))
    path = tmp_path / "bomb.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"decodes to 10\.8 GB at once; convert it to a tiled TIFF"):
        open_image(path)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_picture_larger_than_pillow_opens_is_read(tmp_path, monkeypatch, kind):
    encode = imagecodecs.png_encode if kind == "png" else imagecodecs.jpeg8_encode
    path = tmp_path / f"large.{kind}"
    path.write_bytes(encode(GREY))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", GREY.size // 3)
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(path)
    assert read(path)[1].shape == (1, *GREY.shape)


def test_a_picture_whose_header_pillow_refuses_is_read_if_its_decoder_can(tmp_path):
    """Words longer than Pillow lets a text chunk be."""
    data = imagecodecs.png_encode(GREY)
    words = b"Comment\0\0" + zlib.compress(b"slide " * 1_000_000)
    chunk = len(words).to_bytes(4, "big") + b"zTXt" + words + zlib.crc32(b"zTXt" + words).to_bytes(4, "big")
    path = tmp_path / "wordy.png"
    path.write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(read(path)[1][0], GREY)


def test_a_picture_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "not.png"
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(ImageError, match="is neither PNG nor JPEG"):
        open_image(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", r"folder: is a folder and no OME-Zarr; name the images in it"),
        ("https://lab.example/a/b.TIF", r"https://lab\.example/a/b\.TIF: only OME-Zarr is read from a server"),
    ],
)
def test_a_folder_and_a_file_on_a_server_are_refused_with_what_to_do(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(ImageError, match=said):
        open_image(Path(name))


def test_suffixes_that_are_not_read_name_those_that_are(tmp_path):
    path = tmp_path / "a.czi"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"images of type \.czi are not read; convert it to one of \.tif"):
        open_image(path)


@pytest.mark.parametrize(
    ("dpi", "turn", "sizes"),
    [
        ((50_800, 25_400), 1, (1.0, 0.5)),
        ((50_800, 25_400), 6, (0.5, 1.0)),
        ((2400, 2400), 1, (None, None)),
        ((72, 72), 1, (None, None)),
    ],
)
def test_a_png_has_the_pixels_of_a_microscope_and_no_figure_s(tmp_path, dpi, turn, sizes):
    exif = PIL.Image.Exif()
    exif[274] = turn
    PIL.Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png", dpi=dpi, exif=exif)
    with open_image(tmp_path / "a.png") as source:
        found = source.info
    assert (found.sizes.y_um, found.sizes.x_um) == sizes
    assert bool(found.tags) == (sizes[0] is not None)


def test_the_density_of_a_jpeg_is_for_printers(tmp_path):
    PIL.Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.jpg", dpi=(25_400, 25_400))
    with open_image(tmp_path / "a.jpg") as source:
        assert source.info.sizes.text() == ""
