"""The picture to look at is the same however it was collected."""

import imagecodecs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.masks import overlay
from unet_deploy.masks.overlay import Overlay, legend
from unet_deploy.system.colours import COLOURS
from unet_deploy.tiling import Region


def filled(image, labels, classes=("background", "cell"), tall=10_000, wide=10_000):
    channels, height, width = image.shape
    picture = Overlay(Region(0, 0, height, width), channels, classes)
    for y in range(0, height, tall):
        for x in range(0, width, wide):
            part = slice(y, y + tall), slice(x, x + wide)
            block = labels[part]
            picture.add(Region(y, x, *block.shape), image[(slice(None), *part)], block)
    return picture


@settings(max_examples=15)
@given(st.integers(40, 400), st.integers(40, 400))
def test_tiles_and_whole_give_the_same_picture(tall, wide):
    rng = np.random.default_rng(4)
    image = rng.integers(0, 4000, (1, 777, 512)).astype(np.uint16)
    labels = (rng.random((777, 512)) < 0.3).astype(np.uint8)
    with_factor = overlay.MOST_SIDE
    overlay.MOST_SIDE = 200
    try:
        whole, pieces = filled(image, labels).picture(), filled(image, labels, tall=tall, wide=wide).picture()
    finally:
        overlay.MOST_SIDE = with_factor
    assert max(whole.shape) <= 200
    assert np.abs(whole.astype(int) - pieces).max() <= 1


def test_a_region_is_shown_as_if_it_were_the_image():
    rng = np.random.default_rng(4)
    image, labels = rng.integers(0, 255, (1, 90, 120)).astype(np.uint8), (rng.random((90, 120)) < 0.3).astype(np.uint8)
    part = Overlay(Region(500, 300, 90, 120), 1, ("background", "cell"))
    for top, bottom in ((0, 40), (40, 90)):
        rows = slice(top, bottom)
        part.add(Region(500 + top, 300, *labels[rows].shape), image[:, rows], labels[rows])
    np.testing.assert_array_equal(part.picture(), filled(image, labels, tall=40).picture())


def test_each_class_has_its_colour_and_the_background_none():
    labels = np.repeat(np.arange(3, dtype=np.uint8), 20)[None].repeat(60, axis=0)
    picture = filled(np.zeros((1, 60, 60), np.uint8), labels, ("background", "myelin", "axon")).picture()
    assert (picture[30, 5] == 0).all()
    for label in (1, 2):
        inside = picture[30, label * 20 + 10].astype(float)
        np.testing.assert_allclose(inside / inside.max(), COLOURS[label - 1] / COLOURS[label - 1].max(), atol=0.02)


def test_of_several_classes_a_strip_names_each_beside_its_colour(tmp_path):
    image, labels = np.zeros((1, 60, 200), np.uint8), np.zeros((60, 200), np.uint8)
    labels[:, 50:100], labels[:, 100:] = 1, 2
    path = tmp_path / "overlay.png"
    drawn = filled(image, labels, ("background", "myelin", "axon"))
    drawn.save(path)
    saved = imagecodecs.png_decode(path.read_bytes())
    np.testing.assert_array_equal(saved[:60], drawn.picture())
    for at in range(3):
        there = np.argwhere((saved[60:] == COLOURS[at].astype(np.uint8)).all(axis=-1))
        assert len(there) == (0 if at == 2 else 12 * 12)
    names = legend(("myelin", "axon"), 200)
    np.testing.assert_array_equal(saved[60:], names)
    assert (names != legend(("myelin", "axial"), 200)).any()
    two = filled(image, np.minimum(labels, 1), ("background", "cell"))
    two.save(tmp_path / "two.png")
    assert imagecodecs.png_decode((tmp_path / "two.png").read_bytes()).shape == (60, 200, 3)


def test_names_that_do_not_fit_beside_each_other_stand_below_each_other():
    names = ("nucleus", "cytoplasm", "membrane")
    rows = [len(legend(names, width)) for width in (400, 200, 60)]
    assert rows == [24, 42, 60]


def test_colour_images_keep_their_colours():
    image = np.stack([np.full((50, 50), value, np.uint8) for value in (200, 100, 0)])
    image[:, :25] = 0
    picture = filled(image, np.zeros((50, 50), np.uint8)).picture()
    assert tuple(picture[40, 40]) == (255, 127, 0)


def test_a_constant_image_is_a_picture_too(tmp_path):
    path = tmp_path / "overlay.png"
    filled(np.full((1, 30, 30), 7, np.uint8), np.zeros((30, 30), np.uint8)).save(path)
    assert imagecodecs.png_decode(path.read_bytes()).shape == (30, 30, 3)


def test_what_holds_no_data_is_black_and_has_no_part_in_the_shades():
    rng = np.random.default_rng(4)
    image = rng.integers(1000, 4000, (1, 90, 120)).astype(np.float32)
    labels = (rng.random((90, 120)) < 0.3).astype(np.uint8)
    data = np.ones((90, 120), np.bool_)
    data[:30] = False
    image[:, :30], labels[:30] = -9999, 0
    picture = Overlay(Region(0, 0, 90, 120), 1, ("background", "cell"))
    picture.add(Region(0, 0, 90, 120), image, labels, data)
    seen = picture.picture()
    assert not seen[:30].any()
    np.testing.assert_array_equal(seen[31:], filled(image[:, 30:], labels[30:]).picture()[1:])
