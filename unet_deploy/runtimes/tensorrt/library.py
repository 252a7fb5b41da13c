"""The Python module of TensorRT or of TensorRT for RTX: one API in two modules, loaded here or refused in one line."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from unet_deploy.errors import DeviceError, reason
from unet_deploy.system.extras import install_line

Name = Literal["tensorrt", "tensorrt_rtx"]
"""The two, by the names of their modules."""

OLDEST: dict[Name, tuple[int, ...]] = {"tensorrt": (10, 3), "tensorrt_rtx": (1, 2)}
"""The first with all that is used here: strong typing, and scratch memory of our own. 10.3 is JetPack 6.1's."""


def is_installed(name: Name) -> bool:
    """Whether the module is there. Nothing is imported."""
    return find_spec(name) is not None


def how_to_install(name: Name) -> str:
    """The command that brings the module."""
    return install_line(name.replace("_", "-"))


def load(name: Name) -> Any:
    """The imported module. Raises DeviceError where it is not installed, cannot be loaded or is too old."""
    if not is_installed(name):
        raise DeviceError(f"{name} is not installed; run: {how_to_install(name)}")
    try:
        module = import_module(name)
    except Exception as error:  # a missing driver or library comes as any of several types
        raise DeviceError(f"{name} cannot be loaded ({reason(error)}); run: unet-deploy doctor") from error
    version = str(module.__version__)
    if version_numbers(version) < OLDEST[name]:
        oldest = ".".join(map(str, OLDEST[name]))
        raise DeviceError(f"{name} {version} is too old; install {oldest} or later")
    return module


def version_numbers(version: str) -> tuple[int, ...]:
    """Numbers of a version that can be compared.

    >>> version_numbers("10.3.0.26")
    (10, 3, 0, 26)
    """
    return tuple(int(part) for part in version.split(".") if part.isdigit())
