"""Of an image of which regions are annotated each region is read by itself, with what lies around it."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.drawn import read_drawing
from unet_deploy.annotations.paint import Paint, paint
from unet_deploy.errors import DataError
from unet_deploy.evaluation import window as room
from unet_deploy.evaluation.answers import answer
from unet_deploy.evaluation.drawn import drawing_on
from unet_deploy.evaluation.pair import read_image, scales_of
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.regions import by_region
from unet_deploy.evaluation.split import split_pairs
from unet_deploy.evaluation.truths import read_truth_set
from unet_deploy.evaluation.window import CONTEXT, Window, joined
from unet_deploy.images import ImageInfo
from unet_deploy.images.orientation import stored_region, upright, upright_sides
from unet_deploy.model.card import Normalization
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import models_of
from unet_deploy.segmentation.run import segment
from unet_deploy.tiling import Region

SIZE = (900, 1500)
CELLS = [("cell", 20, 30, 60, 80), ("cell", 95, 100, 140, 130), ("cell", 1300, 700, 1340, 760)]
TWO = [("Annotated", 10, 20, 110, 150), ("Annotated", 1280, 690, 1400, 800)]


def draw(path, *shapes):
    """A file of QuPath, of classes and boxes: left, top, right, bottom."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [a, y], [a, b], [x, b], [x, y]]]},
            "properties": {"objectType": "annotation", "classification": {"name": of}},
        }
        for of, x, y, a, b in shapes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture
def slide(tmp_path):
    """A slide of grey values that tell each pixel's place, in tiles."""
    y, x = np.indices(SIZE)
    tifffile.imwrite(tmp_path / "slide.tif", (3 * y + 7 * x).astype(np.uint16), tile=(64, 64))
    return tmp_path


def pixels_of(tmp_path):
    return tifffile.imread(tmp_path / "slide.tif")


boxes = st.builds(Region, *[st.integers(0, 30)] * 2, *[st.integers(1, 12)] * 2)


@given(st.lists(boxes, max_size=8))
def test_joined_regions_hold_all_pixels_and_share_none(regions):
    count = np.zeros((50, 50), int)
    apart = joined(regions)
    for each in apart:
        count[each.slices] += 1
    assert count.max() <= 1
    assert all(count[each.slices].all() for each in regions)
    assert apart == joined(reversed(apart))


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 400), st.integers(1, 400))
def test_a_frame_lies_in_the_image_and_keeps_the_phase_of_pooling(y, x, height, width):
    window = Window(Region(y, x, height, width), (2400, 2400))
    frame = window.frame
    assert frame == frame.intersection(Region(0, 0, 2400, 2400))
    assert (frame.y % 64, frame.x % 64) == (0, 0)
    assert frame.y <= max(0, y - CONTEXT)
    assert frame.right >= min(2400, x + width + CONTEXT)
    assert window.inside.moved(*frame.origin) == window.region


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_of_an_image_that_lies_turned_is_read_where_it_is_stored(orientation):
    stored = np.arange(7 * 11).reshape(7, 11)
    info = ImageInfo("turned", 1, 1, 7, 11, stored.dtype, orientation=orientation)
    shown = upright(stored, orientation)
    assert shown.shape == upright_sides(info)
    region = Region(2, 1, 4, 5)
    np.testing.assert_array_equal(
        upright(stored[stored_region(region, info).slices], orientation), shown[region.slices]
    )


def test_examples_are_true():
    assert doctest.testmod(room).failed == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_drawing_has_the_places_of_pixels_as_they_are_stored_and_is_turned_with_them(slide, orientation):
    grey = pixels_of(slide)
    tifffile.imwrite(slide / "slide.tif", grey, tile=(64, 64), extratags=[(274, "H", 1, orientation, False)])
    draw(slide / "slide.geojson", *CELLS, *TWO)
    drawn = paint(read_drawing(slide / "slide.geojson", slide / "slide.tif"), SIZE, UNNAMED)
    shown, known = upright(grey, orientation), upright(drawn.known, orientation)
    pairs = by_region(find_pairs(slide))
    assert len(pairs) == 2
    for pair, truth in zip(pairs, read_truth_set(pairs, UNNAMED).truths, strict=True):
        frame = pair.window.frame
        image = read_image(pair).crop(0, Region(0, 0, *frame.sides))[0]
        np.testing.assert_array_equal(image, shown[frame.slices])
        np.testing.assert_array_equal(
            truth.labels > 0, (upright(drawn.labels, orientation) > 0)[frame.slices] & truth.known
        )
        assert known[pair.window.region.slices].all()


def test_a_drawing_that_says_the_size_of_the_image_as_it_is_shown_is_not_turned(tmp_path):
    info = ImageInfo("a.tif", 1, 1, 7, 11, np.dtype(np.uint8), orientation=6)
    shape = {"label": "cell", "points": [[1, 8], [4, 8], [4, 10], [1, 10]], "shape_type": "polygon"}
    said = {"version": "5", "shapes": [shape], "imagePath": "a.tif", "imageData": None}
    (tmp_path / "a.json").write_text(json.dumps(said | {"imageHeight": 11, "imageWidth": 7}))
    found = paint(drawing_on(Path("a.tif"), info, tmp_path / "a.json"), (11, 7), UNNAMED)
    assert np.argwhere(found.labels).tolist() == [[y, x] for y in (8, 9) for x in (1, 2, 3)]


