"""Objects of a georeferenced image lie on its map: what is drawn there by other programs is the mask."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug
from command_line import error
from command_line import unet_deploy as run

import unet_deploy as api
from unet_deploy.errors import ImageError, MissingPackageError, UsageError
from unet_deploy.images import open_image
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.tiling import Region

UTM, WORLD, OWN = (1, 3072, 32633), (2, 2048, 4326), (1, 3072, 32767)
NORTH_UP = [(33550, "d", 3, (0.5, 0.25, 0.0)), (33922, "d", 6, (10.0, 20.0, 0.0, 5e5, 6e6, 0.0))]
TURNED = [(34264, "d", 16, (0.3, 0.1, 0, 5e5, 0.2, -0.4, 0, 6e6, 0, 0, 0, 0, 0, 0, 0, 1))]
DEGREES = [(33550, "d", 3, (1e-5, 1e-5, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 15.0, 54.0, 0.0))]
ROI = Region(90, 100, 150, 200)


def slide(path, system=UTM, place=NORTH_UP, raster_type=1, times=1):
    """A pyramid of odd sides whose nuclei lie on a map; `system` None for an image that lies on none."""
    grey = (np.indices((301, 421)).sum(0) % 90).astype(np.uint8)
    grey[60:120, 80:150] = 220
    grey[150:301, 200:421] = 180
    grey[180:220, 240:300] = 20
    grey = np.tile(grey, (times, times))
    tags = []
    if system:
        model, key, code = system
        keys = (1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, raster_type, key, 0, 1, code)
        tags = [(*each, True) for each in (*place, (34735, "H", len(keys), keys))]
    with tifffile.TiffWriter(path) as file:
        file.write(grey, tile=(64, 64), subifds=1, extratags=tags, metadata=None)
        file.write(grey[::2, ::2], tile=(64, 64), subfiletype=1, metadata=None)
    return path


def segmented(image, model, table, coordinates="auto", **options):
    """The mask and the table of an image, and the report."""
    outputs = Outputs(image.with_name("mask.tif"), objects=image.with_name(table))
    rules = ObjectRules(min_size=20, coordinates=coordinates, split=0, fill_holes=False, peak=0)
    options = Options(objects=rules, overwrite=True, **options)
    return outputs.mask, outputs.objects, segment_file(image, outputs, model, options)


def drawn(mask, outlines):
    """The mask that GDAL draws of outlines, (H, W)."""
    if not shutil.which("gdal_rasterize"):
        pytest.skip("GDAL (gdal-bin) is not installed")
    made = outlines.with_name("drawn.tif")
    made.unlink(missing_ok=True)
    for words in (
        ("gdal_translate", "-q", "-ot", "Byte", "-scale", 0, 255, 0, 0, mask, made),
        ("gdal_rasterize", "-q", "-burn", 1, outlines, made),
    ):
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return tifffile.imread(made)


def of_size(mask, least=20):
    """A mask (H, W) without its objects of fewer pixels, as 0 and 1."""
    from scipy import ndimage

    ids, _ = ndimage.label(mask)
    return (np.bincount(ids.ravel()) >= least)[ids] & (ids > 0)


@pytest.mark.parametrize("raster_type", [1, 2])
@pytest.mark.parametrize("place", [NORTH_UP, TURNED])
@pytest.mark.parametrize("options", [{}, {"level": 1}, {"roi": ROI}])
def test_gdal_draws_the_mask_from_its_outlines(tmp_path, nuclei, place, raster_type, options):
    image = slide(tmp_path / "a.tif", place=place, raster_type=raster_type)
    mask, outlines, report = segmented(image, nuclei, "a.geojson", **options)
    assert report.places == "outlines are in EPSG:32633, not in pixels as QuPath has them"
    truth = of_size(tifffile.imread(mask))
    assert truth.any()
    last = slice(-1)  # of the level's last row and column, half is beyond the image, and their centres on its edge
    np.testing.assert_array_equal(drawn(mask, outlines)[last, last] > 0, truth[last, last])


def test_gdal_draws_the_mask_from_outlines_in_wgs84(tmp_path, nuclei):
    pytest.importorskip("pyproj")
    image = slide(tmp_path / "a.tif")
    mask, outlines, _ = segmented(image, nuclei, "a.geojson", "wgs84")
    assert "crs" not in json.loads(outlines.read_text())
    on_map = tmp_path / "map.geojson"
    if shutil.which("ogr2ogr"):
        words = ("ogr2ogr", "-t_srs", "EPSG:32633", "-lco", "COORDINATE_PRECISION=6", on_map, outlines)
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
    np.testing.assert_array_equal(drawn(mask, on_map) > 0, of_size(tifffile.imread(mask)))


def test_rasterio_finds_the_centroids_in_their_objects(tmp_path, nuclei):
    rasterio = pytest.importorskip("rasterio")
    image = slide(tmp_path / "a.tif", place=TURNED, raster_type=2)
    mask, table, _ = segmented(image, nuclei, "a.csv")
    with rasterio.open(mask) as file, table.open(newline="") as rows:
        assert file.crs.to_epsg() == 32633
        for row in csv.DictReader(rows):
            y, x = rasterio.transform.rowcol(file.transform, float(row["x_map"]), float(row["y_map"]), op=float)
            assert (x - 0.5, y - 0.5) == pytest.approx((float(row["centroid_x"]), float(row["centroid_y"])), abs=2e-3)


def test_a_table_has_the_map_beside_pixels(tmp_path, nuclei):
    image = slide(tmp_path / "a.tif")
    _, table, report = segmented(image, nuclei, "a.csv")
    assert report.places == "places are in pixels, and in EPSG:32633 as x_map and y_map"
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["area_m2"]) == pytest.approx(0.125 * int(row["area_px"]))
            assert float(row["x_map"]) == pytest.approx(5e5 + 0.5 * (float(row["centroid_x"]) + 0.5 - 10), abs=1e-3)
            assert float(row["y_map"]) == pytest.approx(6e6 - 0.25 * (float(row["centroid_y"]) + 0.5 - 20), abs=1e-3)


def test_pixels_are_what_qupath_gets_where_they_are_asked_for_or_all_there_is(tmp_path, nuclei):
    flat = slide(tmp_path / "flat.tif", None)
    _, outlines, report = segmented(flat, nuclei, "flat.geojson")
    assert report.places == ""
    truth = outlines.read_bytes()
    image = slide(tmp_path / "a.tif")
    _, outlines, report = segmented(image, nuclei, "a.geojson", "pixels")
    assert outlines.read_bytes() == truth
    assert report.places == "places are in pixels, not on the map that the image lies on"


def test_degrees_are_wgs84_by_themselves_and_have_no_areas(tmp_path, nuclei):
    image = slide(tmp_path / "a.tif", WORLD, DEGREES)
    asked = [segmented(image, nuclei, f"{each}.geojson", each)[1:] for each in ("auto", "wgs84")]
    assert asked[0][0].read_bytes() == asked[1][0].read_bytes()
    assert "crs" not in json.loads(asked[0][0].read_text())
    assert asked[0][1].places.endswith("; no areas in square metres: it counts in degrees")
    header = segmented(image, nuclei, "a.csv", "wgs84")[1].read_text().splitlines()[0]
    assert "longitude,latitude" in header
    assert "area_m2" not in header


def test_a_system_without_a_code_is_named_nowhere(tmp_path, nuclei):
    image = slide(tmp_path / "a.tif", OWN)
    _, outlines, report = segmented(image, nuclei, "a.geojson")
    assert "outlines are in pixels: the image lies in a reference system without an EPSG code" in report.places
    assert "crs" not in json.loads(outlines.read_text())
    assert "x_map" in segmented(image, nuclei, "a.csv")[1].read_text()
    with pytest.raises(ImageError, match="which GeoJSON cannot name; take pixels"):
        segmented(image, nuclei, "a.geojson", "map")
    with pytest.raises(ImageError, match="cannot be brought to WGS 84"):
        segmented(image, nuclei, "a.csv", "wgs84")


def test_outlines_go_on_beyond_the_180th_meridian(tmp_path, nuclei):
    pyproj = pytest.importorskip("pyproj")
    x, y = pyproj.Transformer.from_crs(4326, 32660, always_xy=True).transform(180.0, 54.0)
    place = [NORTH_UP[0], (33922, "d", 6, (260.0, 200.0, 0.0, x, y, 0.0))]
    image = slide(tmp_path / "a.tif", (1, 3072, 32660), place)
    _, outlines, _ = segmented(image, nuclei, "a.geojson", "wgs84")
    spans = []
    for feature in json.loads(outlines.read_text())["features"]:
        polygons = feature["geometry"]["coordinates"]
        polygons = [polygons] if feature["geometry"]["type"] == "Polygon" else polygons
        longitudes = [point[0] for rings in polygons for ring in rings for point in ring]
        spans.append((min(longitudes), max(longitudes)))
    assert max(high - low for low, high in spans) < 0.01
    assert any(low < 180 < high for low, high in spans)


@pytest.mark.parametrize("layout", ["strips", "tiles"])
def test_gdal_finds_classes_as_bands_with_names(tmp_path, small_models, layout):
    if not shutil.which("gdal_translate"):
        pytest.skip("GDAL (gdal-bin) is not installed")
    image = slide(tmp_path / "a.tif")
    outputs = Outputs.beside(tmp_path / "mask.tif", probabilities=True, layout=layout)
    segment_file(image, outputs, small_models["three"])
    said = subprocess.run(["gdalinfo", "-json", outputs.probabilities], capture_output=True, check=True).stdout
    found = json.loads(said)
    with open_image(outputs.probabilities) as source:
        scores = source.crop(0, source.info.region)
        assert source.info.channels == len(found["bands"]) == 3
    assert len({band["description"] for band in found["bands"]} - {""}) == 3
    assert found["geoTransform"] == [5e5 - 5, 0.5, 0, 6e6 + 5, 0, -0.25]
    raw = tmp_path / "raw.img"
    subprocess.run(["gdal_translate", "-q", "-of", "ENVI", outputs.probabilities, raw], check=True, capture_output=True)
    np.testing.assert_array_equal(np.fromfile(raw, np.float32).reshape(3, 301, 421), scores)
    np.testing.assert_array_equal(scores.argmax(0), tifffile.imread(outputs.mask))


@pytest.mark.parametrize("layout", ["strips", "tiles"])
def test_bands_of_a_resumed_run_are_those_of_a_run_at_once(tmp_path, small_models, monkeypatch, layout):
    image = slide(tmp_path / "a.tif", times=2)
    once, again = (
        Outputs.beside(tmp_path / name / "mask.tif", probabilities=True, layout=layout) for name in ("once", "again")
    )
    with api.open_model(small_models["three"], probabilities=True) as model:
        for outputs in (once, again):
            outputs.mask.parent.mkdir()
        segment_file(image, once, model, Options(120))
        pull_the_plug(monkeypatch, model, 60)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(image, again, model, Options(120))
        assert segment_file(image, again, model, Options(120, resume=True)).timing.resumed > 0
    assert once.probabilities.read_bytes() == again.probabilities.read_bytes()


def test_what_is_asked_for_in_vain_is_one_line_before_anything_is_made(tmp_path, nuclei, monkeypatch):
    flat = slide(tmp_path / "flat.tif", None)
    words = ("segment", flat, "-o", tmp_path / "mask.tif", "-m", nuclei, "--objects", "csv", "--coordinates", "map")
    for more in ((), ("--dry-run",)):
        assert "does not say where on a map it lies" in error(*words, *more, code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat.tif"]
    image = slide(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "pyproj", None)
    monkeypatch.setattr("unet_deploy.system.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"needs pyproj; run: pip install 'unet-deploy\[geo\]'"):
        segmented(image, nuclei, "a.csv", "wgs84")
    with pytest.raises(UsageError, match="there are auto, pixels, map, wgs84"):
        ObjectRules(coordinates="utm")


def test_the_command_line_says_in_what_places_are(tmp_path, nuclei):
    image = slide(tmp_path / "a.tif")
    _, said = run("segment", image, "-o", tmp_path / "mask.tif", "-m", nuclei, "--objects", "geojson")
    assert "outlines are in EPSG:32633, not in pixels as QuPath has them" in said
    shown, _ = run("info", image)
    assert "EPSG:32633, 0.125 square metres a pixel" in shown
    with open_image(tmp_path / "mask.tif") as mask, open_image(image) as source:
        assert mask.info.on_map == source.info.on_map
    assert Path(tmp_path / "mask.objects.geojson").exists()


def test_a_mask_that_cannot_say_its_map_is_spoken_of(tmp_path, nuclei):
    pytest.importorskip("zarr")
    image = slide(tmp_path / "slide.tif")
    _, told = run("segment", image, "-o", tmp_path / "mask.zarr", "-m", nuclei)
    assert "mask.zarr: the image lies on a map, which this kind of file does not say; take .tif to keep it" in told
    _, told = run("segment", image, "-o", tmp_path / "mask.tif", "-m", nuclei)
    assert "lies on a map" not in told
