"""Objects of a mask in tiles are those of the whole mask: numbers, measures, holes, outlines and files."""

import csv
import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet_deploy.errors import MissingPackageError, UsageError
from unet_deploy.objects import Frame, Objects, write_table
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.objects.outlines import outlines
from unet_deploy.tiling import Region

CLASSES = ("background", "nucleus", 'cell, "odd"', "debris")
EIGHT = np.ones((3, 3))


@st.composite
def cuts(draw, side):
    inner = draw(st.sets(st.integers(1, side - 1), max_size=3)) if side > 1 else set()
    ends = [0, *sorted(inner), side]
    return list(pairwise(ends))


@st.composite
def tilings(draw, height, width):
    """Rows of tiles, each row cut for itself, tiles in any order."""
    regions = [
        Region(top, left, bottom - top, right - left)
        for top, bottom in draw(cuts(height))
        for left, right in draw(cuts(width))
    ]
    return draw(st.permutations(regions))


@st.composite
def masks(draw, most=14):
    """Masks from sparse to dense, of one to three classes, of single pixels or of 2 x 2 blocks."""
    sides = draw(st.integers(1, most)), draw(st.integers(1, most))
    chance, classes = draw(st.sampled_from([0.2, 0.5, 0.8])), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = np.where(rng.random(sides) < chance, rng.integers(1, classes + 1, sides), 0).astype(np.uint8)
    return np.kron(mask, np.ones((2, 2), np.uint8)) if draw(st.booleans()) else mask


def collected(mask, regions, connectivity, image=None, **options):
    """The table, and the instances of the whole mask from those of the regions."""
    image = mask[None] if image is None else image
    objects = Objects(
        Region(0, 0, *mask.shape), channels=len(image), classes=CLASSES, connectivity=connectivity, **options
    )
    for region in regions:
        objects.add(region, image[(slice(None), *region.slices)], mask[region.slices])
    table = objects.finish()
    instances = np.zeros(mask.shape, np.uint32)
    for region in regions:
        instances[region.slices] = objects.instances(region, mask[region.slices])
    return table, instances


def labelled(mask, connectivity, *, fill_holes=False, min_size=0):
    """The same by definition, from the whole mask."""
    object_shape, hole_shape = (EIGHT, None) if connectivity == 8 else (None, EIGHT)
    instances = np.zeros(mask.shape, np.int64)
    for label in range(1, int(mask.max()) + 1):
        found, _ = ndimage.label(mask == label, object_shape)
        instances[found > 0] = found[found > 0] + instances.max()
    if fill_holes:
        background, count = ndimage.label(np.pad(mask == 0, 1, constant_values=True), hole_shape)
        background = background[1:-1, 1:-1]
        filled = instances.copy()
        for hole in range(2, count + 1):  # 1 is what reaches the border, by way of the frame
            pixels = background == hole
            around = np.unique(instances[ndimage.binary_dilation(pixels) & ~pixels])
            if len(around) == 1:
                filled[pixels] = around[0]
        instances = filled
    ids, first, areas = np.unique(instances, return_index=True, return_counts=True)
    kept = (ids > 0) & (areas >= min_size)
    numbers = np.zeros(instances.max() + 1, np.uint32)
    numbers[ids[kept][np.argsort(first[kept])]] = np.arange(1, kept.sum() + 1)
    return numbers[instances]


def crofton(shape, connectivity):
    """Perimeter of a (h, w) bool shape from its 2 x 2 neighbourhoods."""
    shape = np.pad(shape, 1)
    a, b, c, d = shape[:-1, :-1], shape[:-1, 1:], shape[1:, :-1], shape[1:, 1:]
    level, upright, falling, rising = a != b, a != c, a != d, b != c
    apart = 0 if connectivity == 8 else 2 * ((a & d & ~b & ~c).sum() + (b & c & ~a & ~d).sum())
    return np.pi / 8 * (level.sum() + upright.sum() + (falling.sum() + rising.sum() + apart) / np.sqrt(2))


