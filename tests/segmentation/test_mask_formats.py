"""Labels, probabilities and numbers of objects come out in every format, whole, in part and resumed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug
from command_line import error, unet_deploy
from sample_zarr import noise, write_image

pytest.importorskip("zarr")

import zarr

import unet_deploy as api
from unet_deploy.errors import UsageError
from unet_deploy.masks.zarr import ZarrMaskSink
from unet_deploy.segmentation.inputs import find_images, name_outputs
from unet_deploy.segmentation.outputs import finished
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.tiling import Region


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.tile(speckle, (3, 3))[:1150, :1100], tile=(256, 256))
    return path


def outputs_in(folder, end):
    folder.mkdir(exist_ok=True)
    return Outputs(folder / f"mask{end}", probabilities=folder / f"p{end}", instances=folder / f"ids{end}")


def pixels_of(path):
    return np.asarray(zarr.open_array(path / "0", mode="r")) if path.suffix == ".zarr" else tifffile.imread(path)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("roi", [None, Region(101, 203, 700, 611)])
def test_every_output_has_the_same_pixels_in_every_format(slide, small_models, tmp_path, roi):
    with api.open_model(small_models["three"], probabilities=True) as model:
        for end in (".tif", ".zarr"):
            segment_file(slide, outputs_in(tmp_path / end[1:], end), model, Options(300, roi=roi))
    for name in ("mask", "p", "ids"):
        expected, found = pixels_of(tmp_path / "tif" / f"{name}.tif"), pixels_of(tmp_path / "zarr" / f"{name}.zarr")
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert sorted(path.name for path in (tmp_path / "zarr").iterdir()) == ["ids.zarr", "mask.zarr", "p.zarr"]


def test_a_run_that_is_broken_off_goes_on_where_all_is_zarr(slide, small_models, tmp_path, monkeypatch):
    end = ".zarr"
    with api.open_model(small_models["one"], probabilities=True) as model:
        segment_file(slide, outputs_in(tmp_path / "once", end), model, Options(300))
        again = outputs_in(tmp_path / "again", end)
        pull_the_plug(monkeypatch, model, 22)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(slide, again, model, Options(300))
        monkeypatch.undo()
        assert not any(path.exists() for path in again)
        report = segment_file(slide, again, model, Options(300, resume=True))
    assert 0 < report.timing.resumed < len(report.plan)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "once")


def test_what_had_its_name_before_the_last_file_failed_is_not_computed_again(
    slide, small_models, tmp_path, monkeypatch
):
    commit = ZarrMaskSink.commit

    def broken(self):
        if self.path.name == "mask.zarr":
            raise OSError("broken")
        commit(self)

    again = outputs_in(tmp_path / "again", ".zarr")
    with api.open_model(small_models["one"], probabilities=True) as model:
        segment_file(slide, outputs_in(tmp_path / "once", ".zarr"), model, Options(300))
        monkeypatch.setattr(ZarrMaskSink, "commit", broken)
        with pytest.raises(OSError, match="broken"):
            segment_file(slide, again, model, Options(300))
        monkeypatch.undo()
        assert again.probabilities.exists()
        assert not again.mask.exists()
        report = segment_file(slide, again, model, Options(300, resume=True))
    assert report.timing.resumed == len(report.plan)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "once")


def test_numbers_of_objects_go_to_zarr_from_the_command_line(slide, small_models, tmp_path):
    words = ("segment", slide, "-m", small_models["one"], "--tile-size", 300)
    unet_deploy(*words, "-o", tmp_path / "a.tif", "--instances", "tif")
    unet_deploy(*words, "-o", tmp_path / "b.zarr", "--instances", "zarr")
    found = pixels_of(tmp_path / "b.instances.zarr")
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "a.instances.tif"))
    refused = (*words, "-o", tmp_path / "d.tif", "--instances")
    assert "b.instances.zarr exists" in error(*refused, tmp_path / "b.instances.zarr", code=2)
    assert "--instances png: masks are TIFF or OME-Zarr" in error(*refused, "png", code=2)


def test_workers_leave_the_numbers_of_objects_in_zarr_as_one_process_does(slide, small_models, tmp_path):
    pytest.importorskip("distributed")
    words = ("segment", slide, "-m", small_models["one"], "--runtime", "onnxruntime", "--tile-size", 300)
    for folder, how in (("one", ()), ("two", ("--workers", 1))):
        (tmp_path / folder).mkdir()
        unet_deploy(*words, *how, "-o", tmp_path / folder / "mask.zarr", "--instances", "zarr")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_numbers_of_objects_lie_beside_the_labels_of_their_image(small_models, speckle, tmp_path):
    from sample_zarr import write_image

    image = write_image(tmp_path / "i.zarr", np.tile(speckle, (2, 2))[:600, :700], "yx", chunks=(256, 256))
    words = ("segment", image, "-m", small_models["one"], "--instances", image / "labels" / "cells")
    unet_deploy(*words, "-o", image)
    assert sorted(path.name for path in (image / "labels").iterdir()) == ["cells", "segmentation", "zarr.json"]
    unet_deploy(*words, "-o", tmp_path / "m.tif", "--instances", tmp_path / "ids.tif")
    numbers = np.asarray(zarr.open_array(image / "labels" / "cells" / "0", mode="r"))
    np.testing.assert_array_equal(numbers, tifffile.imread(tmp_path / "ids.tif"))
    assert finished(image)
    _, said = unet_deploy(*words, "-o", image, "--resume")
    assert f"{image}: is finished already" in said


def test_a_finished_mask_is_never_resumed_over(slide, small_models, tmp_path):
    with api.open_model(small_models["one"]) as model:
        for end in (".tif", ".zarr"):
            segment_file(slide, Outputs(tmp_path / f"m{end}"), model, Options(300))
            with pytest.raises(UsageError, match="exists; pass --overwrite"):
                segment_file(slide, Outputs(tmp_path / f"m{end}"), model, Options(300, resume=True))


def test_one_mask_for_several_images_is_refused_in_every_format():
    for mask in ("one.tif", "one.zarr"):
        with pytest.raises(UsageError, match=f"{mask}: one mask file for 2 images; give a folder"):
            name_outputs([Path("a.png"), Path("b.png")], Path(mask))
    with pytest.raises(UsageError, match=r"m.png: masks are TIFF or OME-Zarr; give a name that ends in .tif or .zarr"):
        name_outputs([Path("a.png")], Path("m.png"))


def test_a_folder_of_images_leaves_out_what_a_run_wrote_in_every_format(tmp_path):
    for name in ("a.png", "a.mask.tif", "a.instances.tif"):
        (tmp_path / name).touch()
    for name in ("b.zarr", "a.mask.instances.zarr"):
        (tmp_path / name).mkdir()
    assert [path.name for path in find_images([str(tmp_path)])] == ["a.png", "b.zarr"]


def test_labels_of_one_image_and_masks_of_two_suffixes_share_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for image in ("a.zarr", "p.zarr/A/1/0"):
        write_image(Path(image), noise(64, 64), "yx")
    names = ["a.zarr/labels/one", "a.zarr/labels/two", "a.zarr", "p.zarr/A/1/0/labels/one", "x.tif", "x.ome.tif"]
    made = [Outputs.beside(name, probabilities=True, objects=None, instances="i.tif").with_sure(0.9) for name in names]
    assert len({outputs.sure for outputs in made}) == len(names)
    assert [outputs.probabilities.name for outputs in made[2:4]] == ["a.probabilities.tif", "p.A.1.0.probabilities.tif"]


def test_outputs_are_refused_where_none_can_be(tmp_path, capsys, speckle):
    tifffile.imwrite(tmp_path / "a.tif", speckle)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "p.zarr" / "A").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "p.zarr" / "A" / "b.tif", speckle)
    for words, said in (
        (("-o", "s3://bucket/mask.zarr"), "s3://bucket/mask.zarr: outputs are written to this machine"),
        (("-o", "https://host/mask.tif"), "outputs are written to this machine"),
        (("-o", tmp_path / "file"), "file: is a file and no mask; give a folder"),
    ):
        assert said in error("segment", tmp_path / "a.tif", *words, code=2)
    assert "lies in a Zarr" in error("segment", tmp_path / "p.zarr" / "A" / "b.tif", code=2)
    assert not Path("s3:").exists()


def test_a_folder_of_masks_alone_says_that_they_are_left_out(tmp_path, speckle):
    tifffile.imwrite(tmp_path / "a.mask.tif", speckle)
    with pytest.raises(api.errors.ImageError, match=r"no image in this folder.*masks, overlays and numbers of a run"):
        find_images([str(tmp_path)])


def test_a_type_may_begin_with_its_dot():
    (outputs,) = name_outputs([Path("a.png")], None, objects=".csv", instances=".tif")
    assert [outputs.objects.name, outputs.instances.name] == ["a.mask.objects.csv", "a.mask.instances.tif"]
