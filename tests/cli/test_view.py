"""The view command says where the page is, and ends well."""

import builtins
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import tifffile
from in_process import refusal


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 40), np.uint8))
    return tmp_path / "a.tif"


def test_without_the_package_it_says_how_to_get_it(capsys, image, monkeypatch):
    imported = builtins.__import__

    def missing(name, *more, **named):
        if name.startswith(("starlette", "uvicorn", "unet_deploy.viewing.serve")):
            raise ImportError(name)
        return imported(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert "pip install 'unet-deploy[view]'" in refusal(capsys, "view", image)


def test_it_prints_the_address_serves_what_was_named_and_ends_with_ctrl_c(image):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "unet_deploy.cli", "view", image, image, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}scene", timeout=20) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address.rsplit("/", 2)[0] + "/", timeout=20)
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=20)
    finally:
        server.kill()
    assert server.returncode == 0
    assert said.splitlines() == [
        f"note: {image}: does not say what it is, and is shown as a mask",
        "Ctrl-C ends it; whoever has the address sees the files",
    ]


def test_what_cannot_be_looked_at_is_refused_on_one_line(capsys, image, tmp_path):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    assert "none.tif: no such file" in refusal(capsys, "view", tmp_path / "none.tif", code=3)
    other = tmp_path / "b.tif"
    tifffile.imwrite(other, np.zeros((30, 90), np.uint8))
    assert "name files of the same image" in refusal(capsys, "view", image, other)
    assert "cannot be listened on" in refusal(capsys, "view", image, "--host", "192.0.2.1")