@settings(max_examples=300)
@given(st.data(), masks(), st.sampled_from([4, 8]), st.booleans(), st.integers(0, 5))
def test_tiles_give_the_objects_of_the_whole_mask(data, mask, connectivity, fill_holes, min_size):
    regions = data.draw(tilings(*mask.shape))
    image = np.random.default_rng(1).integers(0, 65536, (2, *mask.shape)).astype(np.uint16)
    options = {"fill_holes": fill_holes, "min_size": min_size}
    table, instances = collected(mask, regions, connectivity, image, **options)
    truth = labelled(mask, connectivity, **options)
    np.testing.assert_array_equal(instances, truth)
    columns = table.columns()
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
        assert got["class_name"] == CLASSES[got["class"]]
        assert got["perimeter_px"] == pytest.approx(crofton(shape, connectivity))
        for channel in range(2):
            assert got[f"mean_intensity_{channel}"] == pytest.approx(image[channel, rows, width][shape].mean())


@settings(max_examples=50)
@given(st.data(), masks(30), st.booleans())
def test_measures_are_those_of_scikit_image(data, mask, fill_holes):
    measure = pytest.importorskip("skimage.measure")
    grey = np.random.default_rng(1).random((1, *mask.shape), np.float32)
    table, instances = collected(mask, data.draw(tilings(*mask.shape)), 8, grey, fill_holes=fill_holes)
    columns = table.columns()
    for index, theirs in enumerate(measure.regionprops(instances, grey[0])):
        assert columns["eccentricity"][index] == pytest.approx(theirs.eccentricity, abs=1e-6)
        assert columns["perimeter_px"][index] == pytest.approx(theirs.perimeter_crofton)
        assert columns["mean_intensity"][index] == pytest.approx(theirs.intensity_mean)


@pytest.mark.parametrize(("connectivity", "shape"), [(4, None), (8, EIGHT)])
def test_numbers_of_one_class_are_those_of_scipy(connectivity, shape):
    mask = (np.random.default_rng(3).random((301, 257)) < 0.55).astype(np.uint8)
    _, instances = collected(mask, grid(mask, 64), connectivity)
    np.testing.assert_array_equal(instances, ndimage.label(mask, shape)[0])


