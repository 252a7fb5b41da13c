"""What is said to install on Windows and macOS is there as wheels: nobody needs a compiler."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

EVERYWHERE = ("cpu", "openvino", "webgpu", "onnx", "objects", "imagej", "geo", "zarr", "distributed", "view", "napari")
"""Extras for every system."""
WINDOWS, MACOS = "win_amd64", "macosx_14_0_arm64"
LINUX = "manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux2014_x86_64"
WITH_A_GPU = ("gpu", "tensorrt-rtx")
"""Extras for Linux and Windows. TensorRT's own libraries are wheels too, but of NVIDIA's index, which fetches them."""
LISTS = {"tensorrt-rtx": ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")}
"""What lists other packages in a source archive of pure Python, and what it lists, where the code is."""
EXTRAS = {WINDOWS: (*EVERYWHERE, *WITH_A_GPU, "directml"), MACOS: EVERYWHERE, LINUX: WITH_A_GPU}


def requirements(extra):
    """What the package and one of its extras need, and what extras of its own that one names."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = []
    for each in project["optional-dependencies"][extra]:
        own = re.fullmatch(r"unet-deploy\[(\w+)\]", each)
        name = re.match(r"[\w-]+", each)[0]
        needed += requirements(own[1]) if own else LISTS.get(name, [each])
    return [*project["dependencies"], *needed]


@pytest.mark.long
@pytest.mark.parametrize("platform", EXTRAS, ids=["Windows", "macOS", "Linux"])
def test_every_extra_installs_from_wheels_on_every_system_that_it_is_for(platform, tmp_path):
    """All at once, which fetches what they share but once: wheels for all of them are wheels for each."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    platforms = [word for each in platform.split() for word in ("--platform", each)]
    where = [*platforms, "--python-version", "3.11", "--target", str(tmp_path)]
    versions = ["-c", str(ROOT / "constraints.txt")]
    needed = [each for extra in EXTRAS[platform] for each in requirements(extra)]
    done = subprocess.run([*command, *where, *versions, *needed], capture_output=True, text=True, check=False)
    if "NewConnectionError" in done.stderr:
        pytest.skip("there is no registry of packages to ask")
    assert done.returncode == 0, done.stderr[-2000:]
