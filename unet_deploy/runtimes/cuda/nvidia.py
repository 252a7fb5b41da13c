"""NVIDIA's cuda-bindings in PyCUDA's words: as much of them as `device.py` uses, with PyCUDA's meaning.

What is made here is given back, with its context current, when nothing refers to it any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from weakref import finalize

import numpy as np
from cuda.bindings import driver

event_flags = SimpleNamespace(BLOCKING_SYNC=driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC.value)


class Error(Exception):
    """What the driver says, or that it lacks what was asked of it."""


class MemoryError(Error):
    """There is no memory left of the kind that was asked for."""


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call of the driver gives. Raises Error and MemoryError."""
    try:
        status, *given = call(*arguments)
    except RuntimeError as error:  # the driver is not there, or older than the binding
        raise Error(f"{error}; update the GPU's driver, or install an older cuda-bindings") from None
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        kind = MemoryError if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY else Error
        raise kind(f"{call.__name__} failed: {text.decode() if text else 'unknown error'} (CUDA error {int(status)})")
    return given[0] if len(given) == 1 else tuple(given)


def init() -> None:
    """Start the driver; doing so again is harmless."""
    _ask(driver.cuInit, 0)


class _Retained:
    """A device's primary context, held as long as something refers to this."""

    def __init__(self, device: Any) -> None:
        self._handle = _ask(driver.cuDevicePrimaryCtxRetain, device)
        finalize(self, _quietly, driver.cuDevicePrimaryCtxRelease, device).atexit = False

    def push(self) -> None:
        _ask(driver.cuCtxPushCurrent, self._handle)
        _CURRENT.contexts.append(self)

    def give_back(self, call: Callable[..., Any], handle: Any) -> None:
        """Free something of this context."""
        with suppress(Error):
            self.push()
            try:
                _quietly(call, handle)
            finally:
                Context.pop()


def _quietly(call: Callable[..., Any], handle: Any) -> None:
    """Free something. What fails is left: after a fault on the device every call answers with that fault."""
    with suppress(Error):
        _ask(call, handle)


class _Current(threading.local):
    """The contexts that were pushed on this thread, the last one current."""

    def __init__(self) -> None:
        self.contexts: list[_Retained] = []


_CURRENT = _Current()


class Context:
    """A device's primary context, until it is detached."""

    def __init__(self, device: Any) -> None:
        self._retained: _Retained | None = _Retained(device)

    def push(self) -> None:
        if self._retained is None:
            raise Error("the device was closed")
        self._retained.push()

    @staticmethod
    def pop() -> None:
        _ask(driver.cuCtxPopCurrent)
        _CURRENT.contexts.pop()

    def detach(self) -> None:
        """Let go of it; what was made in it and is still used holds it until then."""
        self._retained = None


class Device:
    """A GPU by its number."""

    def __init__(self, index: int) -> None:
        self._device = _ask(driver.cuDeviceGet, index)

    def retain_primary_context(self) -> Context:
        return Context(self._device)


class _Owned:
    """Something of the current context, given back with the last reference to it."""

    def __init__(self, handle: Any, destroy: Callable[..., Any]) -> None:
        self.of_driver = handle
        self._give_back = finalize(self, _CURRENT.contexts[-1].give_back, destroy, handle)
        self._give_back.atexit = False  # the end of the process frees all, and the driver may be gone before


class _Pinned(_Owned):
    """Host memory that the device reaches by itself."""

    def __init__(self, size: int) -> None:
        address = int(_ask(driver.cuMemHostAlloc, size, 0))
        super().__init__(address, driver.cuMemFreeHost)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}


def pagelocked_empty(size: int, dtype: type[np.uint8]) -> np.ndarray:
    """(size,) uint8 of pinned memory, which lives as long as an array shows it."""
    return np.asarray(_Pinned(size), dtype)


class _Allocation(_Owned):
    """A block of device memory; as an int its address."""

    def __init__(self, size: int) -> None:
        super().__init__(_ask(driver.cuMemAlloc, size), driver.cuMemFree)

    def __int__(self) -> int:
        return int(self.of_driver)

    def free(self) -> None:
        self._give_back()


mem_alloc = _Allocation


def mem_get_info() -> tuple[int, int]:
    """Bytes of device memory: free, and all."""
    free, whole = _ask(driver.cuMemGetInfo)
    return free, whole


class Stream(_Owned):
    def __init__(self, flags: int) -> None:
        super().__init__(_ask(driver.cuStreamCreate, flags), driver.cuStreamDestroy)
        self.handle = int(self.of_driver)

    def synchronize(self) -> None:
        _ask(driver.cuStreamSynchronize, self.of_driver)

    def wait_for_event(self, event: Event) -> None:
        _ask(driver.cuStreamWaitEvent, self.of_driver, event.of_driver, 0)


class Event(_Owned):
    def __init__(self, flags: int) -> None:
        super().__init__(_ask(driver.cuEventCreate, flags), driver.cuEventDestroy)

    def record(self, stream: Stream) -> Event:
        _ask(driver.cuEventRecord, self.of_driver, stream.of_driver)
        return self

    def synchronize(self) -> None:
        _ask(driver.cuEventSynchronize, self.of_driver)

    def time_since(self, earlier: Event) -> float:
        """Milliseconds."""
        return float(_ask(driver.cuEventElapsedTime, earlier.of_driver, self.of_driver))


def memcpy_htod_async(target: int, source: np.ndarray, stream: Stream) -> None:
    _ask(driver.cuMemcpyHtoDAsync, target, _address(source), source.nbytes, stream.of_driver)


def memcpy_dtoh_async(target: np.ndarray, source: int, stream: Stream) -> None:
    _ask(driver.cuMemcpyDtoHAsync, _address(target), source, target.nbytes, stream.of_driver)


def _address(array: np.ndarray) -> int:
    """Where an array begins. Raises Error for one with gaps, which one copy cannot fill."""
    if not array.flags.c_contiguous:
        raise Error("an array that is copied must be contiguous")
    return array.ctypes.data