def test_each_region_is_a_pair_that_is_read_with_what_lies_around_it(slide):
    draw(slide / "slide.geojson", *CELLS, *TWO)
    pairs = by_region(find_pairs(slide))
    assert [pair.name for pair in pairs] == ["slide[y20x10]", "slide[y690x1280]"]
    for pair in pairs:
        image = read_image(pair).crop(0, Region(0, 0, *pair.window.frame.sides))[0]
        np.testing.assert_array_equal(image, pixels_of(slide)[pair.window.frame.slices])
    assert pairs[0].window.frame == Region(0, 0, 406, 366)


def test_a_region_is_painted_as_it_is_in_the_whole_image(slide):
    draw(slide / "slide.geojson", *CELLS, *TWO)
    pairs = by_region(find_pairs(slide))
    whole = paint(read_drawing(slide / "slide.geojson", slide / "slide.tif"), SIZE, UNNAMED)
    known = np.zeros(SIZE, bool)
    for pair, truth in zip(pairs, read_truth_set(pairs, UNNAMED).truths, strict=True):
        frame = pair.window.frame.slices
        known[frame] |= truth.known
        np.testing.assert_array_equal(truth.labels, np.where(truth.known, whole.labels[frame], 0))
        assert truth.known[pair.inside.slices].all()
        assert truth.known.sum() == pair.window.region.height * pair.window.region.width
    np.testing.assert_array_equal(known, whole.known)


@given(st.lists(st.tuples(st.sampled_from("ab"), *[st.integers(0, 20)] * 2), min_size=1, max_size=6), boxes)
def test_a_frame_is_painted_as_the_whole_image_is(tmp_path_factory, corners, frame):
    path = tmp_path_factory.mktemp("drawn") / "a.geojson"
    draw(path, *[(of, x, y, x + 3 + y % 9, y + 4 + x % 7) for of, x, y in corners])
    drawing, classes = read_drawing(path, path), ("background", "a", "b")
    whole = paint(drawing, (50, 50), classes)
    part = Paint.of(drawing, (50, 50), classes).on(frame)
    np.testing.assert_array_equal(part.labels, whole.labels[frame.slices])
    together = np.unique(np.stack([part.objects, whole.objects[frame.slices]]).reshape(2, -1), axis=1)
    assert len(together[0]) == len(np.unique(together[0])) == len(np.unique(together[1]))


def test_only_one_region_keeps_the_name_of_its_image_and_its_blocks_lie_in_it(slide):
    draw(slide / "slide.geojson", *CELLS, ("Annotated", 600, 300, 800, 400), ("Annotated", 700, 350, 900, 380))
    (pair,) = by_region(find_pairs(slide))
    assert pair.name == "slide"
    assert pair.window.region == Region(300, 600, 100, 300)
    split = split_pairs([pair], "last:0.1")
    assert split.validation[0].named(pair) == "slide[300:400, 870:900]"
    assert split.training[0].named(pair) == "slide[300:400, 600:870]"


def test_regions_are_held_back_by_their_names_or_all_of_an_image(slide):
    draw(slide / "slide.geojson", *CELLS, *TWO)
    tifffile.imwrite(slide / "other.tif", np.zeros((90, 90), np.uint8))
    draw(slide / "other.geojson", ("cell", 5, 5, 20, 20))
    pairs = by_region(find_pairs(slide))
    for rule, held in {"names:slide": [1, 2], "names:slide[y20x10],other": [0, 1], "last:1": [2]}.items():
        assert [part.image for part in split_pairs(pairs, rule).validation] == held


def test_a_region_of_which_nothing_is_known_is_named(slide):
    draw(slide / "slide.geojson", *CELLS, *TWO, ("Ignore*", 1200, 600, 1450, 850))
    with pytest.raises(DataError, match=r"slide\.geojson: nothing of the region at x 1280, y 690 is annotated"):
        read_truth_set(by_region(find_pairs(slide)), UNNAMED)


def test_an_image_without_annotated_shapes_is_read_whole(slide):
    draw(slide / "slide.geojson", *CELLS)
    pairs = find_pairs(slide)
    assert by_region(pairs) == pairs


@pytest.mark.parametrize("name", ["one", "deep"])
def test_a_model_says_of_a_region_what_it_says_of_it_in_the_whole_image(tmp_path, small_models, speckle, name):
    image = np.pad(speckle, ((0, 500), (0, 500)), mode="reflect") // 2
    image[:90, :90] = 255  # outside of the region, and what the grey scale of the whole image is made of
    tifffile.imwrite(tmp_path / "slide.tif", image)
    draw(tmp_path / "slide.geojson", ("cell", 510, 420, 540, 470), ("Annotated", 500, 400, 620, 500))
    (pair,) = by_region(find_pairs(tmp_path))
    whole = segment(image, model=small_models[name])
    scales = scales_of([pair], Normalization())
    with models_of(small_models[name], Request()) as models:
        labels, _ = answer(models, read_image(pair), grey=scales[pair.image])
    assert labels.shape == pair.window.frame.sides != image.shape
    np.testing.assert_array_equal(labels[pair.inside.slices], whole[pair.window.region.slices])