def grid(mask, side):
    height, width = mask.shape
    return [
        Region(y, x, min(side, height - y), min(side, width - x))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def spiral(side):
    """One line, one pixel wide, that winds inwards with a gap of one pixel."""
    mask = np.zeros((side, side), np.uint8)
    y = x = 0
    dy, dx = 0, 1
    mask[0, 0] = 1
    for step in (side - 1, *(length for length in range(side - 1, 0, -2) for _ in range(2))):
        for _ in range(step):
            y, x = y + dy, x + dx
            mask[y, x] = 1
        dy, dx = dx, -dy
    return mask


@pytest.mark.parametrize("side", [1, 3, 7, 40])
def test_a_spiral_is_one_object_whatever_the_tiles(side):
    mask = spiral(33)
    assert ndimage.label(mask)[1] == 1
    for connectivity in (4, 8):
        table, instances = collected(mask, grid(mask, side), connectivity)
        assert table.columns()["area_px"].tolist() == [mask.sum()]
        np.testing.assert_array_equal(instances, mask)


def test_teeth_of_a_comb_become_one_where_its_back_comes_last():
    mask = np.zeros((50, 61), np.uint8)
    mask[:, ::2] = 1
    mask[-1] = 1
    table, instances = collected(mask, grid(mask, 8), 4)
    assert len(table) == 1
    np.testing.assert_array_equal(instances, mask)


def test_an_object_of_every_pixel_spans_all_tiles():
    mask = np.ones((70, 90), np.uint8)
    columns = collected(mask, grid(mask, 16), 4)[0].columns()
    whole = collected(mask, [Region(0, 0, 70, 90)], 4)[0].columns()
    assert columns["area_px"].tolist() == [6300]
    assert (columns["centroid_y"][0], columns["centroid_x"][0]) == (34.5, 44.5)
    assert columns["eccentricity"] == pytest.approx(whole["eccentricity"])
    assert columns["perimeter_px"] == pytest.approx(whole["perimeter_px"])


def test_moments_keep_their_digits_far_from_the_corner_of_a_huge_image():
    """A disc of 40 pixels, two million pixels out, is measured as at the origin."""
    y, x = np.mgrid[:64, :64]
    disc = ((y - 30) ** 2 / 400 + (x - 33) ** 2 / 300 < 1).astype(np.uint8)
    near = collected(disc, grid(disc, 20), 8)[0].columns()
    far = Objects(Region(0, 0, 1 << 21, 64), channels=1, classes=CLASSES, connectivity=8)
    empty = np.zeros((1 << 16, 64), np.uint8)
    for top in range(0, (1 << 21) - (1 << 16), 1 << 16):
        far.add(Region(top, 0, *empty.shape), empty[None], empty)
    empty[-64 - 7 : -7] = disc
    for top in range(0, 1 << 16, 1 << 15):
        part = empty[top : top + (1 << 15)]
        far.add(Region((1 << 21) - (1 << 16) + top, 0, *part.shape), part[None], part)
    columns = far.finish().columns()
    assert columns["centroid_y"] == pytest.approx(near["centroid_y"] + (1 << 21) - 71, abs=1e-9)
    assert columns["eccentricity"] == pytest.approx(near["eccentricity"], rel=1e-9)


RINGS = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 2],
        [1, 0, 1, 1, 1, 0, 1, 0, 0],
        [1, 0, 1, 0, 1, 0, 1, 1, 1],
        [1, 0, 1, 1, 1, 0, 1, 0, 2],
        [1, 0, 0, 0, 0, 0, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
    ],
    np.uint8,
)


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_a_hole_is_filled_where_it_borders_on_one_object_alone(side):
    """The inner ring's hole is; not the moat between the rings, nor what class 2 closes or the image's border."""
    table, instances = collected(RINGS, grid(RINGS, side), 4, fill_holes=True)
    assert table.columns()["area_px"].tolist() == [28, 1, 9, 1]
    assert instances[3, 3] == instances[2, 2] == 3
    assert instances[1, 1] == instances[4, 7] == instances[0, 8] == 0


def test_filling_is_counted_before_small_objects_are_left_out():
    table, _ = collected(RINGS, grid(RINGS, 2), 4, fill_holes=True, min_size=9)
    assert table.columns()["area_px"].tolist() == [28, 9]
    table, _ = collected(RINGS, grid(RINGS, 2), 4, min_size=9)
    assert table.columns()["area_px"].tolist() == [28]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_corner_joins_objects_with_connectivity_8_alone(connectivity):
    mask = np.eye(6, dtype=np.uint8)
    assert len(collected(mask, grid(mask, 2), connectivity)[0]) == (1 if connectivity == 8 else 6)


def test_a_perimeter_is_that_of_the_disc():
    y, x = np.mgrid[:200, :200]
    disc = ((y - 99.5) ** 2 + (x - 99.5) ** 2 < 80**2).astype(np.uint8)
    perimeter = collected(disc, grid(disc, 64), 8)[0].columns()["perimeter_px"][0]
    assert perimeter == pytest.approx(2 * np.pi * 80, rel=0.01)


def test_an_image_without_objects_has_an_empty_table(tmp_path):
    mask = np.zeros((9, 5), np.uint8)
    table, instances = collected(mask, grid(mask, 4), 8)
    assert len(table) == 0
    assert not instances.any()
    write_table(tmp_path / "none.csv", table)
    write_table(tmp_path / "none.geojson", table)
    assert (tmp_path / "none.csv").read_text().startswith("id,class,class_name,area_px,")
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []


