"""What the samples of a pixel are: channels unless the file says alpha, and alpha says where there is data."""

import doctest

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from unet_deploy.errors import ImageError
from unet_deploy.images import check_fits, open_image, open_labels, samples
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region

RNG = np.random.default_rng(3)
PART = Region(7, 11, 40, 30)


def test_examples_are_true():
    assert doctest.testmod(samples).failed == 0


def noise(*shape, dtype=np.uint8):
    return RNG.integers(1, 250, shape).astype(dtype)


def alpha_of(dtype, shape=(60, 50)):
    """Nothing at the top, something in a band, all below."""
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    alpha = np.full(shape, full, dtype)
    alpha[:20], alpha[20:30] = 0, full / 2
    return alpha


def read(source):
    whole = source.info.region
    pixels = source.crop(0, whole)
    return pixels, source.data_in(0, whole, pixels)


LAYOUTS = {
    "plain": {},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 32), "compression": "zlib"},
}


def write(path, planes, photometric, extra, planar=False, **options):
    """planes: (samples, H, W)."""
    pixels = planes if planar else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    config = "separate" if planar else "contig"
    tifffile.imwrite(
        path, pixels, photometric=photometric, planarconfig=config, extrasamples=extra, metadata=None, **options
    )
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("photometric", "colours"), [("minisblack", 1), ("rgb", 3)])
def test_alpha_says_where_there_is_data(tmp_path, layout, planar, dtype, photometric, colours):
    planes = np.concatenate([noise(colours, 60, 50, dtype=dtype), alpha_of(dtype)[None]])
    path = write(tmp_path / "a.tif", planes, photometric, ["unassalpha"], planar, **LAYOUTS[layout])
    with open_image(path) as source:
        pixels, data = read(source)
        np.testing.assert_array_equal(pixels, planes[:-1])
        np.testing.assert_array_equal(data, planes[-1] > 0)
        seen = source.data_in(0, PART, source.crop(0, PART))
        np.testing.assert_array_equal(seen, data[PART.slices])
        over = Region(-10, -5, 30, 20)
        np.testing.assert_array_equal(source.data_in(0, over, source.read(0, over))[10:, 5:], data[:20, :15])
        assert source.info.note == "where its alpha is 0 there is no data"
        grey = measure_page(source, 0, Normalization())
    with ArraySource(planes[:-1, 20:]) as rest:
        expected = measure_page(rest, 0, Normalization())
    np.testing.assert_array_equal(grey.offset, expected.offset)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_that_are_multiplied_by_alpha_are_divided_by_it(tmp_path, dtype):
    alpha = alpha_of(dtype)
    full = alpha.max()
    colours = noise(3, 60, 50, dtype=dtype)
    if dtype == np.float32:
        colours /= 255
    stored = colours * (alpha.astype(np.float64) / full)
    stored = stored.astype(dtype) if dtype == np.float32 else np.rint(stored).astype(dtype)
    path = write(tmp_path / "a.tif", np.concatenate([stored, alpha[None]]), "rgb", ["assocalpha"])
    with open_image(path) as source:
        pixels, data = read(source)
        assert "colours are divided by it" in source.info.note
    np.testing.assert_array_equal(data, alpha > 0)
    np.testing.assert_array_equal(pixels[:, 30:], colours[:, 30:])
    np.testing.assert_allclose(pixels[:, 20:30], colours[:, 20:30], atol=1e-6 if dtype == np.float32 else 1.01)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_samples_of_which_nothing_is_said_are_channels(tmp_path, photometric, planar):
    planes = noise(4, 60, 50)
    extra = ["unspecified"] * (1 if photometric == "rgb" else 3)
    with open_image(write(tmp_path / "a.tif", planes, photometric, extra, planar)) as source:
        pixels, data = read(source)
        assert source.info.note == ""
    np.testing.assert_array_equal(pixels, planes)
    assert data is None


def test_alpha_between_channels_is_found_by_its_place(tmp_path):
    planes = noise(5, 60, 50)
    planes[3] = alpha_of(np.uint8)
    with open_image(write(tmp_path / "a.tif", planes, "rgb", ["unassalpha", "unspecified"])) as source:
        pixels, data = read(source)
    np.testing.assert_array_equal(pixels, planes[[0, 1, 2, 4]])
    np.testing.assert_array_equal(data, planes[3] > 0)


def test_a_stack_of_several_channels_has_no_alpha(tmp_path):
    stack = noise(2, 4, 60, 50)
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": "ZCYX"})
    for name in ("ij.tif", "a.ome.tif"):
        with open_image(tmp_path / name) as source:
            assert (source.info.pages, source.info.channels) == (2, 4)
            np.testing.assert_array_equal(source.crop(1, source.info.region), stack[1])
            assert source.data_in(1, source.info.region, stack[1]) is None


@pytest.mark.parametrize(("photometric", "said"), [("separated", "inks"), ("cielab", r"L\*, a\* and b\*")])
def test_what_is_no_red_green_and_blue_is_said(tmp_path, nuclei_card, photometric, said):
    planes = noise(4 if photometric == "separated" else 3, 60, 50)
    with open_image(write(tmp_path / "a.tif", planes, photometric, [])) as source:
        assert said.replace("\\", "") in source.info.note
        with pytest.raises(ImageError, match=rf"channels \({said}"):
            check_fits(source.info, nuclei_card)


def test_a_jpeg_of_inks_has_four_channels(tmp_path):
    PIL.Image.fromarray(noise(60, 50, 4), "CMYK").save(tmp_path / "a.jpg")
    with open_image(tmp_path / "a.jpg") as source:
        assert source.info.channels == 4
        assert "inks" in source.info.note


