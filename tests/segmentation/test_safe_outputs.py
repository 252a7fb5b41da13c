"""What may be written where: no input, no file of somebody else, and nothing that would fail in the end."""

import functools
import importlib.util
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy

import unet_deploy as api
from unet_deploy.cli import app
from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.segmentation.inputs import name_outputs
from unet_deploy.system import extras


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, speckle[:200, :220])
    return path


class Untouched:
    """A model that may not be asked for anything but its card."""

    def __init__(self, model):
        self._model = model
        self.card, self.probabilities = model.card, True
        self.name, self.fingerprint = model.name, model.fingerprint

    def submit(self, tiles, greys):
        raise AssertionError("asked to compute before the outputs were checked")

    def __getattr__(self, name):
        raise AssertionError(f"asked for {name} before the outputs were checked")


@pytest.fixture(scope="module")
def idle(small_models):
    with api.open_model(small_models["one"], probabilities=True) as model:
        yield Untouched(model)


def held(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_the_image_is_never_written_to_from_python(slide, tmp_path, idle, resume):
    os.link(slide, tmp_path / "hard.tif")
    (tmp_path / "link.tif").symlink_to(slide)
    mask, options, before = tmp_path / "mask.tif", api.Options(overwrite=True, resume=resume), held(tmp_path)
    every = [
        api.Outputs(slide),
        api.Outputs(tmp_path / "link.tif"),
        api.Outputs(tmp_path / "hard.tif"),
        api.Outputs(mask, probabilities=slide),
        api.Outputs(mask, instances=tmp_path / "hard.tif"),
        api.Outputs(mask, instances=mask),
        api.Outputs(mask, probabilities=tmp_path / "ids.tif", instances=tmp_path / "x" / ".." / "ids.tif"),
    ]
    for outputs in every:
        with pytest.raises(UsageError, match=r"is what is to be read|would be written there too"):
            api.segment_file(slide, outputs, idle, options)
    with pytest.raises(UsageError, match="is what is to be read"):
        api.segment(slide, slide, model=idle, overwrite=True)
    assert held(tmp_path) == before


def test_the_model_is_never_written_to(slide, tmp_path, small_models):
    model = tmp_path / "model.tif"
    model.write_bytes(small_models["one"].read_bytes())
    with pytest.raises(UsageError, match="and would be lost"):
        api.segment_file(slide, model, model, api.Options(overwrite=True))
    assert "and would be lost" in error("segment", slide, "-o", model, "-m", model, "--overwrite", code=2)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",), ("--resume",)])
def test_the_image_is_never_written_to_from_the_command_line(slide, tmp_path, overwrite):
    derived = tmp_path / "z.probabilities.tif"
    derived.write_bytes(slide.read_bytes())
    before = held(tmp_path)
    for words in (
        (slide, "-o", tmp_path / "m.tif", "--instances", slide),
        (derived, "-o", tmp_path / "z.tif", "--probabilities"),
    ):
        assert "is what is to be read, and would be lost" in error("segment", *words, *overwrite, code=2)
    assert held(tmp_path) == before


def test_an_output_of_one_image_is_no_other_image(tmp_path):
    images = [tmp_path / "a.tif", tmp_path / "a.mask.tif"]
    with pytest.raises(UsageError, match=r"a\.mask\.tif: is what is to be read, and would be lost"):
        name_outputs(images, None)
    with pytest.raises(UsageError, match="would be written there too"):
        name_outputs([tmp_path / "a.tif"], tmp_path / "m.tif", instances=str(tmp_path / "m.tif"))


def test_a_mask_that_is_segmented_is_not_replaced_by_its_own(tmp_path, idle):
    zarr = pytest.importorskip("zarr")
    mask = tmp_path / "mask.zarr"
    with api.open_model("nuclei", device="cpu") as model:
        tifffile.imwrite(tmp_path / "slide.tif", np.zeros((64, 64), np.uint8))
        api.segment_file(tmp_path / "slide.tif", mask, model)
    before = held(mask)
    for given in (mask, mask / "0"):
        with pytest.raises(UsageError, match=r"is what is to be read|holds the input"):
            api.segment_file(given, mask, idle, api.Options(overwrite=True))
    assert held(mask) == before
    assert zarr.open_group(mask, mode="r")


def test_what_cannot_be_made_is_refused_before_anything_is_computed(slide, tmp_path, idle, monkeypatch):
    mask = tmp_path / "mask.tif"
    refused = {
        "too long for a file": [api.Outputs(tmp_path / f"{'m' * 245}{end}") for end in (".tif", ".zarr")]
        + [api.Outputs(mask, objects=tmp_path / f"{'m' * 300}.csv")],
        "is too long; take a folder of a shorter one": [api.Outputs(tmp_path / (f"{'d' * 200}/" * 21) / "m.tif")],
        "masks are TIFF or OME-Zarr": [
            api.Outputs(tmp_path / "mask.png"),
            api.Outputs(mask, probabilities=tmp_path / "p.npy"),
            api.Outputs(mask, instances=tmp_path / "ids.csv"),
        ],
        "an overlay is a PNG": [api.Outputs(mask, overlay=tmp_path / "mask.jpg")],
        "a table of objects ends in": [api.Outputs(mask, objects=tmp_path / "cells.xlsx")],
        "is a folder": [api.Outputs(mask, objects=tmp_path / "is.csv"), api.Outputs(mask, overlay=tmp_path / "is.png")],
        "there is no folder": [api.Outputs(mask, objects=tmp_path / "none" / "cells.csv")],
        "exists; pass `overwrite`": [api.Outputs(mask, objects=tmp_path / "mine.csv")],
    }
    for name in ("is.csv", "is.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine.csv").write_text("precious")
    for said, every in refused.items():
        for outputs in every:
            with pytest.raises(UnetDeployError, match=said):
                api.segment_file(slide, outputs, idle)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for name in ("mask.tif", "mask.zarr"):
        with pytest.raises(UnetDeployError, match="its folder cannot be written to"):
            api.segment_file(slide, tmp_path / name, idle)
    assert {path.name for path in tmp_path.iterdir()} == {"slide.tif", "is.csv", "is.png", "mine.csv"}


def test_a_name_that_is_too_long_is_one_line(slide, tmp_path):
    for name in (f"{'m' * 300}.tif", f"{'m' * 300}.zarr"):
        assert "is too long for a file" in error("segment", slide, "-o", tmp_path / name, code=2)


@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_what_can_never_be_finished_is_said_and_not_kept(slide, tmp_path, small_models, monkeypatch, form):
    def broken(self):
        raise ValueError("no such\ntag")

    where = "unet_deploy.masks.tiff.TiffMaskSink" if form == "tif" else "unet_deploy.masks.zarr.ZarrMaskSink"
    monkeypatch.setattr(f"{where}.commit", broken)
    said = r"mask\.\w+: cannot be finished \(ValueError: no such tag\), so nothing of it is kept"
    with pytest.raises(UnetDeployError, match=said):
        api.segment_file(slide, tmp_path / f"mask.{form}", small_models["one"])
    assert [path.name for path in tmp_path.iterdir()] == ["slide.tif"]


PACKAGES = {
    "zarr": [("-o", "x.zarr"), ("-o", "image.zarr/labels/cells"), ("--instances", "zarr"), ("--instances", "i.zarr")],
    "pyarrow": [("--objects", "x.parquet"), ("--objects", "parquet")],
    "distributed": [("-o", "x.zarr", "--scheduler", "tcp://127.0.0.1:1"), ("-o", "x.zarr", "--workers", "2")],
}


@pytest.mark.parametrize(("package", "words"), [(name, words) for name, every in PACKAGES.items() for words in every])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_needs_a_package_that_is_not_there_says_so_first(slide, package, words, dry, monkeypatch, capsys):
    monkeypatch.chdir(slide.parent)
    monkeypatch.setattr("unet_deploy.zoo.open_model", lambda *given, **how: pytest.fail("the model was opened"))
    hide(monkeypatch, package)
    with pytest.raises(SystemExit) as left:
        app(["segment", str(slide), "--no-progress", *words, *dry])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"this needs {package}; run: pip install 'unet-deploy[" in line
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


def hide(monkeypatch, package):
    """Let a package look as if it was not installed."""
    whole = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else whole(name))


