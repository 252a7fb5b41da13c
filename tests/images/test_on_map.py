"""The place of a pixel on a map is the one that GDAL finds, however the file says it, and nonsense is no place."""

import doctest
import shutil
import subprocess
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.images import on_map, open_image

AREA, POINT = 1, 2
UTM, DEGREES, OWN = (1, 3072, 32633), (2, 2048, 4326), (1, 3072, 32767)
TIES = {33550: ("d", (0.5, 0.25, 0.0)), 33922: ("d", (10.0, 20.0, 0.0, 5e5, 6e6, 0.0))}
TURNED = {34264: ("d", (0.3, 0.1, 0, 5e5, 0.2, -0.4, 0, 6e6, 0, 0, 0, 0, 0, 0, 0, 1))}
SEVERAL = {33550: ("d", (0.5, 0.25, 0.0)), 33922: ("d", (0.0, 0, 0, 5e5, 6e6, 0, 99, 99, 0, 0, 0, 0))}
FLIPPED = {33550: ("d", (0.5, -0.25, 0.0)), 33922: TIES[33922]}


def keys(system, raster_type=AREA, **more):
    """The directory of keys: kind and code of a system, what whole numbers are, and others by `k` and their code."""
    model, key, code = system
    said = {1024: model, 1025: raster_type, key: code} | {int(name[1:]): value for name, value in more.items()}
    rows = [(key, 0, 1, value) for key, value in sorted(said.items())]
    return {34735: ("H", (1, 1, 0, len(rows), *(number for row in rows for number in row)))}


def georeferenced(path, *tags, pixels=None):
    pixels = np.zeros((40, 50), np.uint8) if pixels is None else pixels
    said = {code: value for each in tags for code, value in each.items()}
    extra = [(code, kind, len(value), value, True) for code, (kind, value) in sorted(said.items())]
    tifffile.imwrite(path, pixels, extratags=extra, metadata=None, photometric="minisblack")
    return path


def place_of(path, **options):
    with open_image(path, **options) as source:
        return source.info.on_map


def test_examples_are_true():
    assert doctest.testmod(on_map).failed == 0


@pytest.mark.parametrize("raster_type", [AREA, POINT])
@pytest.mark.parametrize("tags", [TIES, TURNED, SEVERAL, FLIPPED])
def test_gdal_finds_the_same_places(tmp_path, tags, raster_type):
    if not shutil.which("gdaltransform"):
        pytest.skip("GDAL (gdal-bin) is not installed")
    path = georeferenced(tmp_path / "a.tif", keys(UTM, raster_type), tags)
    points = np.array([(0, 0), (50, 0), (0.5, 0.5), (12, 33)], float)
    asked = "\n".join(f"{x} {y}" for x, y in points)
    said = subprocess.run(["gdaltransform", str(path)], input=asked, capture_output=True, text=True, check=True).stdout
    truth = np.array([line.split()[:2] for line in said.splitlines()], float)
    np.testing.assert_allclose(np.stack(place_of(path).at(*points.T), axis=1), truth, rtol=0, atol=1e-6)


def test_a_point_is_half_a_pixel_off_an_area(tmp_path):
    area, point = (
        place_of(georeferenced(tmp_path / f"{kind}.tif", keys(UTM, kind), TIES)).matrix for kind in (AREA, POINT)
    )
    assert (area[0], area[3]) == (5e5 - 10 * 0.5, 6e6 + 20 * 0.25)
    assert (area[0] - point[0], point[3] - area[3]) == (0.25, 0.125)


@pytest.mark.parametrize(
    ("system", "more", "metres", "why"),
    [
        (UTM, {}, 1.0, ""),
        ((1, 3072, 2263), {"k3076": 9003}, 1200 / 3937, ""),
        ((1, 3072, 2263), {}, None, "its unit of length is not known"),
        ((1, 3072, 3857), {"k3076": 9001}, 1.0, "it stretches areas"),
        (OWN, {"k3076": 9036}, 1000.0, ""),
        (DEGREES, {}, None, "it counts in degrees"),
    ],
)
def test_areas_are_told_where_the_map_tells_them(tmp_path, system, more, metres, why):
    found = place_of(georeferenced(tmp_path / "a.tif", keys(system, **more), TIES))
    assert (found.metres, found.why_no_area) == (metres, why)
    assert found.epsg == (None if system == OWN else system[2])
    assert found.pixel_m2 == (None if why else pytest.approx(0.125 * metres**2))


@pytest.mark.parametrize(
    "tags",
    [
        (TIES,),
        (keys(UTM),),
        (keys((3, 2048, 4978)), TIES),
        (keys(UTM), {33922: ("d", (0.0,) * 24)}),
        (keys(UTM), {33550: ("d", (np.nan, 1.0, 0.0)), 33922: TIES[33922]}),
        (keys(UTM), {34264: ("d", (1.0,) * 16)}),
        ({34735: ("H", (1, 1, 0, 9, 1024, 0, 1))}, TIES),
        ({34735: ("s", "text")}, {33550: ("s", "text")}),
    ],
)
def test_what_is_no_place_is_none(tmp_path, tags):
    assert place_of(georeferenced(tmp_path / "a.tif", *tags)) is None


NUMBERS = st.floats(width=64) | st.sampled_from([0.0, 1.0, -1.0, 1e-308, 1e308])
TAGS = st.fixed_dictionaries(
    {},
    optional={
        33550: st.tuples(st.just("d"), st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)),
        33922: st.tuples(st.just("d"), st.lists(NUMBERS, min_size=1, max_size=12).map(tuple)),
        34264: st.tuples(st.just("d"), st.lists(NUMBERS, min_size=15, max_size=17).map(tuple)),
        34736: st.tuples(st.just("d"), st.lists(NUMBERS, min_size=1, max_size=3).map(tuple)),
        34735: st.tuples(
            st.just("H"),
            st.lists(st.sampled_from([0, 1, 2, 4326, 9001, 1024, 1025, 2048, 3072, 3076, 3077, 34736]), min_size=1).map(
                lambda rest: (1, 1, 0, 3, 1024, 0, 1, 1, *rest)
            ),
        ),
    },
)


@settings(max_examples=200)
@given(TAGS)
def test_whatever_is_said_is_a_place_or_none(tags):
    data = BytesIO()
    georeferenced(data, tags)
    data.seek(0)
    with tifffile.TiffFile(data) as file:
        place = on_map.on_map(file.pages[0])
    if place is not None:
        assert np.isfinite(place.matrix).all()
        assert place.decimals >= 0
        assert place.pixel_m2 is None or place.pixel_m2 > 0
