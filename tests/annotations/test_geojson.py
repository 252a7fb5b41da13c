"""Annotations of QuPath and our own outlines are read as they were drawn."""

import json

import numpy as np
import pytest
from drawn_masks import CLASSES, NAMES, SQUARE, box, classes_of, feature, numbered_masks, partition, write_features
from hypothesis import given, settings

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.geojson import read_geojson
from unet_deploy.annotations.paint import paint
from unet_deploy.errors import DataError
from unet_deploy.objects import Objects
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.tiling import Region


@settings(max_examples=150)
@given(numbered_masks())
def test_mask_to_geojson_to_mask_changes_nothing(tmp_path_factory, numbers):
    region = Region(0, 0, *numbers.shape)
    objects = Objects(region, channels=1, classes=NAMES)
    objects.add(region, numbers[None], numbers)
    table, instances = objects.finish(), objects.instances(region, numbers)
    if not instances.any():
        return
    path = tmp_path_factory.getbasetemp() / "identity.geojson"
    write_outlines(path, (table, [(region, instances)]), overwrite=True)
    painted = paint(read_geojson(path), numbers.shape, CLASSES)
    np.testing.assert_array_equal(painted.labels, classes_of(numbers))
    assert partition(painted.objects) == partition(instances)


def painted(path, classes=UNNAMED):
    return paint(read_geojson(path), (8, 10), classes)


@pytest.mark.parametrize(
    "wrapped", [lambda each: {"type": "FeatureCollection", "features": [each]}, lambda each: [each]]
)
def test_collections_and_bare_lists_are_one(tmp_path, wrapped):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(wrapped(feature("cell", SQUARE))))
    assert painted(path).labels.sum() == 16


@pytest.mark.parametrize("said", ["Tumor", {"name": "Tumor"}, {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}])
def test_classes_are_named_as_every_version_of_qupath_does(tmp_path, said):
    drawn = feature(None, SQUARE)
    drawn["properties"]["classification"] = said
    path = write_features(tmp_path / "a.geojson", drawn)
    assert painted(path, ("background", "stroma", "tumor")).labels.max() == 2


def test_a_multipolygon_is_one_object(tmp_path):
    drawn = feature("cell", SQUARE)
    rings = [[[*ring, ring[0]]] for ring in (box(0, 0, 2, 2), box(5, 5, 8, 8))]
    drawn["geometry"] = {"type": "MultiPolygon", "coordinates": rings}
    found = painted(write_features(tmp_path / "a.geojson", drawn)).objects
    assert (found.max(), (found > 0).sum()) == (1, 13)


def changed(**geometry):
    drawn = feature("cell", SQUARE)
    drawn["geometry"] |= geometry
    return [drawn]


REFUSED = {
    "is a point, which has no area": changed(type="Point", coordinates=[3, 3]),
    "is a line, which has no area": changed(type="LineString", coordinates=[[3, 3], [5, 5]]),
    "is open": changed(coordinates=[SQUARE]),
    "no pairs of numbers": changed(coordinates=[[["a", 1], [2, 2], ["a", 1]]]),
    "lies on plane z 2 of a stack": changed(plane={"z": 2, "t": 0}),
    "annotation of no class around shapes that have one": [feature(None, SQUARE), feature("cell", SQUARE)],
    "annotation of no class beside detections": [feature(None, SQUARE), feature("cell", SQUARE, kind="detection")],
    "nothing is drawn in it": [],
    "is damaged, or no GeoJSON": [{"type": "Feature", "geometry": {"type": "Polygon"}}],
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_area_in_pixels_is_refused_by_name(tmp_path, said):
    with pytest.raises(DataError, match=rf"a\.geojson: .*{said}"):
        painted(write_features(tmp_path / "a.geojson", *REFUSED[said]))


def test_places_on_a_map_are_refused(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": {"type": "name"}, "features": []}))
    with pytest.raises(DataError, match="on a map"):
        read_geojson(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"type": "FeatureCollection", "features": 3}'])
def test_what_is_no_geojson_is_said_in_a_line(tmp_path, text):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.geojson: is (no JSON|damaged)"):
        read_geojson(path)


def test_a_file_that_is_not_there_is_said_in_words(tmp_path):
    with pytest.raises(DataError, match=r"a\.geojson: no such file$"):
        read_geojson(tmp_path / "a.geojson")
