"""Nobody is told that a runtime is used: no name is looked up, nothing written at home, no process started."""

import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import tifffile
from command_line import command_words

from unet_deploy.runtimes.untold import untold

WATCHED = """
import runpy, sys

def watch(event, given):
    if event in ("socket.getaddrinfo", "socket.connect", "os.fork", "subprocess.Popen"):
        print(event, *given, file=sys.stderr)

sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_module("unet_deploy.cli", run_name="__main__", alter_sys=True)
"""


def at_home(folder):
    """The environment of somebody whose home is empty, on no machine that would be spared."""
    homes = {name: str(folder / "home") for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA")}
    spared = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "JENKINS_URL", "ORT_DISABLE_TELEMETRY")
    here = {name: value for name, value in os.environ.items() if name not in spared}
    (folder / "home").mkdir()
    return here | homes | {"UNET_DEPLOY_CACHE": str(folder / "cache")}


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_command_makes_no_connection_and_writes_nothing_at_home(nuclei, tmp_path, runtime):
    pytest.importorskip(runtime)
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, np.zeros((60, 60), np.uint8))
    words = command_words("segment", image, "-m", nuclei, "--device", "cpu", "--runtime", runtime)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words[2:], "-o", str(tmp_path / "mask.tif")],
        capture_output=True,
        text=True,
        check=False,
        env=at_home(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith(("socket.", "os.", "subprocess."))] == []
    assert os.listdir(tmp_path / "home") == []


def test_to_look_which_runtimes_are_here_writes_nothing_at_home(tmp_path):
    done = subprocess.run(command_words("doctor"), capture_output=True, text=True, check=True, env=at_home(tmp_path))
    assert "openvino" in done.stdout
    assert not {"intel", ".cache"} & set(os.listdir(tmp_path / "home"))  # Matplotlib has a place for its settings


@pytest.mark.parametrize("own", [{}, {"openvino_telemetry": object()}], ids=["not imported", "imported"])
def test_what_tells_is_as_it_was_once_a_runtime_is_imported(monkeypatch, own):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    for name, module in own.items():
        monkeypatch.setitem(sys.modules, name, module)
    with untold():
        with pytest.raises(ImportError):
            import_module("openvino_telemetry")
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert {name: module for name, module in sys.modules.items() if name == "openvino_telemetry"} == own
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
