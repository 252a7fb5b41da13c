"""No command writes over what it reads: every output is compared with every input before anything is computed."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from cells import folder  # noqa: F401
from cli.in_process import refusal

from unet_deploy.errors import UsageError


def held(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path, nuclei, folder, monkeypatch):  # noqa: F811
    """A folder with a model, an image and annotated cells, all of them under other names too."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(nuclei, "model.onnx")
    tifffile.imwrite("slide.tif", np.arange(64 * 64).astype(np.uint8).reshape(64, 64))
    for name in ("slide.onnx", "slide.engine", "slide.engine.json", "stack.curves.png"):
        os.link("slide.tif", name)
    for name in ("link.engine", "link.png"):
        os.symlink("model.onnx", name)
    for name in ("cell.pt", "cell.png"):
        os.link(folder / "images" / "cell0.tif", name)
    return tmp_path


IS_INPUT, LIES_IN, TWICE = "is what is to be read, and would be lost", "lies in the input", "would be written there too"

COMMANDS = {
    "quantize model.onnx --calibration slide.tif -o model.onnx": IS_INPUT,
    "quantize model.onnx --calibration slide.tif -o slide.onnx": IS_INPUT,
    "adopt model.onnx -o ./model.onnx": IS_INPUT,
    "adopt model.onnx -o slide.onnx --image slide.tif": IS_INPUT,
    "build-engine model.onnx -o link.engine --compiler tensorrt_rtx --target sm89": IS_INPUT,
    "build-engine model.onnx -o slide.engine --image slide.tif --compiler tensorrt_rtx --target sm89": IS_INPUT,
    "export model.onnx -o model.onnx": IS_INPUT,
    "train cells -o cell.pt": IS_INPUT,
    "train cells -o cells/images/new.pt": LIES_IN,
    "train slide.tif --masks slide.tif -o stack.pt": IS_INPUT,
    "evaluate model.onnx cells --plot cell.png": IS_INPUT,
    "evaluate model.onnx cells --plot cells/masks/worst.png": LIES_IN,
    "evaluate model.onnx cells --plot link.png": IS_INPUT,
    "evaluate model.onnx cells --plot link.png --record": TWICE,
    "benchmark model.onnx --plot link.png": IS_INPUT,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_is_an_input_is_refused_before_anything_is_computed(place, command, capsys):
    if command.startswith(("train", "export ")):
        pytest.importorskip("torch")
    before = held(place)
    assert COMMANDS[command] in refusal(capsys, *command.split(), "--overwrite")
    assert held(place) == before


def test_from_python_too(place, nuclei):
    from unet_deploy.convert.engines import make_engine
    from unet_deploy.measure.sample import write_sample
    from unet_deploy.measure.verify import verify_against
    from unet_deploy.model.onnx_file import read_model

    before = held(place)
    with pytest.raises(UsageError, match=TWICE):
        write_sample(place / "s.tif", 64, 64, truth=place / "." / "s.tif")
    with pytest.raises(UsageError, match=IS_INPUT):
        verify_against("slide.engine", nuclei, place / "slide.tif")
    timed = SimpleNamespace(timing_cache=place / "n.engine.json")
    with pytest.raises(UsageError, match=TWICE):
        make_engine(read_model(nuclei), place / "n.engine", None, timed)
    assert held(place) == before
