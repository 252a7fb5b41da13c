"""Objects that touch are parted: by the depth of the neck, the same wherever they lie, whatever the tiles."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from test_objects import CLASSES, crofton, grid, labelled, masks, tilings

from unet_deploy.objects import Objects
from unet_deploy.objects.distance import stacks
from unet_deploy.objects.outlines import outlines
from unet_deploy.objects.parts import Page, Parts, objects_of
from unet_deploy.objects.rules import Rules
from unet_deploy.objects.split import Parting
from unet_deploy.objects.typical import diameter
from unet_deploy.tiling import Region


def discs(side, *circles):
    """A mask (side, side) of discs, each y, x, radius."""
    y, x = np.mgrid[:side, :side]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 < radius**2 for cy, cx, radius in circles], axis=0).astype(np.uint8)


@st.composite
def clusters(draw):
    """Masks (60, 70) of discs that touch, of one or two classes, with holes and specks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y, x = np.mgrid[:60, :70]
    mask = np.zeros(y.shape, np.uint8)
    for _ in range(draw(st.integers(1, 25))):
        cy, cx, radius = rng.uniform(0, 60), rng.uniform(0, 70), rng.uniform(1, 10)
        away = (y - cy) ** 2 + (x - cx) ** 2
        mask[(away < radius**2) & (away > draw(st.sampled_from([-1, 2])))] = rng.integers(1, 3)
    return mask


ANY = st.builds(
    Rules,
    connectivity=st.sampled_from([4, 8]),
    min_size=st.sampled_from([0, 5]),
    fill_holes=st.booleans(),
    split=st.sampled_from([0.0, 0.01, 0.04, 0.1]),
    min_share=st.sampled_from([0.0, 0.05]),
    min_part=st.sampled_from([0.0, 0.2]),
    peak=st.sampled_from([0.0, 0.9]),
)


def surely(mask, seed=2):
    """Probabilities (2, h, w) that reach 0.9 at a few pixels of the mask."""
    rng = np.random.default_rng(seed)
    foreground = np.where(mask > 0, np.where(rng.random(mask.shape) < 0.05, 0.95, 0.7), 0.1).astype(np.float32)
    return np.stack([1 - foreground, foreground])


def parted(mask, regions, rules, image=None, before=0):
    """The table, and the numbers of the whole mask from those of the regions."""
    image = mask[None] if image is None else image
    sure = rules.sure(surely(mask)) if rules.peak else None
    everywhere = Region(0, 0, *mask.shape)
    objects = Objects(
        everywhere,
        channels=len(image),
        classes=CLASSES,
        connectivity=rules.connectivity,
        min_size=rules.min_size,
        fill_holes=rules.fill_holes,
    )
    for region in regions:
        objects.add(region, image[(slice(None), *region.slices)], mask[region.slices])
    page = Page(
        everywhere,
        lambda part: mask[part.slices],
        lambda part: image[(slice(None), *part.slices)],
        lambda part: sure[part.slices],
    )
    found = objects.finish()
    tiles = ((region, objects.instances(region, mask[region.slices])) for region in regions)
    parts = Parts(found, page, rules, tiles, before=before)
    ids = np.zeros(mask.shape, np.uint32)
    for region in regions:
        ids[region.slices] = parts.ids(region, objects.instances(region, mask[region.slices]))
    return parts, ids


def by_definition(mask, rules):
    """The same from the whole mask: each component by itself, in the middle of nothing."""
    wholes = labelled(mask, rules.connectivity, fill_holes=rules.fill_holes, min_size=rules.min_size)
    boxes = ndimage.find_objects(wholes)
    shapes = [wholes[box] == number for number, box in enumerate(boxes, 1)]
    across = diameter(
        np.array([shape.sum() for shape in shapes]), np.array([crofton(shape, rules.connectivity) for shape in shapes])
    )
    across = across or 0.0
    ids = np.zeros(mask.shape, np.int64)
    for shape, box in zip(shapes, boxes, strict=True):
        parts = rules.parting(across).parts_of([shape])[0] if rules.split else None
        ids[box][shape] = ids.max() + (1 if parts is None else parts[shape])
    areas = np.bincount(ids.ravel())
    areas[0] = 0
    kept = (areas >= rules.least(across)) & (areas > 0)
    if rules.peak:
        kept &= np.isin(np.arange(len(areas)), ids[surely(mask)[1] >= 0.9])
    order = list(dict.fromkeys(number for number in ids.ravel().tolist() if kept[number]))
    numbers = np.zeros(len(areas), np.uint32)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[ids]


