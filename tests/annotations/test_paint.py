"""Shapes become the pixels whose centre they hold, each an object, and say where nothing is known."""

import time

import numpy as np
import pytest
from drawn_masks import CLASSES, SQUARE, box, drawing

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.fill import Crossings
from unet_deploy.annotations.marking import Marking
from unet_deploy.annotations.paint import paint
from unet_deploy.annotations.shapes import Drawing, Shape, ellipse
from unet_deploy.errors import DataError

SIZE = (8, 10)


def filled(*rings, size=SIZE):
    """The pixels (H, W) bool of a polygon."""
    spans = Crossings.of([tuple(np.array(ring, np.float64) for ring in rings)], size).spans()
    mask = np.zeros(size, np.bool_)
    mask.reshape(-1)[spans.pixels(size[1])] = True
    return mask


def test_a_pixel_is_inside_where_its_centre_is():
    for end, columns in ((5.5, 3), (5.500001, 4), (6.5, 4)):
        assert filled(box(2, 1, end, 4)).sum(axis=1).tolist() == [0, columns, columns, columns, 0, 0, 0, 0]


def test_a_hole_and_what_lies_in_it_are_told_apart():
    mask = filled(box(0, 0, 8, 8), box(2, 2, 6, 6), box(3, 3, 5, 5))
    assert mask[4].tolist() == [True, True, False, True, True, False, True, True, False, False]


@pytest.mark.parametrize("seed", range(20))
def test_two_sides_of_a_line_share_no_pixel_and_leave_none(seed):
    rng = np.random.default_rng(seed)
    line = [(float(x), float(y)) for x, y in zip(rng.uniform(2, 8, 9), np.sort(rng.uniform(0, 8, 9)), strict=True)]
    left, right = filled([(0, 0), *line, (0, 8)]), filled([(10, 0), *line, (10, 8)])
    between = filled([(0, 0), *line, (0, 8)], [(10, 0), *line, (10, 8)])
    np.testing.assert_array_equal(left ^ right, between)
    assert not (left & right).any()


def test_a_discs_pixels_are_those_whose_centre_is_in_the_circle():
    y, x = np.mgrid[:60, :60] + 0.5
    np.testing.assert_array_equal(filled(ellipse(3, 4, 53, 54), size=(60, 60)), (x - 28) ** 2 + (y - 29) ** 2 < 25**2)


def test_what_reaches_over_the_edge_is_cut_there():
    assert filled(box(-3, -3, 2, 2), size=(4, 4)).tolist() == (np.add.outer([1, 1, 9, 9], [0, 0, 9, 9]) < 2).tolist()


def test_objects_that_touch_stay_two_and_the_smaller_lies_on_top():
    painted = paint(drawing(("a", box(3, 3, 5, 5)), ("a", box(0, 0, 6, 8)), ("b", box(6, 0, 9, 8))), SIZE, UNNAMED)
    assert painted.objects[4].tolist() == [2, 2, 2, 1, 1, 2, 3, 3, 3, 0]
    assert painted.labels.max() == 1
    assert painted.known is None


def test_classes_are_found_by_name():
    painted = paint(drawing(("Debris: small", SQUARE), ("NUCLEUS", box(7, 0, 9, 3))), SIZE, CLASSES)
    assert (painted.labels[3, 3], painted.labels[1, 8]) == (2, 1)


def test_outside_of_what_is_annotated_nothing_is_known():
    painted = paint(drawing(("Annotated", box(0, 0, 5, 8)), ("cell", SQUARE)), SIZE, UNNAMED)
    assert painted.known[:, :5].all()
    assert not painted.known[:, 5:].any()
    assert painted.objects[4].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]


def test_the_annotated_class_may_have_another_name():
    painted = paint(drawing(("Region*", box(0, 0, 5, 8)), ("cell", SQUARE)), SIZE, UNNAMED, Marking(None, "region*"))
    assert painted.known.sum() == 40


@pytest.mark.parametrize("name", ["Ignore*", "ignore", "__ignore__"])
def test_what_is_to_be_ignored_is_not_known_whatever_lies_there(name):
    painted = paint(drawing(("cell", SQUARE), (name, box(4, 0, 10, 8))), SIZE, UNNAMED)
    assert painted.objects[4].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert painted.known.sum() == 32


def test_background_that_is_drawn_is_no_object():
    painted = paint(drawing(("cell", box(0, 0, 8, 8)), ("Background", SQUARE)), SIZE, UNNAMED)
    assert painted.objects.sum() == painted.labels.sum() == 48


REFUSED = {
    "lies outside its image": drawing(("cell", box(20, 2, 30, 6))),
    "was drawn on an image of 9 x 9 pixels": drawing(("cell", SQUARE), size=(9, 9)),
    "crosses its own line near x": drawing(("nucleus", [(1, 1), (8, 7), (8, 1), (1, 7)])),
    "is of class 'cell', but the classes are background, nucleus, debris": drawing(("cell", SQUARE)),
    "is of no class, but": drawing((None, SQUARE)),
    "is of group 3, but": drawing((3, SQUARE)),
    "nothing of its image is annotated": drawing(("nucleus", SQUARE), ("ignore", box(0, 0, 10, 8))),
    "too small to hold a pixel": drawing(("nucleus", box(0.1, 0.1, 0.4, 0.4))),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_has_no_one_meaning_is_refused_by_name(said):
    with pytest.raises(DataError, match=rf"cells\.geojson: .*{said}"):
        paint(REFUSED[said], SIZE, CLASSES)


def test_a_line_that_turns_twice_around_is_crossed_too():
    star = [(5 + 4 * np.sin(4 * np.pi * k / 5), 4 - 4 * np.cos(4 * np.pi * k / 5)) for k in range(5)]
    assert Crossings.of([(np.array(star),)], SIZE).crossed()


def test_a_ring_that_touches_itself_at_a_corner_is_whole():
    ring = [(0, 0), (4, 0), (4, 4), (8, 4), (8, 8), (4, 8), (4, 4), (0, 4)]
    assert Crossings.of([(np.array(ring, np.float64),)], SIZE).crossed() is None


def test_many_shapes_take_no_time():
    places = np.random.default_rng(0).uniform(0, 1900, (20_000, 2))
    ring = ellipse(0, 0, 14, 12)
    shapes = tuple(Shape("shape", None, ((ring + place,),)) for place in places)
    started = time.process_time()
    paint(Drawing("cells.geojson", shapes), (2000, 2000), UNNAMED)
    assert time.process_time() - started < 20
