"""Ctrl-C while and after models run is a KeyboardInterrupt, in whatever order and thread they are closed."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

OPENS = """
import os, signal, sys, threading
from pathlib import Path
from unet_deploy.runtimes.openvino import OpenVinoRuntime

signal.signal(signal.SIGINT, signal.default_int_handler)
first, second = (OpenVinoRuntime(Path(sys.argv[1])) for _ in range(2))
"""
CLOSES = {
    "the first first": "first.close(); second.close()",
    "in another thread": """
for each in (second, first):
    closing = threading.Thread(target=each.close)
    closing.start()
    closing.join()
""",
}
ASKS = """
del first, second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("closes", CLOSES.values(), ids=CLOSES)
@pytest.mark.skipif(sys.platform == "win32", reason="there, signals have no stack of their own")
def test_ctrl_c_finds_its_stack_once_models_are_closed(nuclei, closes):
    done = subprocess.run(
        [sys.executable, "-c", OPENS + closes + ASKS, nuclei], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n"
