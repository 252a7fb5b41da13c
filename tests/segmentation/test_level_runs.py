"""A run at a smaller scale reads a coarser level of the pyramid, and answers on the grid of the image all the same."""

import json

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import unet_deploy as api
from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images.enlarged import Enlarged
from unet_deploy.segmentation.forecast import forecast
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.segmentation.scaling import Scaling


def means(image, step):
    height, width = (side // step for side in image.shape)
    blocks = image[: height * step, : width * step].reshape(height, step, width, step)
    return np.rint(blocks.mean(axis=(1, 3))).astype(image.dtype)


def write(path, image, steps=(2, 4)):
    with tifffile.TiffWriter(path) as file:
        file.write(image, tile=(64, 64), subifds=len(steps))
        for step in steps:
            file.write(means(image, step), tile=(64, 64), subfiletype=1)
    return path


def write_zarr(path, image, steps=(2, 4)):
    zarr = pytest.importorskip("zarr")
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [
        {"path": str(at), "coordinateTransformations": [{"type": "scale", "scale": [step, step]}]}
        for at, step in enumerate((1, *steps))
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group = zarr.create_group(str(path), attributes={"ome": ome})
    for at, step in enumerate((1, *steps)):
        pixels = means(image, step)
        group.create_array(str(at), shape=pixels.shape, chunks=(64, 64), dtype=pixels.dtype)[:] = pixels
    return path


@pytest.fixture
def image(speckle):
    return np.tile(speckle, (2, 2))[:605, :733]


@pytest.fixture
def slide(tmp_path, image):
    return write(tmp_path / "slide.tif", image)


def at(scale, **how):
    return Options(scaling=Scaling(scale=scale), **how)


def seen(path):
    return tifffile.imread(path)


@pytest.mark.parametrize(("scale", "level", "tile"), [(0.37, 1, 420), (0.25, 2, 380), (0.13, 2, 600)])
def test_tiles_and_a_region_leave_the_answer_as_it_is(slide, image, tmp_path, small_models, scale, level, tile):
    for name, how in (("whole", {}), ("part", {"roi": (101, 203, 333, 255)}), ("tiled", {"tile_size": tile})):
        made = Outputs.beside(tmp_path / f"{name}.tif", probabilities=True)
        report = segment_file(slide, made, small_models["one"], at(scale, **how), device="cpu")
        assert report.scaled.level == level
        assert (len(report.plan) > 3) == (name == "tiled")
    whole, tiled, part = (seen(tmp_path / f"{name}.tif") for name in ("whole", "tiled", "part"))
    assert whole.shape == image.shape
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(tiled, whole)
    np.testing.assert_array_equal(part[101:434, 203:458], whole[101:434, 203:458])
    scores = [seen(tmp_path / f"{name}.probabilities.tif") for name in ("tiled", "whole")]
    np.testing.assert_allclose(*scores, atol=1e-5)


def soft(image, magnified):
    return ndimage.zoom(image, magnified, order=1)


def test_of_means_the_mask_is_about_that_of_the_finest_level(tmp_path, nuclei_image, undecided):
    image = soft(nuclei_image[:256, :256], 4)
    write(tmp_path / "pyramid.tif", image)
    tifffile.imwrite(tmp_path / "flat.tif", image)
    masks = []
    for name in ("pyramid", "flat"):
        report = api.segment(
            tmp_path / f"{name}.tif", tmp_path / f"{name}.mask.tif", model=undecided, scale=0.25, device="cpu"
        )
        assert (report.scaled.level is not None) == (name == "pyramid")
        masks.append(seen(tmp_path / f"{name}.mask.tif") > 0)
    ours, theirs = masks
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.99
    centres = [np.argwhere(mask).mean(axis=0) for mask in masks]
    np.testing.assert_allclose(*centres, atol=0.3)  # nothing has moved


def test_outlines_tables_and_instances_lie_on_the_grid_of_the_image(tmp_path, nuclei_image, undecided):
    image = soft(nuclei_image[:200, :200], 4)
    path = write(tmp_path / "a.tif", image)
    made = Outputs.beside(tmp_path / "m.tif", overlay=True, objects=tmp_path / "m.csv", instances=tmp_path / "i.tif")
    report = segment_file(path, made, undecided, at(0.25), device="cpu")
    ids = seen(tmp_path / "i.tif")
    assert ids.shape == image.shape
    assert report.objects == ids.max() > 0
    table = np.genfromtxt(tmp_path / "m.csv", delimiter=",", names=True)
    areas = np.bincount(ids.ravel())[1:]
    np.testing.assert_array_equal(table["area_px"], areas)
    brightness = ndimage.mean(image, ids, np.arange(1, len(areas) + 1))
    np.testing.assert_allclose(table["mean_intensity"], brightness, rtol=0.03)


def test_ome_zarr_is_read_as_tiff_is(tmp_path, image, slide, small_models):
    path = write_zarr(tmp_path / "slide.zarr", image)
    for name, source in (("z.zarr", path), ("t.tif", slide)):
        report = segment_file(source, Outputs(tmp_path / name), small_models["one"], at(0.25), device="cpu")
        assert report.scaled.level == 2
    import zarr

    np.testing.assert_array_equal(zarr.open_group(tmp_path / "z.zarr")["0"][:], seen(tmp_path / "t.tif"))


def test_it_is_said_before_and_after_and_in_the_report(slide, tmp_path, small_models):
    said = "the image is taken at 0.25 of its size, read from level 2"
    outputs = Outputs(tmp_path / "m.tif")
    assert str(forecast(slide, small_models["one"], outputs, at(0.25)).scaled) == said
    report = segment_file(slide, outputs, small_models["one"], at(0.25), device="cpu")
    assert str(report.scaled) == said
    assert json.loads(json.dumps(report.to_json()))["scale"]["level"] == 2


def test_at_its_size_an_image_with_a_pyramid_gets_the_bytes_of_one_without(slide, image, tmp_path, small_models):
    tifffile.imwrite(tmp_path / "flat.tif", image, tile=(64, 64))
    for name in ("slide", "flat"):
        report = segment_file(
            tmp_path / f"{name}.tif", Outputs(tmp_path / f"{name}.mask.zarr"), small_models["one"], at(1), device="cpu"
        )
        assert report.scaled.level is None
    one, other = (sorted((tmp_path / f"{name}.mask.zarr").rglob("c/*/*")) for name in ("slide", "flat"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def dying(after):
    def progress(done, _):
        if done == after:
            raise RuntimeError("the power fails")

    return progress


def test_a_resumed_run_keeps_to_its_level(slide, image, tmp_path, small_models):
    how = (small_models["one"], at(0.25, tile_size=380))
    segment_file(slide, Outputs(tmp_path / "once.tif"), *how, device="cpu")
    with pytest.raises(RuntimeError):
        segment_file(slide, Outputs(tmp_path / "m.tif"), *how, device="cpu", progress=dying(20))
    again = (small_models["one"], at(0.25, tile_size=380, resume=True))
    report = segment_file(slide, Outputs(tmp_path / "m.tif"), *again, device="cpu")
    assert report.timing.resumed > 0
    np.testing.assert_array_equal(seen(tmp_path / "m.tif"), seen(tmp_path / "once.tif"))


def test_a_run_whose_level_was_another_is_not_gone_on_with(tmp_path, image, small_models):
    path = write_zarr(tmp_path / "slide.zarr", image)
    with pytest.raises(RuntimeError):
        segment_file(
            path, Outputs(tmp_path / "m.tif"), small_models["one"], at(0.25, tile_size=380), progress=dying(20)
        )
    import zarr

    zarr.open_group(path)["2"][:] = 0  # so it shows another thing than the finest, which is as it was
    with pytest.raises(UsageError, match="had another level that is read"):
        segment_file(path, Outputs(tmp_path / "m.tif"), small_models["one"], at(0.25, tile_size=380, resume=True))


def test_a_level_that_is_changed_meanwhile_makes_no_mask(tmp_path, image, small_models):
    path = write_zarr(tmp_path / "slide.zarr", image)
    import zarr

    def changing(done, _):
        zarr.open_group(path)["2"][-1:] = 9

    with pytest.raises(ImageError, match="changed"):
        segment_file(path, Outputs(tmp_path / "m.tif"), small_models["one"], at(0.25), progress=changing)
    assert not (tmp_path / "m.tif").exists()


def test_where_a_level_shows_something_else_a_finer_one_is_read_and_the_report_says_so(tmp_path, image, small_models):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(image, tile=(64, 64), subifds=1)
        file.write(255 - means(image, 4), tile=(64, 64), subfiletype=1)
    tifffile.imwrite(tmp_path / "flat.tif", image, tile=(64, 64))
    for name in ("a", "flat"):
        report = segment_file(
            tmp_path / f"{name}.tif", Outputs(tmp_path / f"{name}.mask.tif"), small_models["one"], at(0.25)
        )
        assert ("; level 1 would do, but its pixels are not means of those that they cover" in str(report.scaled)) == (
            name == "a"
        )
    np.testing.assert_array_equal(seen(tmp_path / "a.mask.tif"), seen(tmp_path / "flat.mask.tif"))


def test_the_size_of_objects_is_looked_for_in_the_levels_too(tmp_path, nuclei_image, nuclei, monkeypatch):
    path = write(tmp_path / "a.tif", soft(nuclei_image[:160, :160], 4))
    read = []
    real = Enlarged._pixels
    monkeypatch.setattr(Enlarged, "_pixels", lambda self, *of: read.append(self.step) or real(self, *of))
    report = api.segment(path, tmp_path / "m.tif", device="cpu")
    assert report.scaled.scale < 1
    assert {4} <= set(read)
    assert report.scaled.diameter == pytest.approx(api_diameter(tmp_path, path), rel=0.1)


def api_diameter(folder, path):
    """What is measured without a pyramid."""
    tifffile.imwrite(folder / "flat.tif", seen(path))
    return api.segment(folder / "flat.tif", folder / "flat.mask.tif", device="cpu").scaled.diameter


def test_workers_read_the_level_as_one_process_does(slide, tmp_path, small_models):
    pytest.importorskip("distributed")
    pytest.importorskip("zarr")
    from unet_deploy.segmentation.cluster import Cluster
    from unet_deploy.zoo import Request, open_model

    request = Request(runtime="onnxruntime", device="cpu")
    with open_model(small_models["one"], runtime="onnxruntime", device="cpu") as model:
        segment_file(slide, Outputs(tmp_path / "one.zarr"), model, at(0.25))
        with Cluster(str(small_models["one"]), request, workers=1) as cluster:
            report = segment_file(slide, Outputs(tmp_path / "many.zarr"), model, at(0.25), compute=cluster)
    assert report.scaled.level == 2
    one, many = (sorted((tmp_path / f"{name}.zarr").rglob("c/*/*")) for name in ("one", "many"))
    assert len(one) > 0
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in many]
