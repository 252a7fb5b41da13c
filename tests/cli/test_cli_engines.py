"""build-engine, verify --reference, export-triton and doctor as a person types them, on a machine with no GPU."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace

import pytest
from command_line import error, unet_deploy

from unet_deploy.errors import DeviceError
from unet_deploy.model.decision import Decision
from unet_deploy.model.onnx_file import write_card
from unet_deploy.system.gpu import find_gpus
from unet_deploy.zoo import card_of

TARGETS = ("--target", "sm86,sm89")


@pytest.fixture(scope="module")
def engine(tmp_path_factory, small_models):
    pytest.importorskip("tensorrt_rtx")
    path = tmp_path_factory.mktemp("engine") / "one.engine"
    unet_deploy("build-engine", small_models["one"], "-o", path, *TARGETS)
    return path


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    unet_deploy("sample", path, "--size", "300x400", "--seed", "4")
    return path


def test_build_engine_says_what_it_made(engine, small_models, tmp_path):
    shown, _ = unet_deploy("info", engine)
    assert "tensorrt_rtx" in shown
    assert "compute capability 8.6, 8.9" in shown
    assert "fp16; layers: 13 fp16" in shown
    assert "unverified" in shown
    made = tmp_path / "e.engine"
    options = ("--tile-size", "76x92", "-b", "3", "--pixels", "uint16", "--output", "probabilities")
    shown, _ = unet_deploy("build-engine", small_models["one"], "-o", made, *TARGETS, *options)
    assert "3 of 76 x 92 pixels, uint16" in shown
    assert "labels and probabilities" in shown
    record = json.loads((tmp_path / "e.engine.json").read_text())
    assert record["options"]["profile"] == {name: [3, 76, 92] for name in ("min", "opt", "max")}
    options = ("--min-shapes", "1x44x44", "--opt-shapes", "2x76x76", "--max-shapes", "4x92x92", "--precision", "fp32")
    by_peak = tmp_path / "by_peak.onnx"
    write_card(small_models["one"], by_peak, replace(card_of(small_models["one"]), decision=Decision(peak=0.9)))
    shown, _ = unet_deploy("build-engine", by_peak, "-o", made, *TARGETS, "--overwrite", *options)
    assert "labels and probabilities" in shown  # by which its objects are kept
    assert "4 of 44 x 44 to 92 x 92 pixels, uint8" in shown
    assert "fp32; layers: 13 fp32" in shown


def test_what_an_engine_needs_and_is_not_here_is_one_line(engine, slide, small_models, tmp_path):
    try:
        find_gpus()
        pytest.skip("this machine has a GPU")
    except DeviceError:
        pass
    mask = tmp_path / "mask.tif"
    assert "no NVIDIA GPU" in error("segment", slide, "-m", engine, "-o", mask, code=4)
    assert "for a CPU give the .onnx" in error("segment", slide, "-m", engine, "-d", "cpu", "-o", mask, code=4)
    assert "no NVIDIA GPU" in error("segment", slide, "-m", small_models["one"], "-d", "cuda", "-o", mask, code=4)
    assert "no NVIDIA GPU" in error("verify", engine, slide, "--reference", small_models["one"], code=4)
    assert "compiles for the GPU at hand" in error("build-engine", "nuclei", "-o", tmp_path / "e.engine", code=4)
    _, said = unet_deploy("build-engine", small_models["one"], "-o", tmp_path / "f.engine", *TARGETS, "--image", slide)
    assert "note: unverified: no NVIDIA GPU" in said
    assert not mask.exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--precision", "int4"], 2, "there are fp32, fp16, int8"),
        (["--precision", "int8"], 3, "has no 8-bit layers"),
        (["--output", "e.engine"], 2, "there are auto, labels, probabilities"),
        (["--pixels", "int16"], 2, "there are uint8, uint16, float32"),
        (["--tile-size", "75"], 2, "takes sides of 44 + k x 4 pixels"),
        (["--tile-size", "big"], 2, "give a side, or height and width"),
        (["--min-shapes", "1x44x44"], 2, "go together"),
        (["--workspace", "much"], 2, "give bytes"),
        (["--workspace", "4KiB"], 6, "no room to compile"),
        (["--compiler", "nvcc"], 2, "there are auto, tensorrt, tensorrt_rtx"),
        (["--target", "sm90"], 4, "knows"),
        (["--hardware-compatibility", "ampere"], 2, "are TensorRT's"),
    ],
)
def test_what_cannot_be_built_is_one_line(small_models, tmp_path, options, code, says):
    pytest.importorskip("tensorrt_rtx")
    target = () if "--target" in options else TARGETS
    silent = ("-o", tmp_path / "e.engine", "--no-progress", *target)
    assert says in error("build-engine", small_models["one"], *silent, *options, code=code)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_engine(small_models, tmp_path):
    pytest.importorskip("tensorrt_rtx")

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    silent = ("-o", tmp_path / "e.engine", "--no-progress", *TARGETS)
    line = error("build-engine", small_models["one"], *silent, code=6, preexec_fn=no_room)
    assert "no space left" in line
    assert not list(tmp_path.iterdir())


def test_a_tensorrt_that_is_too_old_or_broken_is_said(small_models, tmp_path):
    package = tmp_path / "lib" / "tensorrt"
    package.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path])}
    arguments = ("build-engine", small_models["one"], "-o", tmp_path / "e.engine", "--compiler", "tensorrt")
    (package / "__init__.py").write_text("__version__ = '8.6.1'\n")
    assert "tensorrt 8.6.1 is too old; install 10.3" in error(*arguments, code=4, env=environment)
    (package / "__init__.py").write_text("raise FileNotFoundError('libnvinfer.so.10 is missing')\n")
    assert "libnvinfer.so.10 is missing" in error(*arguments, code=4, env=environment)


def test_verify_against_a_reference(small_models, slide, tmp_path):
    shown, _ = unet_deploy("verify", small_models["one"], slide, "--reference", small_models["one"])
    assert "0 labels in a million differ" in shown
    line = error("verify", small_models["one"], slide, "--reference", small_models["three"], code=3)
    assert "another network" in line
    other = tmp_path / "other.onnx"
    worse(small_models["one"], other)
    line = error("verify", other, slide, "--reference", small_models["one"], code=5)
    assert "not the model's answer" in line
    unet_deploy("verify", other, slide, "--reference", small_models["one"], "--limit", "1000000")


def worse(model, path):
    """The same network with another head."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(str(model))
    head = next(each for each in proto.graph.initializer if each.name == "head.weight")
    head.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(head), "head.weight"))
    onnx.save(proto, str(path))