@settings(max_examples=150, deadline=None)
@given(st.data(), clusters() | masks(), ANY)
def test_tiles_give_the_parts_of_the_whole_mask(data, mask, rules):
    regions = data.draw(tilings(*mask.shape))
    image = np.random.default_rng(1).integers(0, 65536, (2, *mask.shape)).astype(np.uint16)
    parts, ids = parted(mask, regions, rules, image)
    truth = by_definition(mask, rules)
    np.testing.assert_array_equal(ids, truth)
    np.testing.assert_array_equal(objects_of(mask, rules, surely(mask)), truth)
    columns = parts.table.columns()
    assert columns["id"].tolist() == list(range(1, truth.max() + 1))
    for index, (rows, width) in enumerate(ndimage.find_objects(truth)):
        shape = truth[rows, width] == index + 1
        y, x = np.nonzero(shape)
        got = {name: column[index] for name, column in columns.items()}
        assert got["area_px"] == shape.sum()
        assert (got["bbox_y"], got["bbox_x"]) == (rows.start, width.start)
        assert (got["bbox_height"], got["bbox_width"]) == shape.shape
        assert (got["centroid_y"], got["centroid_x"]) == pytest.approx((rows.start + y.mean(), width.start + x.mean()))
        assert got["class"] == mask[rows, width][shape].max()
        assert got["perimeter_px"] == pytest.approx(crofton(shape, rules.connectivity))
        for channel in range(2):
            assert got[f"mean_intensity_{channel}"] == pytest.approx(image[channel, rows, width][shape].mean())


@settings(max_examples=40, deadline=None)
@given(st.data(), clusters(), ANY)
def test_outlines_are_those_of_the_parts(data, mask, rules):
    regions = data.draw(tilings(*mask.shape))
    _, ids = parted(mask, regions, rules)
    in_rows = sorted(regions, key=lambda region: region.origin)
    found = {each.id: each.polygons for each in outlines((region, ids[region.slices]) for region in in_rows)}
    numbered = objects_of(mask, rules, surely(mask))
    whole = {each.id: each.polygons for each in outlines([(Region(0, 0, *mask.shape), numbered)])}
    assert found.keys() == whole.keys()
    assert all(
        len(found[each]) == len(whole[each]) and all(map(np.array_equal, found[each][0], whole[each][0]))
        for each in whole
    )


@settings(max_examples=60, deadline=None)
@given(clusters(), st.integers(0, 40), st.integers(0, 40), ANY)
def test_where_a_component_lies_does_not_matter(mask, down, right, rules):
    moved = np.pad(mask, ((down + 1, 3), (right + 1, 2)))
    still = np.pad(mask, 1)
    expected = objects_of(still, rules)
    np.testing.assert_array_equal(objects_of(moved, rules)[down : down + 62, right : right + 72], expected)


@settings(max_examples=60, deadline=None)
@given(clusters() | masks(), st.floats(0.1, 6))
def test_distances_are_exact_in_every_stack(mask, sigma):
    """Beside any others, and as scipy has them."""
    parts, count = ndimage.label(mask)
    shapes = [parts[box] == number for number, box in enumerate(ndimage.find_objects(parts), 1)]
    found = {}
    for stack in stacks(shapes, sigma):
        for place, index in enumerate(stack.which):
            height, width = shapes[index].shape
            found[index] = stack.heights[1 : height + 1, place, 1 : width + 1]
    assert sorted(found) == list(range(count))
    for index, shape in enumerate(shapes):
        exact = ndimage.distance_transform_edt(np.pad(shape, 30))
        smooth = ndimage.gaussian_filter(exact, sigma, mode="constant", radius=int(3 * sigma + 0.5))[30:-30, 30:-30]
        np.testing.assert_allclose(found[index], smooth * shape, rtol=1e-4, atol=1e-5)
        [alone] = stacks([shape], sigma)
        np.testing.assert_array_equal(found[index], alone.heights[1:, 0, 1:][: shape.shape[0], : shape.shape[1]])


