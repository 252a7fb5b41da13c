"""Objects are measured by the sizes of pixels and placed at full resolution, whatever level was segmented."""

import csv
import doctest
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_objects import CLASSES, grid, masks, tilings

from unet_deploy.objects import Frame, Objects, frame, write_table
from unet_deploy.objects.frame import Map
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.tiling import Region


def table_of(mask, regions, at, **options):
    objects = Objects(Region(0, 0, *mask.shape), channels=1, classes=CLASSES, frame=at, **options)
    for region in regions:
        objects.add(region, mask[None][(slice(None), *region.slices)], mask[region.slices])
    return objects.finish(), [(region, objects.instances(region, mask[region.slices])) for region in regions]


def ellipse(height, width):
    """(h, w) uint8 of an ellipse with these half axes in pixels."""
    y, x = np.mgrid[-height : height + 1, -width : width + 1]
    return ((y / height) ** 2 + (x / width) ** 2 < 1).astype(np.uint8)


def test_examples_are_true():
    assert doctest.testmod(frame).failed == 0


@settings(max_examples=100)
@given(st.data(), masks(), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_a_level_gives_what_the_full_resolution_would(data, mask, step_y, step_x, fill_holes):
    fine = np.kron(mask, np.ones((step_y, step_x), np.uint8))
    at = Frame(1, float(step_y), float(step_x), 0.5 * step_y, 0.25 * step_x)
    coarse, _ = table_of(mask, data.draw(tilings(*mask.shape)), at, fill_holes=fill_holes)
    whole, _ = table_of(fine, grid(fine, 9), Frame(0, 1.0, 1.0, 0.5, 0.25), fill_holes=fill_holes)
    seen, expected = coarse.columns(), whole.columns()
    assert list(seen) == list(expected)
    for name in seen:
        if not name.startswith(("perimeter", "eccentricity", "class_name")):
            np.testing.assert_allclose(seen[name], expected[name], rtol=1e-12, atol=1e-9, err_msg=name)


@settings(max_examples=50)
@given(st.data(), masks(), st.sampled_from([1.0, 2.0, 3.5]))
def test_measures_in_micrometres_take_height_and_width_apart(data, mask, height):
    table, tiles = table_of(mask, data.draw(tilings(*mask.shape)), Frame(size_y_um=height, size_x_um=1.0))
    columns = table.columns()
    ids = np.zeros(mask.shape, int)
    for region, numbers in tiles:
        ids[region.slices] = numbers
    for index, number in enumerate(columns["id"]):
        y, x = np.nonzero(ids == number)
        assert columns["area_px"][index] == len(y)
        assert columns["area_um2"][index] == pytest.approx(len(y) * height)
        assert columns["centroid_y_um"][index] == pytest.approx(y.mean() * height, abs=1e-9)
        assert columns["centroid_x_um"][index] == pytest.approx(x.mean(), abs=1e-9)
        spread = np.cov(np.stack([y * height, x]).astype(float), bias=True)
        small, large = np.linalg.eigvalsh(spread)
        # Near 0 the root of a difference of nearly equal numbers has few digits.
        assert columns["eccentricity"][index] ** 2 == pytest.approx(1 - small / large if large else 0, abs=1e-9)


@pytest.mark.parametrize("flat", [0.5, 1, 2, 3])
def test_a_disc_has_the_perimeter_of_a_disc_however_flat_its_pixels_are(flat):
    """A disc of 60 um, in pixels of 1 um by `flat` um."""
    mask = ellipse(round(60 / flat), 60)
    columns = table_of(mask, grid(mask, 64), Frame(size_y_um=flat, size_x_um=1.0))[0].columns()
    assert columns["perimeter_um"] == pytest.approx(2 * np.pi * 60, rel=0.02)
    assert columns["area_um2"] == pytest.approx(np.pi * 60**2, rel=0.01)
    assert columns["eccentricity"] == pytest.approx(0, abs=0.15)


@settings(max_examples=50)
@given(st.data(), masks(), st.booleans())
def test_perimeters_do_not_depend_on_tiles_nor_on_which_way_is_up(data, mask, fill_holes):
    def perimeters(mask, regions, height, width):
        table, _ = table_of(
            mask, regions, Frame(size_y_um=height, size_x_um=width), fill_holes=fill_holes, connectivity=4
        )
        return sorted(table.columns()["perimeter_um"])

    whole = perimeters(mask, [Region(0, 0, *mask.shape)], 0.5, 0.2)
    assert perimeters(mask, data.draw(tilings(*mask.shape)), 0.5, 0.2) == pytest.approx(whole)
    turned = np.ascontiguousarray(mask.T)
    assert perimeters(turned, data.draw(tilings(*turned.shape)), 0.2, 0.5) == pytest.approx(whole)


@pytest.mark.parametrize(("step", "right"), [(1.0, [1, 3]), (2.0, [2, 6]), (2.5, [2.5, 7.5])])
def test_outlines_lie_at_full_resolution_and_say_their_level(tmp_path, step, right):
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 1:3] = 1
    at = Frame(0 if step == 1 else 1, step, step)
    table, tiles = table_of(mask, grid(mask, 4), at)
    write_outlines(tmp_path / "a.geojson", (table, tiles))
    write_table(tmp_path / "points.geojson", table)
    outlines, points = (json.loads((tmp_path / name).read_text()) for name in ("a.geojson", "points.geojson"))
    ring = outlines["features"][0]["geometry"]["coordinates"][0]
    assert sorted({x for x, _ in ring}) == sorted({y for _, y in ring}) == right
    assert points["features"][0]["geometry"]["coordinates"] == [sum(right) / 2] * 2
    assert outlines.get("level") == points.get("level") == (None if step == 1 else 1)


