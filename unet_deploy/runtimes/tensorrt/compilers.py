"""Which compilers of engines there are, and which of them is taken."""

from __future__ import annotations

from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.runtimes.tensorrt.compiler import Compiler
from unet_deploy.runtimes.tensorrt.library import Name, how_to_install, is_installed
from unet_deploy.runtimes.tensorrt.rtx import RtxCompiler

COMPILERS: dict[str, type[Compiler]] = {each.name: each for each in (Compiler, RtxCompiler)}
"""In the order in which auto takes them."""


def find_compiler(name: str = "auto", *, targets: bool = False) -> Compiler:
    """The compiler of this name.

    auto is TensorRT, or TensorRT for RTX where that alone is installed or targets are given. Raises UsageError for
    another name, and DeviceError where the compiler is not installed, cannot be loaded or is too old.
    """
    if name in COMPILERS:
        return COMPILERS[name]()
    if name != "auto":
        raise UsageError(f"--compiler {name}: there are {', '.join(COMPILERS)} and auto")
    able: tuple[Name, ...] = (RtxCompiler.name,) if targets else (Compiler.name, RtxCompiler.name)
    found = next(filter(is_installed, able), None)
    if found is None:
        raise DeviceError(f"no compiler for engines is installed; run: {', or '.join(map(how_to_install, able))}")
    return COMPILERS[found]()
