"""What is installed is what was meant: a wheel with the shipped model, and light imports."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from unet_deploy.zoo import card_of, shipped_models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("unet_deploy-*.whl")
    return path


def test_the_wheel_carries_model_types_trainer_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "unet_deploy/engines/nuclei.onnx",
        "unet_deploy/py.typed",
        "unet_deploy/cli/__main__.py",
        "unet_deploy/viewing/page/index.html",
        "unet_deploy/reporting/page.css",
        "unet_deploy/napari/napari.yaml",
        "unet_deploy/viewing/page/openseadragon.min.js",
        "unet_deploy/viewing/page/openseadragon.LICENSE.txt",
        "unet_deploy/viewing/page/view.js",
        "unet_deploy/viewing/page/scene.js",
        "trainer/unet.py",
    ):
        assert name in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in names)


def test_the_wheel_is_of_every_system(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_alone_finds_its_model(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = "from unet_deploy.zoo import find_model; print(find_model())"
    found = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True, env={"PYTHONPATH": "."})
    assert Path(tmp_path, found.strip()).resolve() == (tmp_path / "unet_deploy" / "engines" / "nuclei.onnx").resolve()


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_small_and_says_where_it_is_from_and_how_good_it_is(name):
    file = shipped_models()[name]
    assert file.stat().st_size < 10e6
    card = card_of(file)
    assert card.seed is not None
    for said in ("trained_on", "license", "command", "split", "evaluation", "evaluated_on"):
        assert getattr(card, said), said


@pytest.mark.parametrize("module", ["unet_deploy", "unet_deploy.cli"])
def test_importing_is_light(module):
    script = f"import sys, {module}; assert not {{'numpy', 'torch', 'onnxruntime', 'scipy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_only_the_widget_needs_napari():
    others = ("reader", "sample", "source", "work", "answer", "region")
    imports = "; ".join(f"import unet_deploy.napari.{name}" for name in others)
    script = f"import sys; {imports}; assert not {{'napari', 'qtpy', 'magicgui'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_inference_never_imports_torch():
    script = (
        "import sys, numpy as np, unet_deploy; unet_deploy.segment(np.zeros((20, 20), np.uint8), scale=1);"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
