"""PyCUDA, as much of it as `device.py` uses, and one thing mended: what it does when it detaches a primary context.

It pushes the context, releases it, and leaves it on the thread's stack for ever; on another thread than the one that
retained it, it does not even release it.
"""

from __future__ import annotations

import ctypes
import threading

from pycuda import driver
from pycuda.driver import (
    Error,
    Event,
    MemoryError,
    Stream,
    event_flags,
    init,
    mem_alloc,
    mem_get_info,
    memcpy_dtoh_async,
    memcpy_htod_async,
    pagelocked_empty,
)

from unet_deploy.system.kernel import CUDA_DRIVER

__all__ = [
    "Context",
    "Device",
    "Error",
    "Event",
    "MemoryError",
    "Stream",
    "event_flags",
    "init",
    "mem_alloc",
    "mem_get_info",
    "memcpy_dtoh_async",
    "memcpy_htod_async",
    "pagelocked_empty",
]


class Context:
    """A device's primary context, until it is detached."""

    def __init__(self, index: int) -> None:
        self._index, self._thread = index, threading.get_ident()
        self._context = driver.Device(index).retain_primary_context()

    def push(self) -> None:
        self._context.push()

    @staticmethod
    def pop() -> None:
        driver.Context.pop()

    def detach(self) -> None:
        """Release it, where it is not current by a push of this object."""
        library = ctypes.CDLL(CUDA_DRIVER)
        self._context.detach()
        if threading.get_ident() == self._thread:
            library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        else:
            library.cuDevicePrimaryCtxRelease_v2(ctypes.c_int(self._index))


class Device:
    """A GPU by its number."""

    def __init__(self, index: int) -> None:
        self._index = index

    def retain_primary_context(self) -> Context:
        return Context(self._index)
