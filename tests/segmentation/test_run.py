"""From a path to files: what is opened, who computes, and what an unfinished run must have in common with the next."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from command_line import error

import unet_deploy as api
from unet_deploy.cli import app
from unet_deploy.errors import UsageError
from unet_deploy.images import open_image
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.images.tiff import TiffSource
from unet_deploy.segmentation.compute import stream_here
from unet_deploy.segmentation.forecast import forecast
from unet_deploy.segmentation.inputs import find_images, name_outputs
from unet_deploy.segmentation.run import begin_file
from unet_deploy.tiling import Region


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(speckle, subifds=1, tile=(128, 128), metadata={"axes": "YX", **size})
        file.write(speckle[::2, ::2], tile=(128, 128), subfiletype=1)
    return path


@pytest.fixture
def opened(monkeypatch):
    """How often a TIFF was opened."""
    begin, times = TiffSource.__init__, []

    def counted(self, *arguments, **options):
        times.append(arguments)
        begin(self, *arguments, **options)

    monkeypatch.setattr(TiffSource, "__init__", counted)
    return times


def test_the_command_opens_a_single_image_once(slide, tmp_path, small_models, opened):
    words = ["segment", str(slide), "-m", str(small_models["one"]), "--level", "1", "-o", str(tmp_path / "mask.tif")]
    app(words, standalone_mode=False)
    assert len(opened) == 1
    assert tifffile.imread(tmp_path / "mask.tif").shape == (250, 250)


def test_paths_are_enough_and_the_image_is_opened_once(slide, tmp_path, small_models, speckle, opened):
    report = api.segment_file(slide, tmp_path / "mask.tif", small_models["one"])
    assert len(opened) == 1
    assert report.megapixels == 0.25
    expected = api.segment(speckle, model=small_models["one"])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), expected)


def test_the_level_is_chosen_on_the_image_that_is_open(slide, tmp_path, small_models, speckle, opened, monkeypatch):
    with api.open_model(small_models["one"]) as model:
        monkeypatch.setattr(model, "card", replace(model.card, pixel_size_um=1.1))
        api.segment_file(slide, tmp_path / "mask.tif", model, api.Options(level=None))
        assert len(opened) == 1
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "mask.tif"), api.segment(speckle[::2, ::2], model=model)
        )


@pytest.mark.parametrize(("pages", "is_small"), [(1, True), (5, False)])
def test_files_of_small_images_may_get_their_names_beside_the_next(tmp_path, small_models, speckle, pages, is_small):
    image, mask = tmp_path / "image.tif", tmp_path / "mask.tif"
    tifffile.imwrite(image, np.stack([speckle] * pages), photometric="minisblack")
    with api.open_model(small_models["one"], device="cpu") as model:
        end = begin_file(image, mask, model)
        assert mask.exists() is not is_small
        report = end()
        expected = api.segment(speckle, model=model)
    assert report.megapixels == 0.25 * pages
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.tif", "mask.tif"]
    np.testing.assert_array_equal(tifffile.imread(mask).reshape(pages, 500, 500)[-1], expected)


def test_what_counts_objects_is_not_loaded_where_none_are_counted(slide, tmp_path, small_models):
    script = (
        "import sys, unet_deploy; unet_deploy.segment_file(*sys.argv[1:]); assert 'scipy' not in sys.modules;"
        "unet_deploy.ObjectRules(8, min_size=20); assert 'scipy' not in sys.modules"
    )
    words = [slide, tmp_path / "mask.tif", small_models["one"]]
    subprocess.run([sys.executable, "-c", script, *map(str, words)], check=True)


class Elsewhere:
    """Computes here after all, in a third of the memory, and keeps what it was asked."""

    def share(self, max_memory):
        return max_memory and max_memory // 3

    def fill(self, task, writer, progress):
        self.task = task
        return stream_here.fill(task, writer, progress)


def test_who_computes_is_handed_in(slide, tmp_path, small_models):
    elsewhere, options = Elsewhere(), api.Options(max_memory=3_000_000_000, roi=Region(37, 50, 200, 210))
    with api.open_model(small_models["one"]) as model:
        here = api.segment_file(slide, tmp_path / "here.tif", model, options)
        there = api.segment_file(slide, tmp_path / "there.tif", model, options, compute=elsewhere)
        assert forecast(slide, model, api.Outputs(tmp_path / "m.tif"), options, compute=elsewhere).plan == there.plan
    assert elsewhere.task.options.max_memory == 1_000_000_000
    assert elsewhere.task.region == options.roi
    assert elsewhere.task.plan.region == Region(36, 48, 201, 212) == here.plan.region
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()


def test_an_unfinished_run_of_an_older_version_is_refused_in_one_line(slide, tmp_path, small_models, monkeypatch):
    monkeypatch.setattr("unet_deploy.masks.unfinished.KEY_VERSION", 1)
    monkeypatch.setattr("unet_deploy.segmentation.writer.OutputWriter.commit", lambda self: 1 / 0)
    masks = [tmp_path / name for name in ("mask.tif", "mask.zarr")]
    with api.open_model(small_models["one"], runtime="onnxruntime") as model:
        for mask in masks:
            with pytest.raises(ZeroDivisionError):
                api.segment_file(slide, mask, model, api.Options(300))
    monkeypatch.undo()
    words = ("segment", slide, "-m", small_models["one"], "--runtime", "onnxruntime", "--tile-size", 300, "--resume")
    for mask in masks:
        line = error(*words, "-o", mask, code=2)
        assert line.startswith(f"error: {mask}: the unfinished run is of another version of this program")
        assert "start anew with --overwrite" in line


def test_segment_hands_a_path_on_and_says_what_is_for_files_alone(slide, tmp_path, small_models, speckle):
    how = {"model": small_models["one"], "roi": (8, 16, 50, 60), "overlay": True}
    report = api.segment(str(slide), str(tmp_path / "m.tif"), **how)
    assert [path.name for path in report.outputs] == ["m.tif", "m.overlay.png"]
    assert not tifffile.imread(tmp_path / "m.tif")[58:].any()
    with pytest.raises(UsageError, match="give the mask file to write"):
        api.segment(slide)
    for options in ({"output": "m.tif"}, {"roi": (0, 0, 5, 5)}, {"resume": True}):
        with pytest.raises(UsageError, match="is for image files"):
            api.segment(speckle, **options)
    with pytest.raises(TypeError, match="colour"):
        api.segment(slide, tmp_path / "n.tif", colour="red")


def test_objects_of_a_level_lie_at_full_resolution(slide, tmp_path, small_models, speckle):
    outputs = api.Outputs.beside(tmp_path / "mask.tif", objects=tmp_path / "cells.csv")
    report = api.segment_file(slide, outputs, small_models["one"], api.Options(level=1))
    assert "level 1, 2 x 2 times as coarse; objects are placed and measured in pixels of level 0" in report.image.note
    half = tmp_path / "half.tif"
    tifffile.imwrite(half, speckle[::2, ::2], resolution=(1e4, 1e4), resolutionunit=3)
    alone = api.Outputs.beside(tmp_path / "half.mask.tif", objects=tmp_path / "half.csv")
    api.segment_file(half, alone, small_models["one"])
    seen, coarse = (np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", names=True) for name in ("cells", "half"))
    np.testing.assert_array_equal(seen["bbox_x"], 2 * coarse["bbox_x"])
    np.testing.assert_array_equal(seen["centroid_y"], 2 * coarse["centroid_y"] + 0.5)
    np.testing.assert_array_equal(seen["area_px"], 4 * coarse["area_px"])
    np.testing.assert_allclose(seen["area_um2"], coarse["area_um2"])
    np.testing.assert_allclose(seen["perimeter_um"], coarse["perimeter_um"])


def test_a_stack_stays_a_stack_of_times_and_slices_in_all_files(tmp_path, small_models, speckle):
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0, "TimeIncrement": 60.0}
    stack = np.broadcast_to(speckle[:150, :160], (2, 3, 150, 160))
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "TZYX", **sizes})
    names = name_outputs([tmp_path / "stack.ome.tif"], tmp_path / "m.ome.tif", probabilities=True, instances="tif")
    api.segment_file(tmp_path / "stack.ome.tif", names[0], small_models["one"])
    for name, axes in (("m", "TZYX"), ("m.probabilities", "TZCYX"), ("m.instances", "TZYX")):
        with tifffile.TiffFile(tmp_path / f"{name}.ome.tif") as file:
            assert file.series[0].axes == axes
        with open_image(tmp_path / f"{name}.ome.tif") as source:
            assert source.info.sizes == PixelSizes(0.5, 0.25, 2.0, 60.0)
    found = find_images([str(tmp_path)])
    assert [path.name for path in found] == ["stack.ome.tif"]
