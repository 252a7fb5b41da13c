"""Which Python package speaks with CUDA's driver: PyCUDA where it is there, otherwise NVIDIA's cuda-bindings.

PyCUDA is compiled on installation, and JetPack and many laboratories have it; cuda-bindings comes as wheels.
`device.py` speaks PyCUDA's words; `pycuda.py` and `nvidia.py` are as much of them as it needs, by either package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from unet_deploy.errors import DeviceError, reason
from unet_deploy.system.extras import install_line, is_here


@dataclass(frozen=True)
class Binding:
    """One of the two."""

    package: str
    """What is imported of it."""
    module: str
    """What speaks PyCUDA's words."""
    extra: str
    """What of unet-deploy[...] installs it."""

    @property
    def installed(self) -> bool:
        """Whether the package is there; nothing of it is imported."""
        return is_here(self.package)


PYCUDA = Binding("pycuda", "unet_deploy.runtimes.cuda.pycuda", "pycuda")
NVIDIA = Binding("cuda.bindings", "unet_deploy.runtimes.cuda.nvidia", "gpu")
BINDINGS = (PYCUDA, NVIDIA)
"""In order of preference."""


def is_installed() -> bool:
    """Whether one of them is there; nothing is imported."""
    return any(each.installed for each in BINDINGS)


def load() -> Any:
    """The module that speaks PyCUDA's words, of the first binding that can be loaded.

    Raises DeviceError, with what is wrong or what to install, where none can.
    """
    problems = []
    for each in filter(lambda each: each.installed, BINDINGS):
        try:
            return import_module(each.module)
        except Exception as error:  # a missing library comes as any of several types
            problems.append(f"{each.package} cannot be loaded ({reason(error)})")
    problem = "; ".join(problems) or f"a GPU needs {NVIDIA.package} or {PYCUDA.package}"
    raise DeviceError(f"{problem}; run: {install_line(NVIDIA.extra)}")


def choice(problems: Mapping[str, str]) -> str:
    """Which binding `load` takes, and why, in words.

    problems: what is wrong with a binding, by its package; nothing of one that can be loaded.

    >>> choice({})
    'pycuda, which is preferred where it is installed'
    >>> choice({"pycuda": "is not installed"})
    'cuda.bindings; pycuda is not installed'
    """
    refused = "; ".join(f"{each.package} {problems[each.package]}" for each in BINDINGS if each.package in problems)
    taken = next((each for each in BINDINGS if each.package not in problems), None)
    if taken is PYCUDA:
        return f"{PYCUDA.package}, which is preferred where it is installed"
    return f"{taken.package if taken else 'nothing'}; {refused}"
