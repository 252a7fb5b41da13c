"""CUDA without a GPU: the room of CUDA, through each binding, on a driver that the system's C compiler makes here.

Each run is a process of its own, the only one that finds the emulated driver. What it runs is in tests/emulated_cuda.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
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
    library = folder / "libcuda.so.1"
    compile_to(library, ROOM / "libcuda.c")
    if PYCUDA.installed:
        stand_ins = folder / "stand_ins.c"
        missing = symbols(pycuda_module(), "--undefined-only") - symbols(library, "--defined-only")
        stand_ins.write_text("".join(f"int {name}(void) {{ return {NOT_SUPPORTED}; }}\n" for name in missing))
        compile_to(library, ROOM / "libcuda.c", stand_ins)
        library.with_suffix("").symlink_to(library)  # what it was linked to may have either name
    return folder


NOT_SUPPORTED = 801
"""CUDA_ERROR_NOT_SUPPORTED, by what PyCUDA is linked to and nobody calls here."""


def compile_to(library, *sources):
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([COMPILER, *options, "-o", library, *sources], check=True)


def symbols(library, which):
    """Functions of CUDA's driver that a library has, or wants."""
    text = subprocess.run(["nm", "-D", which, library], check=True, capture_output=True, text=True).stdout
    return {name for line in text.splitlines() if re.match("cu[A-Z]", name := line.split()[-1])}


def pycuda_module():
    (folder,) = find_spec("pycuda").submodule_search_locations
    return next(Path(folder).glob("_driver.*.so"))


@pytest.mark.parametrize(("binding", "other"), [(NVIDIA, PYCUDA), (PYCUDA, NVIDIA)], ids=["cuda-bindings", "pycuda"])
def test_what_the_room_of_cuda_promises_holds_and_what_is_forgotten_is_seen(driver, binding, other):
    if not binding.installed:
        pytest.skip(f"{binding.package} is not installed")
    found = os.pathsep.join(filter(None, (str(driver), os.environ.get("LD_LIBRARY_PATH"))))
    said = {"EMULATED_CUDA_BINDING": binding.module, "EMULATED_CUDA_WITHOUT": other.package}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(ROOM / "promises.py")],
        env={**os.environ, "LD_LIBRARY_PATH": found, **said},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
