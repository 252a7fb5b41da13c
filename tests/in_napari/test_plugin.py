"""The plugin in a real napari: what it opens, what it segments, and that a big slide is not read whole."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="napari is not installed: make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed: make test-napari")

from npe2 import PluginManifest

from unet_deploy import Outputs, segment_file
from unet_deploy.measure.sample import write_sample
from unet_deploy.napari.layers import LOADED
from unet_deploy.napari.lazy import LazyArray
from unet_deploy.napari.panel import CLASSES, FROM_FILE, SegmentPanel
from unet_deploy.napari.reader import get_reader
from unet_deploy.system.colours import ORANGE
from unet_deploy.viewing.layer import Layer

PLUGIN = "unet-deploy"
SIDE = 512


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The sample slide and all that `segment` makes of it."""
    folder = tmp_path_factory.mktemp("slide")
    write_sample(folder / "slide.tif", SIDE, SIDE, truth=folder / "slide.truth.tif", seed=3)
    named = {"objects": folder / "slide.mask.objects.csv", "instances": folder / "slide.mask.instances.tif"}
    segment_file(folder / "slide.tif", Outputs.beside(folder / "slide.mask.tif", probabilities=True, **named))
    return folder


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=False)


@pytest.fixture
def panel(viewer, files):
    viewer.open(files / "slide.tif", plugin=PLUGIN)
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Segment")
    return panel


def segmented(panel, qtbot):
    """The layer that comes of what is chosen, once it is there."""
    panel.begin()
    qtbot.waitUntil(lambda: not panel.bar.visible and panel.run.enabled and panel._begun is None, timeout=120_000)
    return panel._viewer.layers[-1]


def test_the_manifest_is_valid_and_in_the_package():
    assert PluginManifest.from_distribution(PLUGIN).display_name == "unet-deploy"


def test_npe2_finds_every_command():
    command = [sys.executable, "-m", "npe2", "validate", PLUGIN, "--imports"]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_image_is_a_layer_of_its_size_on_the_slide(viewer, files):
    (layer,) = viewer.open(files / "slide.tif", plugin=PLUGIN)
    assert np.array_equal(np.asarray(layer.data), tifffile.imread(files / "slide.tif"))
    assert layer.scale.tolist() == [0.5, 0.5]
    assert [f"{unit}" for unit in layer.units] == ["micrometer"] * 2


def test_a_mask_has_the_colours_and_names_of_its_classes(viewer, files):
    (layer,) = viewer.open(files / "slide.mask.tif", plugin=PLUGIN)
    assert np.array_equal(layer.data, tifffile.imread(files / "slide.mask.tif"))
    assert list(layer.features["class"]) == ["background", "nucleus"]
    assert np.allclose(layer.get_color(1)[:3], np.array(ORANGE) / 255)


def test_numbered_objects_have_the_table_beside_them(viewer, files):
    (layer,) = viewer.open(files / "slide.mask.instances.tif", plugin=PLUGIN)
    areas = dict(zip(layer.features["index"], layer.features["area_px"], strict=True))
    assert areas == dict(enumerate(np.bincount(layer.data.ravel())[1:], start=1))


def test_probabilities_are_an_image_for_each_class(viewer, files):
    (layer,) = viewer.open(files / "slide.mask.probabilities.tif", plugin=PLUGIN)
    assert layer.name.endswith(": nucleus")
    assert np.array_equal(np.asarray(layer.data) > 0.5, tifffile.imread(files / "slide.mask.tif") == 1)


def test_channels_are_layers_of_their_names(viewer, tmp_path):
    stored = np.random.default_rng(0).integers(0, 999, (2, 3, 40, 50)).astype(np.uint16)
    names = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, photometric="minisblack", metadata=names)
    layers = viewer.open(tmp_path / "a.ome.tif", plugin=PLUGIN)
    assert [layer.name for layer in layers] == ["a.ome.tif: DAPI", "a.ome.tif: GFP", "a.ome.tif: RFP"]
    assert np.array_equal(np.asarray(layers[1].data), stored[:, 1])


