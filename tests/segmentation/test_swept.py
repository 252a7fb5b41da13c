"""What a run left that was killed after its files got their names goes with the next one, which finds all made."""

from dataclasses import replace

import pytest
import tifffile
from command_line import unet_deploy

import unet_deploy as api
from unet_deploy.masks.part import PartFolder, part_of
from unet_deploy.masks.spool import Spool, spool_of
from unet_deploy.segmentation.models import Given
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.segmentation.same_job import end_made, is_made
from unet_deploy.system.kernel import try_lock

OPTIONS = Options(200, resume=True)


@pytest.fixture
def model(small_models):
    with api.open_model(small_models["one"], probabilities=True, runtime="onnxruntime") as model:
        yield model


@pytest.fixture
def slide(tmp_path, speckle):
    tifffile.imwrite(tmp_path / "slide.tif", speckle[:300, :400])
    return tmp_path / "slide.tif"


@pytest.fixture(params=["tif", "zarr"])
def outputs(request, tmp_path):
    if request.param == "zarr":
        pytest.importorskip("zarr")
    mask, ids = (tmp_path / f"{name}.{request.param}" for name in ("mask", "ids"))
    return Outputs.beside(mask, probabilities=True, instances=ids)


@pytest.fixture
def killed(monkeypatch):
    """A function that segments a file, and is killed when all files have their names."""

    def run(*given):
        with monkeypatch.context() as patch:
            patch.setattr(Spool, "close", lambda spool, *, keep=True: spool._file.close())
            patch.setattr(PartFolder, "close", lambda folder, *, ended=False: folder._run.close())
            segment_file(*given)

    return run


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


def test_it_goes_with_the_command_that_goes_on(slide, outputs, killed, model, small_models, tmp_path):
    killed(slide, outputs, model, OPTIONS)
    replacement = tmp_path / f".{outputs.probabilities.name}.4194304.beef.part"  # of a run with --overwrite
    replacement.write_bytes(b"half")
    words = ["segment", slide, "-o", outputs.mask, "-m", small_models["one"], "--runtime", "onnxruntime", "--resume"]
    words += ["--probabilities", "--instances", outputs.instances, "--precision", "auto"]
    unet_deploy(*words, "--dry-run")
    assert len(hidden(tmp_path)) == 4, "a dry run looks and does nothing"
    _, said = unet_deploy(*words)
    assert "is finished already" in said
    assert hidden(tmp_path) == []
    assert all(path.exists() for path in outputs)


def test_what_another_run_is_at_or_may_go_on_from_stays(slide, outputs, killed, model, monkeypatch, tmp_path):
    killed(slide, outputs, model, OPTIONS)
    left, kept = hidden(tmp_path), spool_of(outputs.probabilities)
    held = kept if outputs.mask.suffix == ".tif" else part_of(outputs.mask) / "run.json"
    with held.open("rb") as file:
        assert try_lock(file)
        assert end_made(slide, outputs, Given(model), OPTIONS)
        assert hidden(tmp_path) == [part_of(outputs.mask).name if held.name == "run.json" else kept.name]
    assert end_made(slide, outputs, Given(model), OPTIONS)
    assert hidden(tmp_path) == []
    with monkeypatch.context() as patch:  # another setting is to replace it, and is broken off
        patch.setattr("unet_deploy.segmentation.writer.OutputWriter.commit", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segment_file(slide, outputs, model, replace(OPTIONS, outside=1, resume=False, overwrite=True))
    kept = hidden(tmp_path)
    assert len(kept) == 2
    assert set(kept) < set(left)
    assert end_made(slide, outputs, Given(model), OPTIONS)
    assert hidden(tmp_path) == kept


@pytest.mark.parametrize("content", [b"II*\0", b'{"mine": 1}\n', None], ids=["bytes", "JSON", "folder"])
def test_what_is_none_of_ours_stays(slide, outputs, model, tmp_path, content):
    segment_file(slide, outputs, model, OPTIONS)
    place = spool_of(outputs.mask) if outputs.mask.suffix == ".tif" else part_of(outputs.mask)
    if content is None:
        place.mkdir()
        place = place / "notes.txt"
    place.write_bytes(content or b"mine")
    assert end_made(slide, outputs, Given(model), OPTIONS)
    assert place.read_bytes() == (content or b"mine")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_entered_in_their_image(tmp_path, speckle, killed, model, monkeypatch, version):
    zarr = pytest.importorskip("zarr")
    from sample_zarr import write_image

    image = write_image(tmp_path / "image.zarr", speckle[:300, :400], "yx", version=version)
    outputs = Outputs(image / "labels" / "cells")
    with monkeypatch.context() as patch:
        patch.setattr("unet_deploy.masks.zarr.register_labels", lambda *given: None)
        killed(image, outputs, model, OPTIONS)
    assert is_made(image, outputs, Given(model), OPTIONS)
    assert end_made(image, outputs, Given(model), OPTIONS)
    assert not part_of(outputs.mask).exists()
    attributes = zarr.open_group(image / "labels", mode="r").attrs
    assert attributes.get("ome", attributes)["labels"] == ["cells"]
