"""CUDA graphs by the driver itself, which is the same through either binding: PyCUDA knows none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from unet_deploy.errors import DeviceError
from unet_deploy.runtimes.cuda.device import CudaStream
from unet_deploy.system.kernel import CUDA_DRIVER

_THREAD_LOCAL_CAPTURE = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil a capture."""


class CudaGraph:
    """What a call puts on a stream, captured once and launched with one call afterwards.

    Six functions of the driver are all that it takes.
    """

    def __init__(self, stream: CudaStream, work: Callable[[], None]) -> None:
        self._driver = ctypes.CDLL(CUDA_DRIVER)
        self._stream = ctypes.c_void_p(stream.handle)
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._ask("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL_CAPTURE))
        try:
            work()
        except BaseException:
            with suppress(DeviceError):  # what went wrong first is what the user sees
                self._ask("cuStreamEndCapture", self._stream, ctypes.byref(graph))
                self._ask("cuGraphDestroy", graph)
            raise
        self._ask("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            self._ask("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._ask("cuGraphDestroy", graph)

    def launch(self) -> None:
        self._ask("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        with suppress(DeviceError):  # after a fault on the device every call answers with that fault
            self._ask("cuGraphExecDestroy", self._executable)

    def _ask(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            raise DeviceError(f"CUDA graph: {function} failed (CUDA error {status})")
