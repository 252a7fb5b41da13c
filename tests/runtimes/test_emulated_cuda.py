"""CUDA without a GPU: the room of CUDA, through each binding, on a driver that the system's C compiler makes here.

Each run is a process of its own, the only one that finds the emulated driver. What it runs is in tests/emulated_cuda.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unet_deploy.runtimes.cuda.binding import NVIDIA, PYCUDA

TESTS = Path(__file__).parents[1]
ROOM = TESTS / "emulated_cuda"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the emulated driver is for Linux"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to make the emulated driver"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A folder with the emulated driver."""
    folder = tmp_path_factory.mktemp("driver")
    warnings = ["-Wall", "-Wextra", "-Werror"]
    library = ["-shared", "-fPIC", "-pthread", "-o", folder / "libcuda.so.1"]
    subprocess.run([COMPILER, "-O1", *warnings, *library, ROOM / "libcuda.c"], check=True)
    return folder


@pytest.mark.parametrize(("binding", "other"), [(NVIDIA, PYCUDA), (PYCUDA, NVIDIA)], ids=["cuda-bindings", "pycuda"])
def test_what_the_room_of_cuda_promises_holds_and_what_is_forgotten_is_seen(driver, binding, other):
    if not binding.installed:
        pytest.skip(f"{binding.package} is not installed")
    said = {"EMULATED_CUDA_BINDING": binding.module, "EMULATED_CUDA_WITHOUT": other.package}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(ROOM / "promises.py")],
        env={**os.environ, "LD_LIBRARY_PATH": str(driver), **said},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