@pytest.mark.parametrize("package", ["zarr", "pyarrow"])
def test_from_python_too(slide, tmp_path, idle, package, monkeypatch):
    hide(monkeypatch, package)
    mask = tmp_path / "mask.tif"
    outputs = api.Outputs(mask, objects=tmp_path / "o.parquet")
    with pytest.raises(api.MissingPackageError, match=f"this needs {package}"):
        api.segment_file(slide, api.Outputs(tmp_path / "m.zarr") if package == "zarr" else outputs, idle)


@pytest.mark.parametrize("scheduler", ["nonsense", "", "tcp://", "tcp://host", "host:port", "http://host:1", "a b:1"])
def test_what_is_no_address_of_a_scheduler_is_refused(slide, scheduler, capsys):
    words = ["segment", str(slide), "-o", str(slide.with_name("m.zarr")), "--scheduler", scheduler]
    with pytest.raises(SystemExit) as left:
        app(words)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no address; give one such as tcp://host:8786" in line


def test_a_sample_on_a_full_disk_is_a_full_disk(tmp_path):
    words = [sys.executable, "-m", "unet_deploy.cli", "sample", str(tmp_path / "s.tif"), "--size", "800x800"]
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 6
    assert "no space left on its disk" in done.stderr
    assert list(tmp_path.iterdir()) == []


