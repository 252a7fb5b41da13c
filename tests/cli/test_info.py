"""info says what every thing is that segment reads or writes; doctor says what is here, and how to get the rest."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from in_process import refusal, run
from PIL import Image
from web_server import serving

from unet_deploy.measure import inspection
from unet_deploy.runtimes.table import RUNTIMES
from unet_deploy.system.words import bytes_text

GREY = (np.indices((60, 70)).sum(0) % 251).astype(np.uint8)


def info(capsys, what):
    """The rows of a table as a dictionary."""
    assert run("info", what) == 0
    rows = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    return {name.strip(): value.strip() for name, value in rows}


@pytest.fixture
def zarr_image(tmp_path):
    """An OME-Zarr image of two z slices with pixels of half a micrometre."""
    zarr = pytest.importorskip("zarr")
    axes = [{"name": "z", "type": "space"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
    multiscales = {"name": "i", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    attributes = {"ome": {"version": "0.5", "multiscales": [multiscales]}}
    group = zarr.create_group(str(tmp_path / "image.zarr"), zarr_format=3, attributes=attributes)
    array = group.create_array("0", shape=(2, *GREY.shape), chunks=(1, 32, 32), dtype="uint8")
    array[:] = np.stack([GREY, GREY])
    return tmp_path / "image.zarr"


@pytest.fixture
def served(tmp_path):
    """The address of a server of the folder."""
    with serving(tmp_path) as address:
        yield address


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_info_of_an_image_file(capsys, tmp_path, suffix):
    file = tmp_path / f"image.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(file, GREY)
    else:
        Image.fromarray(GREY).save(file)
    found = info(capsys, file)
    assert found["image"] == str(file)
    assert found["height x width"] == "60 x 70 pixels"
    assert found["pixels"] == f"uint8, 4.2 kB decoded, {bytes_text(file.stat().st_size)} on disk"


def test_info_of_an_ome_zarr_image(capsys, zarr_image):
    found = info(capsys, zarr_image)
    assert found["image"] == str(zarr_image)
    assert found["pages"] == "2"
    assert found["height x width"] == "60 x 70 pixels"
    assert found["pixel size"] == "0.5 um"
    assert "8.4 kB decoded" in found["pixels"]
    assert "on disk" in found["pixels"]


@pytest.mark.parametrize("where", ["mask.zarr", "image.zarr/labels/cells"])
def test_info_of_an_ome_zarr_mask_names_its_classes(capsys, zarr_image, small_models, tmp_path, where):
    mask = tmp_path / where
    assert run("segment", zarr_image, "-m", small_models["three"], "-o", mask, "-d", "cpu", "--no-progress") == 0
    capsys.readouterr()
    found = info(capsys, mask)
    assert found["mask"] == str(mask)
    assert found["height x width"] == "60 x 70 pixels"
    assert found["classes"] == "1 class 1, 2 class 2"


def test_info_of_a_mask_tiff(capsys, small_models, tmp_path):
    image, mask = tmp_path / "image.tif", tmp_path / "mask.tif"
    tifffile.imwrite(image, GREY)
    assert run("segment", image, "-m", small_models["one"], "-o", mask, "-d", "cpu", "--no-progress") == 0
    capsys.readouterr()
    found = info(capsys, mask)
    assert found["mask"] == str(mask)
    assert found["height x width"] == "60 x 70 pixels"
    assert found["made of"] == str(image)
    assert found["classes"] == "class 0, class 1"


def test_info_of_a_url(capsys, zarr_image, served):
    pytest.importorskip("aiohttp")
    found = info(capsys, f"{served}/image.zarr")
    assert found["image"] == f"{served}/image.zarr"
    assert found["height x width"] == "60 x 70 pixels"
    assert found["pixels"] == "uint8, 8.4 kB decoded"


def test_info_of_a_model_by_file_and_by_name(capsys, nuclei):
    by_file = info(capsys, nuclei)
    assert by_file["classes"] == "0 background, 1 nucleus"
    assert info(capsys, "nuclei") == by_file


def test_info_of_an_engine(capsys, small_models, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    engine = tmp_path / "one.engine"
    assert run("build-engine", small_models["one"], "-o", engine, "--target", "sm86", "--no-progress") == 0
    built = capsys.readouterr().out
    assert run("info", engine) == 0
    assert capsys.readouterr().out == built
    assert "compute capability 8.6" in built


@pytest.mark.parametrize("name", ["none.tif", "none.zarr", "none.onnx", "none.engine", "none"])
def test_info_of_nothing_is_one_line(capsys, tmp_path, name):
    assert "no such" in refusal(capsys, "info", tmp_path / name, code=3)


# -- doctor ----------------------------------------------------------------------------------------------------------


def test_doctor_lists_every_runtime_and_every_optional_package(capsys, monkeypatch):
    missing = {"tensorrt", "zarr", "pycuda"}
    monkeypatch.setattr(inspection, "is_here", lambda name: name not in missing)
    answers = {
        "torch": (1, "", "Traceback\nImportError: libcudart.so.13 is not here\n"),
        "openvino": (0, "2026.4\nCPU GPU.0 NPU\n", ""),
    }

    start = subprocess.run

    def answer(command, **options):
        if command[0] != sys.executable:
            return start(command, **options)
        name = command[-1].partition("    import ")[2].split()[0].partition(".")[0]
        code, shown, said = answers.get(name, (0, "1.2.3\n", ""))
        shown += "CPU CUDA WebGpu\n" if name == "onnxruntime" else ""
        return subprocess.CompletedProcess(command, code, shown, said)

    monkeypatch.setattr(inspection.subprocess, "run", answer)
    assert run("doctor") == 0
    found = {line.split()[0]: line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()}
    assert set(RUNTIMES) <= found.keys()
    assert found["openvino"] == "2026.4, for CPU GPU.0 NPU"
    assert found["onnxruntime"] == "1.2.3, for CPU CUDA WebGpu"
    assert found["webgpu"] == "1.2.3"
    assert found["coreml"] == ("not installed" if sys.platform == "darwin" else "for macOS alone")
    assert found["cuda.bindings"] == "1.2.3"
    assert found["CUDA"].split(None, 1) == ["through", "cuda.bindings; pycuda is not installed"]
    assert found["tensorrt"] == "not installed; run: pip install 'unet-deploy[tensorrt]'"
    assert found["zarr"] == "not installed; run: pip install 'unet-deploy[zarr]'"
    assert found["torch"] == "installed, but cannot be loaded: ImportError: libcudart.so.13 is not here"


IMPORTED_AS = {
    "scikit-image": "skimage",
    "tensorrt-rtx": "tensorrt_rtx",
    "onnxruntime-gpu": "onnxruntime",
    "onnxruntime-directml": "onnxruntime",
    "onnxruntime-webgpu": "onnxruntime",
    "cuda-bindings": "cuda.bindings",
}


def test_doctor_looks_at_all_that_an_extra_brings():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    asked_for = [line for name, lines in extras.items() if not name.startswith("test") for line in lines]
    brought = {re.match("[a-z-]+", line)[0] for line in asked_for} - {"unet-deploy"}
    shown = {name: extra for name, _, extra in inspection._PACKAGES}
    assert {IMPORTED_AS.get(name, name) for name in brought} == shown.keys()
    assert set(shown.values()) <= extras.keys()