def test_an_engine_of_another_model_is_not_verified_against_this_one(engine, small_models, slide):
    assert "was not made of" in error("verify", engine, slide, "--reference", small_models["deep"], code=3)


def test_export_triton(small_models, tmp_path):
    shown, _ = unet_deploy("export-triton", small_models["one"], "-o", tmp_path / "models", "--name", "cells")
    assert "tritonserver --model-repository=" in shown
    assert (tmp_path / "models" / "cells" / "config.pbtxt").is_file()


def test_doctor_names_what_is_here_and_what_auto_takes():
    shown, _ = unet_deploy("doctor")
    for word in ("GPU", "onnxruntime", "tensorrt_rtx", "pycuda", "segment uses"):
        assert word in shown


WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "onnx" else find(name, *rest)
from unet_deploy.cli import main
main()
"""


def without_onnx(*arguments):
    command = [sys.executable, "-c", WITHOUT_ONNX, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_the_onnx_package_what_needs_it_says_so_and_the_rest_runs(nuclei, slide, tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    for command in (
        ("build-engine", nuclei, "-o", tmp_path / "e.engine"),
        ("quantize", nuclei, "--calibration", slide, "-o", tmp_path / "q.onnx"),
    ):
        done = without_onnx(*command)
        assert done.returncode == 2
        assert done.stderr.strip() == "error: this needs onnx; run: pip install 'unet-deploy[onnx]'"
    assert without_onnx("segment", slide, "-o", tmp_path / "m.tif", "-d", "cpu", "--scale", "1").returncode == 0
    done = without_onnx("benchmark", nuclei, "--size", "200", "--runs", "2", "-d", "cpu", "--runtime", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert "pixels to labels" in done.stdout


def test_a_precision_that_the_model_is_not_of_is_never_silently_another(nuclei, slide, tmp_path):
    mask = tmp_path / "mask.tif"
    line = error("segment", slide, "-o", mask, "-d", "cpu", "--precision", "int8", code=2)
    assert "is of fp32 layers; make it with: unet-deploy quantize" in line
    assert not mask.exists()