# -- what a run that goes on may replace ---------------------------------------------------------------------------


def words_of(slide, model, *more):
    mask = slide.with_name("m.tif")
    return ("segment", slide, "-o", mask, "-m", model, "--runtime", "onnxruntime", "--resume", "--no-progress", *more)


def test_a_resume_replaces_nothing_that_its_job_has_not_made(slide, tmp_path, small_models):
    for name in ("cells.csv", "m.overlay.png", "ids.tif", "m.probabilities.tif"):
        (tmp_path / name).write_bytes(b"precious")
    before = held(tmp_path)
    more = [("--objects", tmp_path / "cells.csv"), ("--overlay",), ("--instances", tmp_path / "ids.tif")]
    for each in [*more, ("--probabilities",)]:
        said = error(*words_of(slide, small_models["one"], *each), code=2)
        assert "exists, and no run of this image, model and settings has made it" in said
    (tmp_path / "m.tif").write_bytes(slide.read_bytes())
    assert "exists, and no run" in error(*words_of(slide, small_models["one"]), code=2)
    (tmp_path / "m.tif").unlink()
    assert held(tmp_path) == before


def test_a_finished_mask_of_another_job_is_not_taken_for_this_one(slide, tmp_path, small_models):
    words = words_of(slide, small_models["one"])
    unet_deploy(*words)
    mask = (tmp_path / "m.tif").read_bytes()
    assert "is finished already" in unet_deploy(*words)[1]
    assert "is finished already" in unet_deploy(*words, "--tile-size", "120")[1]
    others = [words_of(slide, small_models["deep"]), (*words, "--tta"), (*words, "--objects", "csv")]
    others += [(*words, "--precision", "auto")]
    for other in others:
        assert "exists, and no run of this image" in error(*other, code=2)
    os.utime(slide, ns=(1, 1))
    assert "exists, and no run of this image" in error(*words, code=2)
    assert (tmp_path / "m.tif").read_bytes() == mask


def test_what_this_job_has_named_before_it_was_broken_off_is_replaced(slide, tmp_path, small_models, monkeypatch):
    outputs = api.Outputs.beside(tmp_path / "m.tif", probabilities=True, overlay=True, objects=tmp_path / "c.csv")
    with api.open_model(small_models["one"], probabilities=True) as model:
        with monkeypatch.context() as patch:
            give_name = os.replace

            def broken(old, new):
                if new == outputs.mask:
                    raise OSError("broken")
                give_name(old, new)

            patch.setattr(os, "replace", broken)
            with pytest.raises(UnetDeployError, match="broken"):
                api.segment_file(slide, outputs, model)
        assert all(path.exists() != (path == outputs.mask) for path in outputs)
        with pytest.raises(UsageError, match=r"exists; pass `overwrite`"):
            api.segment_file(slide, outputs, model)
        api.segment_file(slide, outputs, model, api.Options(resume=True))
        assert outputs.mask.exists()
        outputs.mask.unlink()
        outputs.objects.unlink()
        outputs.objects.write_text("precious")
        with pytest.raises(UsageError, match="exists, and no run of this image"):
            api.segment_file(slide, outputs, model, api.Options(resume=True))
        assert outputs.objects.read_text() == "precious"
