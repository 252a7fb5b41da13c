"""What is said to install on Windows and macOS is there as wheels: nobody needs a compiler."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

EVERYWHERE = ("cpu", "openvino", "onnx", "objects", "imagej", "geo", "zarr", "distributed", "napari")
"""Extras for every system."""


def requirements(extra):
    """What the package and one of its extras need, and what extras of its own that one names."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = []
    for each in project["optional-dependencies"][extra]:
        own = re.fullmatch(r"unet-deploy\[(\w+)\]", each)
        needed += requirements(own[1]) if own else [each]
    return [*project["dependencies"], *needed]


@pytest.mark.long
@pytest.mark.parametrize("platform", ["win_amd64", "macosx_14_0_arm64"])
@pytest.mark.parametrize("extra", EVERYWHERE)
def test_an_extra_installs_from_wheels_on_every_system(extra, platform, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    where = ["--platform", platform, "--python-version", "3.11", "--target", str(tmp_path)]
    versions = ["-c", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [*command, *where, *versions, *requirements(extra)], capture_output=True, text=True, check=False
    )
    if "NewConnectionError" in done.stderr:
        pytest.skip("there is no registry of packages to ask")
    assert done.returncode == 0, done.stderr[-2000:]