@pytest.fixture
def nuclei_card():
    from unet_deploy.zoo import card_of, find_model

    return card_of(find_model("nuclei"))


# -- PNG -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_a_png_says_where_there_is_data(tmp_path, dtype, colours):
    planes = np.concatenate([noise(colours, 60, 50, dtype=dtype), alpha_of(dtype)[None]])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(np.moveaxis(planes, 0, -1))))
    with open_image(tmp_path / "a.png") as source:
        pixels, data = read(source)
    np.testing.assert_array_equal(pixels, planes[:-1])
    np.testing.assert_array_equal(data, planes[-1] > 0)


@pytest.mark.parametrize("colours", [1, 3])
def test_a_transparent_value_of_a_png_is_no_data(tmp_path, colours):
    pixels = noise(60, 50) if colours == 1 else noise(60, 50, 3)
    pixels[:20] = 7
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png", transparency=7 if colours == 1 else (7, 7, 7))
    with open_image(tmp_path / "a.png") as source:
        assert source.info.channels == colours
        _, data = read(source)
    np.testing.assert_array_equal(data, (pixels != 7) if colours == 1 else (pixels != 7).any(axis=2))


@pytest.mark.parametrize("meaning", ["index", "colour"])
def test_a_transparent_colour_of_a_palette_is_no_data_however_it_is_read(tmp_path, meaning):
    numbers = noise(60, 50) % 4
    image = PIL.Image.fromarray(numbers, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 80, 0, 7, 7, 200])
    image.save(tmp_path / "a.png", transparency=b"\xff\x00\x80\xff")
    with open_image(tmp_path / "a.png", meaning=meaning) as source:
        pixels, data = read(source)
    np.testing.assert_array_equal(data, numbers != 1)
    assert len(pixels) == (1 if meaning == "index" else 3)


def test_of_labels_alpha_is_how_they_are_shown(tmp_path):
    labels, alpha = noise(60, 50) % 4, alpha_of(np.uint8)
    write(tmp_path / "a.tif", np.stack([labels, alpha]), "minisblack", ["unassalpha"])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.dstack([labels, alpha])))
    for name in ("a.tif", "a.png"):
        with open_labels(tmp_path / name) as source:
            pixels, data = read(source)
            assert source.info.note == "its alpha is not used"
        np.testing.assert_array_equal(pixels[0], labels)
        assert data is None


# -- transparency masks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("masks", ["one", "each"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}], ids=["plain", "tiles"])
def test_a_page_that_is_a_transparency_mask_says_where_there_is_data(tmp_path, pages, masks, options):
    images, there = noise(pages, 60, 50), RNG.random((pages, 60, 50)) < 0.6
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for at in range(pages):
            tiff.write(images[at], photometric="minisblack", metadata=None, **options)
            if masks == "each" or at == 0:
                tiff.write(there[at], subfiletype=4, photometric="mask", metadata=None, **options)
    for opened in (open_image, open_labels):
        with opened(tmp_path / "a.tif") as source:
            assert (source.info.pages, source.info.channels) == (pages, 1)
            assert source.info.note == "where its transparency mask is 0 there is no data"
            for page in range(pages):
                pixels = source.crop(page, PART)
                np.testing.assert_array_equal(pixels[0], images[page][PART.slices])
                expected = there[page if masks == "each" else 0][PART.slices]
                np.testing.assert_array_equal(source.data_in(page, PART, pixels), expected)


def test_masks_that_are_not_as_many_as_pages_are_not_read_and_that_is_said(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for at in range(3):
            tiff.write(noise(60, 50), photometric="minisblack", metadata=None)
            if at < 2:
                tiff.write(noise(60, 50) > 9, subfiletype=4, photometric="mask", metadata=None)
    with open_image(tmp_path / "a.tif") as source:
        assert "not as many as its pages" in source.info.note
        assert read(source)[1] is None


# -- axes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["TZCYX", "TCZYX", "CTZYX", "ZTCYX", "CZTYX", "ZCTYX"])
def test_planes_of_an_ome_tiff_are_found_in_every_order(tmp_path, axes):
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": 20, "X": 30}
    stack = noise(*(sizes[axis] for axis in axes))
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": axes})
    with open_image(tmp_path / "a.ome.tif") as source:
        assert (source.info.pages, source.info.channels) == (6, 2)
        lead = [axis for axis in axes if axis in "TZ"]
        ordered = np.moveaxis(stack, axes.index("C"), 2).reshape(6, 2, 20, 30)
        assert len(lead) == 2
        for page in range(6):
            np.testing.assert_array_equal(source.crop(page, source.info.region), ordered[page])


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}], ids=["plain", "tiles"])
def test_channels_that_are_stored_last_are_channels(tmp_path, options):
    pixels = noise(60, 50, 5)
    metadata = {"axes": "YXC"}
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", metadata=metadata, **options
    )
    with open_image(tmp_path / "a.tif") as source:
        assert (source.info.pages, source.info.channels) == (1, 5)
        np.testing.assert_array_equal(source.crop(0, PART), np.moveaxis(pixels, -1, 0)[(slice(None), *PART.slices)])


@pytest.mark.parametrize(
    ("axes", "shape"), [("YXC", (60, 50, 4)), ("YCX", (60, 4, 50)), ("XY", (60, 50)), ("YXZ", (9, 9, 9))]
)
def test_axes_that_leave_open_how_the_picture_lies_are_one_line(tmp_path, axes, shape):
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape), photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(ImageError, match=rf"a\.tif: says that its axes are {axes}.*channels before Y and X$"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["SYX", "CYX"])
def test_channels_in_planes_of_their_own_are_channels(tmp_path, axes):
    stack = noise(3, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata={"axes": axes})
    with open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.crop(0, source.info.region), stack)
