"""A CUDA device for the ring: pinned buffers, device buffers, streams, events and graphs, by PyCUDA.

It works in the GPU's primary context, the one that ONNX Runtime, TensorRT and PyTorch use, so all can live in one
process. The context is current only inside `CudaDevice.active`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError
from unet_deploy.runtimes import OutOfMemoryError
from unet_deploy.runtimes.table import loading
from unet_deploy.system.kernel import CUDA_DRIVER

with loading("pycuda", "gpu"):
    import pycuda.driver as cuda

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: never waits for the default stream, which other libraries may use."""
_THREAD_LOCAL_CAPTURE = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil a capture."""


class CudaDevice:
    """One GPU. A context manager; all else of this file is used inside `active`. Raises DeviceError."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        with cuda_errors(f"GPU {index}"):
            cuda.init()
            self._context = cuda.Device(index).retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the device current on this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def pinned(self, size: int) -> np.ndarray:
        with cuda_errors(f"{size} bytes of pinned host memory"):
            return cuda.pagelocked_empty(int(size), np.uint8)

    def memory(self, size: int) -> CudaMemory:
        return CudaMemory(size)

    def stream(self) -> CudaStream:
        return CudaStream()

    def free_memory(self) -> int:
        """Bytes of device memory that are free now."""
        free, _ = cuda.mem_get_info()
        return free

    def close(self) -> None:
        self._context.detach()


class CudaMemory:
    """A block of device memory."""

    def __init__(self, size: int) -> None:
        with cuda_errors(f"{size} bytes of GPU memory"):
            self._allocation = cuda.mem_alloc(int(size))
        self.address = int(self._allocation)

    def free(self) -> None:
        self._allocation.free()


class CudaEvent:
    """A point in a stream's work; a thread that waits for it sleeps."""

    def __init__(self, stream: Any) -> None:
        self.event = cuda.Event(cuda.event_flags.BLOCKING_SYNC).record(stream)

    def wait(self) -> None:
        with cuda_errors("the GPU's work"):
            self.event.synchronize()

    def seconds_since(self, earlier: CudaEvent) -> float:
        """Time between two events that have passed, by the GPU's clock."""
        return self.event.time_since(earlier.event) / 1000


class CudaStream:
    """A stream of its own, which does not wait for the default stream."""

    def __init__(self) -> None:
        with cuda_errors("a CUDA stream"):
            self._stream = cuda.Stream(_NON_BLOCKING)
        self.handle = int(self._stream.handle)

    def upload(self, source: np.ndarray, target: CudaMemory) -> None:
        with cuda_errors("a copy to the GPU"):
            cuda.memcpy_htod_async(target.address, source, self._stream)

    def download(self, source: CudaMemory, target: np.ndarray) -> None:
        with cuda_errors("a copy from the GPU"):
            cuda.memcpy_dtoh_async(target, source.address, self._stream)

    def record(self) -> CudaEvent:
        with cuda_errors("a CUDA event"):
            return CudaEvent(self._stream)

    def wait_for(self, event: CudaEvent) -> None:
        with cuda_errors("a wait of two streams"):
            self._stream.wait_for_event(event.event)

    def synchronize(self) -> None:
        with cuda_errors("the GPU's work"):
            self._stream.synchronize()


class CudaGraph:
    """What a call puts on a stream, captured once and launched with one call afterwards.

    PyCUDA knows no graphs; these five functions of the driver are all that it takes.
    """

    def __init__(self, stream: CudaStream, work: Callable[[], None]) -> None:
        self._driver = ctypes.CDLL(CUDA_DRIVER)
        self._stream = ctypes.c_void_p(stream.handle)
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._ask("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL_CAPTURE))
        try:
            work()
        finally:
            self._ask("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            self._ask("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._ask("cuGraphDestroy", graph)

    def launch(self) -> None:
        self._ask("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        self._ask("cuGraphExecDestroy", self._executable)

    def _ask(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            raise DeviceError(f"CUDA graph: {function} failed (CUDA error {status})")


@contextmanager
def cuda_errors(what: str) -> Iterator[None]:
    """PyCUDA's errors, which share no class with Python's, as ours."""
    try:
        yield
    except cuda.MemoryError as error:
        raise OutOfMemoryError(f"no room for {what}") from error
    except cuda.Error as error:
        raise DeviceError(f"{what}: {error}") from error
