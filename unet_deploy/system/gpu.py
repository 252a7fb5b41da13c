"""Which NVIDIA GPUs are here, asked of the driver itself: no package is needed to know."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from unet_deploy.errors import DeviceError
from unet_deploy.system.kernel import CUDA_DRIVER

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. capability: compute capability, "8.6"; driver: the CUDA version that it supports, "13.0"."""

    index: int
    name: str
    capability: str
    driver: str


def find_gpus() -> list[Gpu]:
    """Return all GPUs, in the driver's order. Raises DeviceError, which says why, where there is none."""
    try:
        cuda = ctypes.CDLL(CUDA_DRIVER)
    except OSError as error:
        raise DeviceError(f"no NVIDIA GPU: the driver's {CUDA_DRIVER} is not on this machine") from error

    def ask(function: str, *arguments: object) -> None:
        status = getattr(cuda, function)(*arguments)
        if status:
            text = ctypes.c_char_p()
            cuda.cuGetErrorString(status, ctypes.byref(text))
            raise DeviceError(f"no NVIDIA GPU: {(text.value or b'').decode() or function} (CUDA error {status})")

    def number(function: str, *arguments: object) -> int:
        value = ctypes.c_int()
        ask(function, ctypes.byref(value), *arguments)
        return value.value

    ask("cuInit", 0)
    version = number("cuDriverGetVersion")
    gpus = []
    for index in range(number("cuDeviceGetCount")):
        device = number("cuDeviceGet", index)
        name = ctypes.create_string_buffer(256)
        ask("cuDeviceGetName", name, len(name), device)
        capability = ".".join(str(number("cuDeviceGetAttribute", part, device)) for part in (_MAJOR, _MINOR))
        driver = f"{version // 1000}.{version % 1000 // 10}"
        gpus.append(Gpu(index, name.value.decode(errors="replace"), capability, driver))
    if not gpus:
        raise DeviceError("no NVIDIA GPU: the driver sees none (is CUDA_VISIBLE_DEVICES set?)")
    return gpus


def find_gpu(index: int = 0) -> Gpu:
    """Return the GPU of this index. Raises DeviceError where there is none."""
    gpus = find_gpus()
    if index >= len(gpus):
        raise DeviceError(f"--device cuda:{index}: there are {len(gpus)} GPUs, cuda:0 to cuda:{len(gpus) - 1}")
    return gpus[index]