@settings(max_examples=100, deadline=None)
@given(clusters(), st.floats(0.2, 3), st.sampled_from([0.31, 0.77, 1.03, 1.41, 2.2]), st.sampled_from([4, 8]))
def test_there_are_as_many_parts_as_maxima_that_stand_out(mask, sigma, depth, connectivity):
    """As h-maxima, by reconstruction, have them."""
    morphology = pytest.importorskip("skimage.morphology")
    near = ndimage.generate_binary_structure(2, connectivity // 4)
    wholes, count = ndimage.label(mask == 1, near)
    for number in range(1, count + 1):
        shape = wholes == number
        [stack] = stacks([shape], sigma)
        heights = stack.heights[:, 0].astype(np.float64)
        low = morphology.reconstruction(heights - depth, heights, footprint=near)
        domes, _ = ndimage.label(heights - low > 1e-6, near)
        expected = len(np.unique(domes[heights - low > depth - 1e-6]))
        [parts] = Parting(depth, sigma, connectivity).parts_of([shape])
        assert (1 if parts is None else parts.max()) == expected


def test_large_shapes_have_the_distances_of_small_ones(monkeypatch):
    shape = discs(200, (100, 100, 90), (30, 150, 40)) > 0
    [small] = stacks([shape], 3.0)
    monkeypatch.setattr("unet_deploy.objects.distance._SMALL", 8)
    [large] = stacks([shape], 3.0)
    np.testing.assert_array_equal(small.heights, large.heights)


@pytest.mark.parametrize(("apart", "depth", "count"), [(36, 0.04, 2), (36, 0.3, 1), (14, 0.04, 1), (30, 0.02, 2)])
def test_two_discs_are_two_where_the_neck_is_narrow_enough(apart, depth, count):
    mask = discs(120, (60, 40, 20), (60, 40 + apart, 20))
    for connectivity in (4, 8):
        assert objects_of(mask, Rules(connectivity, split=depth)).max() == count


def test_a_large_ragged_object_stays_whole():
    """A border that is rough by a twentieth of the diameter makes peaks, but none that stands deep enough."""
    y, x = np.mgrid[-150:150, -150:150]
    angle, rng = np.arctan2(y, x), np.random.default_rng(5)
    radius = 100 + sum(rng.uniform(-1, 1) * 4 * np.sin(k * angle + rng.uniform(0, 7)) for k in range(8, 25, 2))
    mask = (np.hypot(y, x) < radius).astype(np.uint8)
    assert objects_of(mask, Rules(split=0.04)).max() == 1


@settings(max_examples=100, deadline=None)
@given(clusters(), st.floats(0, 1), st.integers(0, 150), st.sampled_from([4, 8]))
def test_parts_are_fewer_the_larger_each_must_be_and_none_is_smaller(mask, depth, least, connectivity):
    wholes, count = ndimage.label(mask == 1, ndimage.generate_binary_structure(2, connectivity // 4))
    shapes = [wholes == number for number in range(1, count + 1)]
    every = Parting(depth, 0.7, connectivity).parts_of(shapes)
    large = Parting(depth, 0.7, connectivity, least=least).parts_of(shapes)
    for shape, parts, fewer in zip(shapes, every, large, strict=True):
        assert fewer is None or (parts is not None and fewer.max() <= parts.max())
        assert fewer is None or np.bincount(fewer[shape])[1:].min() >= least


def test_a_bulge_is_no_object_but_half_a_cluster_is_one():
    bulge, pair = discs(120, (60, 40, 20), (60, 66, 10)), discs(120, (60, 40, 20), (60, 76, 16))
    for mask, without, with_part in ((bulge, 2, 1), (pair, 2, 2)):
        assert objects_of(mask, Rules(split=0.02)).max() == without
        assert objects_of(mask, Rules(split=0.02, min_part=0.3)).max() == with_part


def test_a_row_of_discs_is_as_many_objects_and_every_pixel_belongs_to_one():
    mask = discs(400, *((200, 40 + 34 * at, 20) for at in range(10)))
    ids = objects_of(mask, Rules(split=0.04))
    assert ids.max() == 10
    np.testing.assert_array_equal(ids > 0, mask > 0)
    assert all(ndimage.label(ids == number)[1] == 1 for number in range(1, 11))


def test_classes_that_touch_are_never_one_object():
    mask = discs(90, (40, 30, 15)) + 2 * discs(90, (40, 60, 15))
    assert objects_of(mask, Rules(split=0.04)).max() == 2


def test_a_few_clusters_do_not_enlarge_the_diameter():
    areas, around = np.full(70, 700), np.full(70, 100)
    alone = diameter(areas, around)
    assert alone == pytest.approx(np.sqrt(4 / np.pi * 700))
    assert diameter(np.append(areas, [7000, 4900]), np.append(around, [1000, 700])) == alone
    assert diameter(np.append(areas, np.ones(500)), np.append(around, np.full(500, 3))) == alone
    assert diameter(areas[:0], around[:0]) is None


def test_a_cluster_of_most_objects_does_not_enlarge_the_diameter_either():
    alone = discs(600, *((30 + 60 * at, 30, 20) for at in range(5)))
    cluster = discs(600, *((30 + 37 * y, 150 + 37 * x, 20) for y in range(12) for x in range(12)))
    rules = Rules(split=0.04, min_share=0.1)
    assert objects_of(alone + cluster, rules).max() == 5 + 144


def test_small_objects_are_left_out_by_their_share_of_the_diameter():
    mask = discs(300, (60, 60, 20), (60, 160, 20), (200, 60, 20), (200, 200, 4), (150, 250, 1))
    assert objects_of(mask, Rules(min_share=0.02)).max() == 4
    assert objects_of(mask, Rules(min_share=0.05)).max() == 3
    assert objects_of(mask, Rules(min_size=30)).max() == 4


def test_numbers_go_on_from_those_of_pages_before():
    mask = discs(120, (60, 40, 20), (60, 76, 20))
    parts, ids = parted(mask, grid(mask, 50), Rules(split=0.04), before=7)
    assert parts.table.columns()["id"].tolist() == [8, 9]
    assert np.unique(ids).tolist() == [0, 8, 9]


def test_what_spans_too_much_stays_in_one_piece_and_is_counted(monkeypatch):
    mask = discs(120, (60, 40, 20), (60, 76, 20)) + discs(120, (15, 15, 8), (15, 29, 8))
    monkeypatch.setattr("unet_deploy.objects.parts.LARGEST", 2000)
    parts, ids = parted(mask, grid(mask, 32), Rules(split=0.04))
    assert (parts.too_large, ids.max()) == (1, 3)


def test_memory_does_not_grow_with_a_component_that_spans_the_mask():
    """A comb of 3000 x 3000 pixels, a single component, and pairs of discs between its teeth."""
    mask = np.zeros((3000, 3000), np.uint8)
    mask[:, ::100] = mask[0] = 1
    pair = discs(90, (45, 27, 14), (45, 51, 14))
    for y in range(100, 2900, 300):
        for x in range(5, 2900, 300):
            mask[y : y + 90, x : x + 90] = pair
    rules = Rules(split=0.04)
    tracemalloc.start()
    parts, ids = parted(mask, grid(mask, 500), rules, np.zeros((0, *mask.shape)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (parts.too_large, ids.max()) == (1, 201)
    assert peak < ids.nbytes + 80e6
    assert zlib.crc32(ids) == zlib.crc32(parted(mask, grid(mask, 1024), rules, np.zeros((0, *mask.shape)))[1])