def test_an_ome_zarr_and_the_mask_in_it_are_opened_by_their_folders(viewer, files, tmp_path):
    zarr = pytest.importorskip("zarr")
    slide = tifffile.imread(files / "slide.tif")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    levels = []
    for level in range(2):
        group.create_array(str(level), data=slide[:: 2**level, :: 2**level])
        scale = {"type": "scale", "scale": [0.5 * 2**level] * 2}
        levels.append({"path": str(level), "coordinateTransformations": [scale]})
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    segment_file(tmp_path / "a.zarr", tmp_path / "a.zarr" / "labels" / "cells")
    (image,) = viewer.open(tmp_path / "a.zarr", plugin=PLUGIN)
    (mask,) = viewer.open(tmp_path / "a.zarr" / "labels" / "cells", plugin=PLUGIN)
    assert [each.shape for each in image.data] == [(SIDE, SIDE), (SIDE // 2, SIDE // 2)]
    assert image.scale.tolist() == mask.scale.tolist() == [0.5, 0.5]
    assert np.array_equal(mask.data, tifffile.imread(files / "slide.mask.tif"))


def test_what_is_no_image_is_left_to_others(tmp_path):
    (tmp_path / "a.tif").write_text("none")
    assert get_reader(str(tmp_path / "a.tif")) is None


def test_a_big_slide_is_opened_without_being_read(viewer, tmp_path, monkeypatch):
    side = 16_384
    with tifffile.TiffWriter(tmp_path / "big.tif", bigtiff=True) as tiff:
        for level in range(5):
            small = side >> level
            tiles = (np.zeros((2048, 2048), np.uint8) for _ in range(max(1, small // 2048) ** 2))
            how = {"tile": (2048, 2048), "compression": "zlib", "shape": (small, small), "dtype": np.uint8}
            tiff.write(tiles, **how, **({"subifds": 4} if level == 0 else {"subfiletype": 1}))
    read = []
    really = Layer.read
    monkeypatch.setattr(
        Layer,
        "read",
        lambda self, page, level, part: (read.append(part.height * part.width), really(self, page, level, part))[1],
    )
    (layer,) = viewer.open(tmp_path / "big.tif", plugin=PLUGIN)
    assert layer.data.shapes[0] == (side, side)
    assert len(layer.data) == 5
    assert sum(read) < side**2 / 50


def test_the_sample_is_a_slide_with_its_truth(viewer):
    slide, truth = viewer.open_sample(PLUGIN, "nuclei")
    assert slide.data.shape == truth.data.shape == (2048, 2048)
    assert not truth.visible
    assert slide.data.size <= LOADED


def test_the_widget_makes_numbered_objects_with_their_table(panel, files, qtbot):
    layer = segmented(panel, qtbot)
    assert np.array_equal(layer.data, tifffile.imread(files / "slide.mask.instances.tif"))
    assert list(layer.features["index"]) == list(range(1, layer.data.max() + 1))
    assert (layer.scale == panel.image.value.scale).all()
    assert panel.said.text().startswith(f"{layer.data.max()} objects in ")


def test_a_region_is_segmented_where_it_lies(panel, qtbot):
    corners = np.array([[100, 200], [100, 420], [300, 420], [300, 200]]) * 0.5
    shapes = panel._viewer.add_shapes([corners], units=("um", "um"))
    panel.region.value = shapes
    panel.result.value = CLASSES
    layer = segmented(panel, qtbot)
    assert layer.data.shape == (201, 221)
    assert layer.translate.tolist() == [50, 100]
    slide = np.asarray(panel.image.value.data)[100:301, 200:421]
    assert slide[layer.data == 1].mean() > 3 * slide[layer.data == 0].mean()


def test_a_turned_layer_has_its_answer_turned(panel, qtbot):
    image = panel._viewer.add_image(np.asarray(panel.image.value.data), rotate=30, translate=(7, 9), name="turned")
    panel.image.value = image
    panel.region.value = panel._viewer.add_shapes(
        [[image.data_to_world(each) for each in ([50, 60], [50, 200], [180, 200], [180, 60])]], shape_type="polygon"
    )
    layer = segmented(panel, qtbot)
    assert np.allclose(layer.data_to_world((0, 0)), image.data_to_world((50, 60)))
    assert np.allclose(layer.data_to_world((9, 4)), image.data_to_world((59, 64)))


def test_a_region_of_a_stack_is_that_of_every_plane(panel, qtbot):
    slide = np.asarray(panel.image.value.data)
    panel.image.value = panel._viewer.add_image(np.stack([slide, slide[::-1]]), scale=(3, 2, 2), name="stack")
    panel.region.value = panel._viewer.add_shapes([np.array([[40, 60], [40, 239], [139, 239], [139, 60]]) * 2])
    panel.result.value = CLASSES
    layer = segmented(panel, qtbot)
    assert layer.data.shape == (2, 100, 180)
    assert layer.translate.tolist() == [0, 80, 120]


def test_an_answer_too_large_to_load_is_read_where_it_is_looked_at(panel, files, qtbot, monkeypatch):
    monkeypatch.setattr("unet_deploy.napari.answer.LOADED", 1)
    monkeypatch.setattr("unet_deploy.napari.layers.LOADED", 1)
    layer = segmented(panel, qtbot)
    assert isinstance(layer.data, LazyArray)
    assert np.array_equal(np.asarray(layer.data), tifffile.imread(files / "slide.mask.instances.tif"))
    assert layer.get_value(np.argwhere(np.asarray(layer.data) == 3)[0] * 0.5, world=True) == 3


def test_what_is_missing_is_said_in_a_line(panel, qtbot):
    panel.region.value = panel._viewer.add_shapes(name="drawn")
    panel.begin()
    assert panel.said.text() == "drawn: has no shape; draw a rectangle around what is to be segmented"
    panel.model.value = FROM_FILE
    panel.region.value = "whole layer"
    panel.begin()
    assert panel.said.text() == "there is no model; choose its file"


def test_cancel_ends_it_and_makes_no_layer(panel, qtbot):
    slide = np.asarray(panel.image.value.data)
    panel.image.value = panel._viewer.add_image(np.tile(slide, (8, 8)), name="large")
    panel.begin()
    panel.cancel()
    qtbot.waitUntil(lambda: panel._begun is None, timeout=60_000)
    assert panel.said.text() == "Cancelled"
    assert [layer.name for layer in panel._viewer.layers] == ["slide.tif", "large"]


def test_closing_the_widget_ends_what_it_does(panel, viewer, qtbot):
    slide = np.asarray(panel.image.value.data)
    panel.image.value = viewer.add_image(np.tile(slide, (8, 8)), name="large")
    panel.begin()
    work = panel._begun.work
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not work.is_running, timeout=60_000)
    assert work.is_cancelled
    assert work.made is None


def test_without_an_image_there_is_nothing_to_segment(viewer):
    panel = SegmentPanel(viewer)
    panel.begin()
    assert panel.said.text().startswith("there is no image")