@pytest.mark.parametrize(("height", "width"), [(9, 11), (10, 12), (None, None)])
def test_no_outline_and_no_box_reaches_over_the_edge_of_the_finest_level(tmp_path, height, width):
    mask = np.ones((5, 6), np.uint8)
    table, tiles = table_of(mask, grid(mask, 4), Frame(1, 2.0, 2.0, height=height, width=width))
    write_outlines(tmp_path / "a.geojson", (table, tiles))
    [feature] = json.loads((tmp_path / "a.geojson").read_text())["features"]
    ends = (width or 12, height or 10)
    assert tuple(map(max, zip(*feature["geometry"]["coordinates"][0], strict=True))) == ends
    assert (table.columns()["bbox_width"][0], table.columns()["bbox_height"][0]) == ends


UTM = "urn:ogc:def:crs:EPSG::32633"
RING = [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]]


def on_map(down, member=UTM, reach=np.inf):
    """A map of 2 m to a pixel that begins at 100, 200; y grows by `down` a row, and x reaches so far."""

    def at(x, y):
        east = 100 + 2.0 * x
        return np.where(east > reach, np.nan, east), 200 + down * y

    return Map("EPSG:32633", ("x_map", "y_map"), at, member, 4.0)


def signed_area(ring):
    x, y = np.array(ring).T
    return (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2


@pytest.mark.parametrize("down", [-2.0, 2.0])
@pytest.mark.parametrize("member", [UTM, ""])
def test_outlines_on_a_map_turn_left_around_objects_and_right_around_holes(tmp_path, down, member):
    mask = np.array(RING, np.uint8)
    table, tiles = table_of(mask, grid(mask, 4), Frame(map=on_map(down, member)))
    write_outlines(tmp_path / "a.geojson", (table, tiles))
    collection = json.loads((tmp_path / "a.geojson").read_text())
    outer, hole = collection["features"][0]["geometry"]["coordinates"]
    assert (signed_area(outer), signed_area(hole)) == (12 * 4, -4)
    assert sorted({y for _, y in outer}) == sorted({200, 200 + 3 * down})
    assert collection.get("crs", {}).get("properties") == ({"name": UTM} if member else None)
    assert "x_map" not in collection["features"][0]["properties"]["measurements"]


def test_a_map_without_a_name_leaves_outlines_in_pixels(tmp_path):
    mask = np.array(RING, np.uint8)
    for name, at in (("a", Frame(map=on_map(-2.0, None))), ("b", Frame())):
        table, tiles = table_of(mask, grid(mask, 4), at)
        write_outlines(tmp_path / f"{name}.geojson", (table, tiles))
    drawn, plain = (json.loads((tmp_path / name).read_text()) for name in ("a.geojson", "b.geojson"))
    assert drawn["features"][0]["geometry"] == plain["features"][0]["geometry"]
    assert "crs" not in drawn


def test_an_object_beyond_the_map_has_no_geometry_and_a_row_all_the_same(tmp_path):
    mask = np.array([[1, 0, 0, 1]], np.uint8)
    table, tiles = table_of(mask, grid(mask, 4), Frame(map=on_map(-2.0, reach=104)))
    write_outlines(tmp_path / "a.geojson", (table, tiles))
    write_table(tmp_path / "b.geojson", table)
    for name in ("a.geojson", "b.geojson"):
        near, far = json.loads((tmp_path / name).read_text())["features"]
        assert near["geometry"]
        assert far["geometry"] is None
    np.testing.assert_array_equal(table.columns()["x_map"], [101, np.nan])


@pytest.mark.parametrize("step", [1.0, 2.0])
def test_tables_have_places_and_areas_of_the_map(tmp_path, step):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    mask = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    table, _ = table_of(mask, grid(mask, 4), Frame(int(step) - 1, step, step, map=on_map(-2.0)))
    columns = table.columns()
    assert columns["area_m2"].tolist() == [2 * 4 * step**2]
    assert (columns["x_map"].tolist(), columns["y_map"].tolist()) == ([100 + 2 * step], [200 - step])
    write_table(tmp_path / "a.parquet", table)
    assert parquet.read_schema(tmp_path / "a.parquet").metadata[b"crs"] == b"EPSG:32633"
    assert parquet.read_table(tmp_path / "a.parquet")["x_map"].to_pylist() == [100 + 2 * step]


def test_parquet_says_its_level(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    mask = np.ones((3, 3), np.uint8)
    for level in (0, 2):
        table, _ = table_of(mask, grid(mask, 3), Frame(level, 2.0**level, 2.0**level))
        write_table(tmp_path / f"{level}.parquet", table)
    assert parquet.read_schema(tmp_path / "0.parquet").metadata is None
    assert parquet.read_schema(tmp_path / "2.parquet").metadata == {b"level": b"2"}


def test_columns_of_whole_numbers_stay_whole_at_a_level(tmp_path):
    mask = np.ones((3, 3), np.uint8)
    table, _ = table_of(mask, grid(mask, 3), Frame(1, 2.5, 2.5))
    write_table(tmp_path / "a.csv", table)
    with (tmp_path / "a.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["area_px"], row["bbox_y"], row["bbox_height"]) == ("56", "0", "8")


def test_pages_have_their_times_and_slices(tmp_path):
    mask = np.ones((3, 3), np.uint8)
    table, tiles = table_of(mask, grid(mask, 3), Frame())
    steps = [(("t", t), ("z", z)) for t in range(2) for z in range(2)]
    pages = [replace(table, steps=each) for each in steps]
    write_table(tmp_path / "a.csv", *pages)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = [(row["page"], row["t"], row["z"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0", "0"), ("1", "0", "1"), ("2", "1", "0"), ("3", "1", "1")]
    write_outlines(tmp_path / "a.geojson", *((page, tiles) for page in pages))
    write_table(tmp_path / "b.geojson", *pages)
    for name in ("a.geojson", "b.geojson"):
        planes = [each["geometry"]["plane"] for each in json.loads((tmp_path / name).read_text())["features"]]
        assert planes == [{"c": -1, "z": z, "t": t} for t in range(2) for z in range(2)]