@given(st.data(), masks(), st.booleans())
def test_objects_of_a_region_are_where_it_lies_in_the_image(data, mask, fill_holes):
    regions = data.draw(tilings(*mask.shape))
    options = {"channels": 1, "classes": CLASSES, "fill_holes": fill_holes}
    near, far = Objects(Region(0, 0, *mask.shape), **options), Objects(Region(200, 3000, *mask.shape), **options)
    for region in regions:
        labels = mask[region.slices]
        near.add(region, labels[None], labels)
        far.add(region.moved(200, 3000), labels[None], labels)
    expected, found = near.finish().columns(), far.finish().columns()
    for name, column in found.items():
        shift = {"y": 200, "x": 3000}.get(name[-1], 0) if name.startswith(("centroid", "bbox")) else 0
        np.testing.assert_array_equal(column, expected[name] + shift if shift else expected[name])
    for region in regions:
        there = far.instances(region.moved(200, 3000), mask[region.slices])
        np.testing.assert_array_equal(there, near.instances(region, mask[region.slices]))


def test_what_is_missing_or_uneven_is_said():
    objects = Objects(Region(0, 0, 4, 4), channels=1, classes=CLASSES, connectivity=4)
    half = np.ones((4, 2), np.uint8)
    objects.add(Region(0, 0, 4, 2), half[None], half)
    with pytest.raises(RuntimeError, match="never added"):
        objects.finish()
    with pytest.raises(RuntimeError, match="after finish"):
        objects.instances(Region(0, 0, 4, 2), half)
    with pytest.raises(ValueError, match="differ in height"):
        objects.add(Region(0, 2, 3, 2), half[None, :3], half[:3])


@settings(max_examples=200)
@given(st.data(), masks(), st.sampled_from([4, 8]), st.booleans())
def test_outlines_hold_exactly_the_pixels_of_their_objects(data, mask, connectivity, fill_holes):
    truth = labelled(mask, connectivity, fill_holes=fill_holes)
    regions = sorted(data.draw(tilings(*mask.shape)), key=lambda region: region.y)
    traced = {outline.id: outline.polygons for outline in outlines((r, truth[r.slices]) for r in regions)}
    assert sorted(traced) == list(range(1, truth.max() + 1))
    for number, polygons in traced.items():
        shape = truth == number
        np.testing.assert_array_equal(rasterized([ring for rings in polygons for ring in rings], shape.shape), shape)
        assert len(polygons) == ndimage.label(shape)[1]
        for outer, *holes in polygons:
            assert all(len({*map(tuple, ring.tolist())}) == len(ring) for ring in (outer, *holes))
            inside = rasterized([outer], shape.shape)
            assert all(not (rasterized([hole], shape.shape) & ~inside).any() for hole in holes)


