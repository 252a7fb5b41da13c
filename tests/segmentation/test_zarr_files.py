"""OME-Zarr from the command line: in, out, beside its image, by URL, resumed."""

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug
from command_line import error, unet_deploy

pytest.importorskip("zarr")

import zarr
from web_server import serving

import unet_deploy as api
from unet_deploy.images.zarr_image import ZarrSource
from unet_deploy.segmentation.run import Options, Outputs, segment_file


@pytest.fixture
def image(tmp_path, speckle):
    """An OME-Zarr 0.5 image of (500, 480), 0.5 um a pixel."""
    path = tmp_path / "image.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=speckle[:, :480], chunks=(128, 128))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets, "name": "image"}]}
    return path


def labels_of(path):
    with ZarrSource(path) as source:
        assert source.info.pixel_size_um == 0.5
        return np.asarray(zarr.open_array(path / "0", mode="r"))


def test_in_and_out_in_every_form(image, nuclei, speckle, tmp_path):
    expected = api.segment(speckle[:, :480], model=nuclei, scaling=api.Scaling(scale=1))
    for mask in (tmp_path / "mask.zarr", image / "labels" / "nuclei"):
        shown, _ = unet_deploy("segment", image, "-o", mask, "--objects", "csv", "--overlay", "--scale", "1")
        assert str(mask) in shown
        np.testing.assert_array_equal(labels_of(mask), expected)
        assert "exists" in error("segment", image, "-o", mask, code=2)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("image.zarr", "mask.zarr"),
        *(f"{stem}.{kind}" for stem in ("image", "mask") for kind in ("objects.csv", "overlay.png")),
    }
    unet_deploy("segment", image, "-o", tmp_path / "mask.tif", "--scale", "1")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), expected)
    tifffile.imwrite(tmp_path / "image.tif", speckle[:, :480])
    unet_deploy("segment", tmp_path / "image.tif", "-o", tmp_path / "other.zarr", "--scale", "1")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "other.zarr" / "0", mode="r"), expected)


@pytest.mark.parametrize("place", ["nowhere.zarr", "empty.zarr", "mask.zarr"])
def test_labels_without_an_image_are_refused_before_the_first_tile(image, nuclei, tmp_path, place):
    zarr.create_group(str(tmp_path / "empty.zarr"))
    unet_deploy("segment", image, "-o", tmp_path / "mask.zarr", "--scale", "1")
    before = sorted(tmp_path.rglob("*"))
    for name, dry in (("labels/cells", ()), ("labels/cells", ("--dry-run",)), ("labels", ())):
        said = error("segment", image, "-o", tmp_path / place / name, *dry, code=2)
        assert f"{place} is no OME-Zarr image; give the folder of one, or a name by itself" in said
    for dry in ((), ("--dry-run",)):
        ids = ("--instances", tmp_path / place / "labels/ids")
        said = error("segment", image, "-o", tmp_path / "m.tif", *ids, *dry, code=2)
        assert f"{place} is no OME-Zarr image" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["image.zarr", "image"])
@pytest.mark.parametrize("inside", [False, True])
def test_labels_are_those_of_the_image_from_wherever_they_are_named(image, nuclei, tmp_path, name, inside):
    place = image.rename(tmp_path / name)
    here = {"cwd": place if inside else tmp_path}
    given, mask = (".", "labels/cells") if inside else (name, f"{name}/labels/cells")
    given = str(place) if inside else given
    unet_deploy("segment", given, "-o", mask, "--overlay", "--instances", mask.replace("cells", "ids"), **here)
    assert sorted(each.name for each in (place / "labels").iterdir()) == ["cells", "ids", "zarr.json"]
    assert zarr.open_group(place / "labels").attrs["ome"]["labels"] == ["ids", "cells"]
    assert {each.name for each in place.iterdir()} == {"0", "labels", "zarr.json"}
    assert {each.name for each in tmp_path.iterdir()} == {name, "image.overlay.png"}
    assert "exists" in error("segment", given, "-o", mask, code=2, **here)


def test_by_url(image, nuclei, speckle, tmp_path):
    with serving(tmp_path) as address:
        url = f"{address}/image.zarr"
        unet_deploy("segment", url, "-o", tmp_path / "mask.tif")
        assert "give the mask with --output" in error("segment", url, code=2)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), api.segment(speckle[:, :480], model=nuclei))


def test_a_run_into_zarr_goes_on(small_models, speckle, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "slide.tif", np.tile(speckle, (5, 5))[:2100, :1100])
    mask = tmp_path / "mask.zarr"
    with api.open_model(small_models["one"]) as model:
        expected = api.segment(tifffile.imread(tmp_path / "slide.tif"), model=model, tile_size=300)
        pull_the_plug(monkeypatch, model, 35)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(tmp_path / "slide.tif", Outputs(mask), model, Options(300))
        assert not mask.exists()
        report = segment_file(tmp_path / "slide.tif", Outputs(mask), model, Options(300, resume=True))
    assert report.timing.resumed > 0
    np.testing.assert_array_equal(zarr.open_array(mask / "0", mode="r"), expected)
