"""Which runtimes there are: the one table that commands, messages, `open_model` and the documentation read.

A new runtime is a file beside this one with a function that opens a model, and a row here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

from unet_deploy.errors import DeviceError, MissingPackageError
from unet_deploy.system.extras import importing

Device = Literal["cpu", "cuda"]
RunPrecision = Literal["fp32", "fp16", "bf16", "int8"]
"""What a runtime may compute in; that of a graph is `model.contract.Precision`."""


@dataclass(frozen=True)
class Row:
    """One runtime on one kind of device."""

    name: str
    """What --runtime calls it, and the module that is imported."""
    title: str
    """What people call it."""
    device: Device
    precisions: tuple[RunPrecision, ...]
    """The exact one first."""
    extra: str
    """What of unet-deploy[...] installs it."""
    opener: str
    """module:function, an `Opener`."""
    compiles: bool = False
    """Whether a model is compiled to an engine before it runs."""
    ahead_of_time: bool = False
    """Whether it compiles for GPUs that are not here."""

    @property
    def installed(self) -> bool:
        """Whether its package is there; nothing is imported."""
        return find_spec(self.name) is not None

    def of(self, layers: str) -> tuple[RunPrecision, ...]:
        """The precisions in which it runs a model of `fp32` or of `int8` layers."""
        return tuple(each for each in self.precisions if (each == "int8") == (layers == "int8"))

    def load(self) -> Any:
        """The function that opens a model, a `request.Opener`. Raises DeviceError where it is not installed."""
        module, _, function = self.opener.partition(":")
        return getattr(import_module(module), function)


_HERE = "unet_deploy.runtimes"
TABLE = (
    Row(
        name="tensorrt",
        title="TensorRT",
        device="cuda",
        precisions=("fp32", "fp16", "int8"),
        extra="tensorrt",
        opener=f"{_HERE}.tensorrt.opening:open_compiled",
        compiles=True,
    ),
    Row(
        name="tensorrt_rtx",
        title="TensorRT for RTX",
        device="cuda",
        precisions=("fp32", "fp16", "int8"),
        extra="tensorrt-rtx",
        opener=f"{_HERE}.tensorrt.opening:open_compiled",
        compiles=True,
        ahead_of_time=True,
    ),
    Row(
        name="onnxruntime",
        title="ONNX Runtime",
        device="cuda",
        precisions=("fp32", "fp16", "int8"),
        extra="gpu",
        opener=f"{_HERE}.onnxruntime_cuda:open_on_cuda",
    ),
    Row(
        name="openvino",
        title="OpenVINO",
        device="cpu",
        precisions=("fp32", "bf16", "int8"),
        extra="openvino",
        opener=f"{_HERE}.openvino:open_on_cpu",
    ),
    Row(
        name="onnxruntime",
        title="ONNX Runtime",
        device="cpu",
        precisions=("fp32", "int8"),
        extra="cpu",
        opener=f"{_HERE}.onnxruntime:open_on_cpu",
    ),
)
"""In order of preference: `auto` takes the first that is installed for its device."""

RUNTIMES: tuple[str, ...] = tuple(sorted({row.name for row in TABLE}))
PRECISIONS: tuple[RunPrecision, ...] = get_args(RunPrecision)
"""Widest first."""


@contextmanager
def loading(package: str, extra: str) -> Iterator[None]:
    """As `system.extras.importing`, around the imports of a runtime: what is missing is a DeviceError."""
    try:
        with importing(package, extra):
            yield
    except MissingPackageError as error:
        raise DeviceError(str(error)) from error
