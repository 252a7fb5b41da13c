"""A CUDA device for the ring: pinned buffers, device buffers, streams and events, in PyCUDA's words.

It works in the GPU's primary context, the one that ONNX Runtime, TensorRT and PyTorch use, so all can live in one
process. The context is current only inside `CudaDevice.active`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError
from unet_deploy.runtimes import OutOfMemoryError
from unet_deploy.runtimes.cuda.binding import load

cuda = load()

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: never waits for the default stream, which other libraries may use."""


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


@contextmanager
def cuda_errors(what: str) -> Iterator[None]:
    """The binding's errors, which share no class with Python's, as ours."""
    try:
        yield
    except cuda.MemoryError as error:
        raise OutOfMemoryError(f"no room for {what}") from error
    except cuda.Error as error:
        raise DeviceError(f"{what}: {error}") from error
