"""Pictures are read as viewers show them; what cannot be said in pixels goes to the mask as the tag that says it."""

import doctest
import io
from dataclasses import replace

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from unet_deploy.evaluation.against_truth import score_files
from unet_deploy.evaluation.pairs import find_pairs, read_image
from unet_deploy.evaluation.truths import read_truths
from unet_deploy.images import open_image, open_labels, orientation
from unet_deploy.images.array import ArraySource
from unet_deploy.images.orientation import shown_region, stored_region, upright
from unet_deploy.masks.overlay import Overlay
from unet_deploy.tiling import Region

GREY = np.random.default_rng(8).integers(10, 200, (40, 60)).astype(np.uint8)
ALL = range(1, 9)


def test_examples_are_true():
    assert doctest.testmod(orientation).failed == 0


@pytest.mark.parametrize("number", range(1, 9))
def test_a_region_lies_where_its_pixels_are_shown_and_back(number):
    pixels = np.arange(6 * 9).reshape(6, 9)
    info = replace(ArraySource(pixels).info, orientation=number)
    stored = Region(1, 3, 4, 2)
    shown = shown_region(stored, info)
    np.testing.assert_array_equal(upright(pixels, number)[shown.slices], upright(pixels[stored.slices], number))
    assert stored_region(shown, info) == stored


def tagged(path, pixels, number):
    # Pillow 13 mistakes the sides of plain ones.
    tifffile.imwrite(path, pixels, metadata=None, compression="zlib", extratags=[(274, 3, 1, number, True)])
    return path


def picture(path, pixels, number):
    exif = PIL.Image.Exif()
    exif[274] = number
    options = {"quality": 95} if path.suffix == ".jpg" else {}
    PIL.Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


def shown(path):
    """As Pillow shows it where it is to heed EXIF."""
    return np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(path)))


def whole(source):
    return source.crop(0, source.info.region)


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, number, suffix):
    with open_image(picture(tmp_path / f"a{suffix}", GREY, number)) as source:
        np.testing.assert_array_equal(whole(source)[0], shown(tmp_path / f"a{suffix}"))
        assert ("turned as its EXIF says" in source.info.note) == (number != 1)
        part = source.read(0, Region(-4, 3, 20, 30))
        np.testing.assert_array_equal(part[0, 4:], whole(source)[0, :16, 3:33])


def test_exif_of_the_other_byte_order_is_read_and_damaged_exif_is_none(tmp_path):
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    for exif, sides in ((tiff, (60, 40)), (tiff[:15], (40, 60)), (b"MM\0*\xff\xff\xff\xff", (40, 60))):
        data = io.BytesIO()
        PIL.Image.fromarray(GREY).save(data, "JPEG", exif=b"Exif\0\0" + exif)
        (tmp_path / "a.jpg").write_bytes(data.getvalue())
        with open_image(tmp_path / "a.jpg") as source:
            assert source.info.region.sides == sides


@pytest.mark.parametrize("number", ALL)
def test_a_tiff_is_read_as_it_is_stored_and_its_mask_says_how_it_lies(tmp_path, number):
    with open_image(tagged(tmp_path / "a.tif", GREY, number)) as source:
        np.testing.assert_array_equal(whole(source)[0], GREY)
        assert source.info.orientation == number
        assert (274, number) in [(tag, value) for tag, _, _, value, _ in source.info.tags["extratags"]]
        assert (f"orientation {number}" in source.info.note) == (number != 1)
    with PIL.Image.open(tmp_path / "a.tif") as seen:
        seen.load()  # turns it
        np.testing.assert_array_equal(upright(GREY, number), np.asarray(seen))


@pytest.mark.parametrize("number", [0, 9, 300])
def test_an_orientation_that_there_is_none_of_is_upright(tmp_path, number):
    with open_image(tagged(tmp_path / "a.tif", GREY, number)) as source:
        assert source.info.orientation == 1
        assert "extratags" not in source.info.tags


@pytest.mark.parametrize("number", ALL)
def test_an_overlay_is_upright(number):
    labels = (GREY > 150).astype(np.uint8)
    plain, turned = (Overlay(Region(0, 0, 40, 60), 1, ("background", "cell"), lies) for lies in (1, number))
    for each in (plain, turned):
        each.add(Region(0, 0, 40, 60), GREY[None], labels)
    expected = np.moveaxis(upright(np.moveaxis(plain.picture(), -1, 0), number), 0, -1)
    np.testing.assert_array_equal(turned.picture(), expected)


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize("kind", ["tagged", "upright"])
def test_an_annotated_image_and_its_truth_lie_alike(tmp_path, number, kind):
    """Whether the truth carries the tag, as masks that this program made, or was drawn on the image as it is shown."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    labels = (GREY > 150).astype(np.uint8)
    tagged(tmp_path / "images" / "a.tif", GREY, number)
    if kind == "tagged":
        tagged(tmp_path / "masks" / "a.tif", labels, number)
    else:
        tifffile.imwrite(tmp_path / "masks" / "a.tif", upright(labels, number))
    pairs = find_pairs(tmp_path)
    pixels, truth = whole(read_image(pairs[0]))[0], read_truths(pairs, ("background", "cell"))[0]
    np.testing.assert_array_equal(truth.labels, pixels > 150)


@pytest.mark.parametrize("number", ALL)
def test_a_mask_is_scored_as_it_lies(tmp_path, number):
    labels = np.zeros((40, 60), np.uint8)
    labels[3:12, 5:30] = 1
    tagged(tmp_path / "mask.tif", labels, number)
    tifffile.imwrite(tmp_path / "truth.tif", upright(labels, number))
    assert score_files(tmp_path / "mask.tif", tmp_path / "truth.tif").scores[0].overlaps[0].dice == 1


def test_labels_are_turned_as_their_exif_says(tmp_path):
    with open_labels(picture(tmp_path / "a.png", GREY, 8)) as source:
        np.testing.assert_array_equal(whole(source)[0], upright(GREY, 8))