def rasterized(rings, shape):
    """(h, w) bool, the pixels with an odd number of upright edges to their left."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for ring in rings:
        for (x, y), (next_x, next_y) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == next_x) != (y == next_y)
            if x == next_x:
                crossings[min(y, next_y) : max(y, next_y), x] += 1
    return crossings.cumsum(axis=1)[:, :-1] % 2 == 1


@pytest.fixture
def rings():
    return collected(RINGS, grid(RINGS, 3), 8, frame=Frame(size_y_um=0.5, size_x_um=0.5))


def test_a_csv_file_holds_every_digit(tmp_path, rings):
    table, _ = rings
    write_table(tmp_path / "objects.csv", table)
    with (tmp_path / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = table.columns()
    assert list(rows[0]) == list(columns)
    assert [row["class_name"] for row in rows] == columns["class_name"].tolist()
    for name in columns.keys() - {"class_name"}:
        assert [float(row[name]) for row in rows] == columns[name].tolist()
    assert columns["area_um2"].tolist() == [area / 4 for area in columns["area_px"]]
    assert columns["centroid_x_um"].tolist() == [x / 2 for x in columns["centroid_x"]]
    with pytest.raises(UsageError, match="--overwrite"):
        write_table(tmp_path / "objects.csv", table)


def test_pages_are_told_apart(tmp_path, rings):
    table, _ = rings
    write_table(tmp_path / "objects.csv", table, table)
    with (tmp_path / "objects.csv").open(newline="") as file:
        pages = [row["page"] for row in csv.DictReader(file)]
    assert pages == ["0"] * len(table) + ["1"] * len(table)


def test_a_parquet_file_holds_the_same_columns(tmp_path, rings):
    parquet = pytest.importorskip("pyarrow.parquet")
    table, _ = rings
    write_table(tmp_path / "objects.parquet", table)
    read = parquet.read_table(tmp_path / "objects.parquet").to_pydict()
    assert read == {name: column.tolist() for name, column in table.columns().items()}


def test_parquet_without_its_package_and_other_suffixes_are_refused(tmp_path, rings, monkeypatch):
    monkeypatch.setattr("unet_deploy.system.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"unet-deploy\[objects\]"):
        write_table(tmp_path / "objects.parquet", rings[0])
    with pytest.raises(UsageError, match=r"ends in \.csv, \.parquet, \.geojson"):
        write_table(tmp_path / "objects.xlsx", rings[0])
    assert not list(tmp_path.iterdir())


def test_qupath_gets_points_at_pixel_centres(tmp_path, rings):
    table, _ = rings
    write_table(tmp_path / "objects.geojson", table)
    features = json.loads((tmp_path / "objects.geojson").read_text())["features"]
    lone = features[1]
    assert lone["geometry"] == {"type": "Point", "coordinates": [8.5, 1.5]}
    assert lone["properties"]["objectType"] == "detection"
    assert lone["properties"]["classification"]["name"] == CLASSES[2]
    assert lone["properties"]["measurements"]["area_px"] == 1


def test_qupath_gets_polygons_with_their_holes(tmp_path, rings):
    table, instances = rings
    tiles = ((region, instances[region.slices]) for region in grid(RINGS, 3))
    write_outlines(tmp_path / "objects.geojson", (table, tiles))
    features = json.loads((tmp_path / "objects.geojson").read_text())["features"]
    by_name = {feature["properties"]["name"]: feature for feature in features}
    assert len(by_name) == len(table)
    assert by_name["2"]["geometry"]["coordinates"] == [[[8, 1], [9, 1], [9, 2], [8, 2], [8, 1]]]
    inner = by_name["3"]["geometry"]
    assert inner["type"] == "Polygon"
    assert [len(ring) for ring in inner["coordinates"]] == [5, 5]
    assert by_name["3"]["properties"]["measurements"]["area_um2"] == 2


def test_memory_follows_the_objects_and_not_the_pixels():
    """Of 64 Mpx with 160 000 objects: 200 bytes an object, and what a tile of a megapixel takes to work on."""
    side, tile = 8000, 1000
    y, x = np.mgrid[: tile + 20, : tile + 20]
    pattern = (((y % 20) - 9) ** 2 + ((x % 20) - 9) ** 2 < 50).astype(np.uint8)
    tracemalloc.start()
    objects = Objects(Region(0, 0, side, side), channels=1, classes=CLASSES, connectivity=8)
    for top in range(0, side, tile - 7):
        for left in range(0, side, tile - 7):
            labels = pattern[top % 20 :, left % 20 :][: min(tile - 7, side - top), : min(tile - 7, side - left)]
            objects.add(Region(top, left, *labels.shape), labels[None], labels)
    table = objects.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 400 * 400
    assert (table.rows["area"] == table.rows["area"][0]).all()
    assert peak < 200 * len(table) + 40e6
