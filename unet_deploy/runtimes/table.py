"""Which runtimes there are: the one table that commands, messages, `open_model` and the documentation read.

A new runtime is a file beside this one with a function that opens a model, and a row here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any, Literal, get_args

from unet_deploy.errors import DeviceError, MissingPackageError
from unet_deploy.runtimes.untold import untold
from unet_deploy.system.extras import importing

Device = Literal["cpu", "cuda", "gpu", "npu"]
"""A processor, an NVIDIA GPU, any other GPU, a neural processor."""
RunPrecision = Literal["fp32", "fp16", "bf16", "int8"]
"""What a runtime may compute in; that of a graph is `model.contract.Precision`."""


@dataclass(frozen=True)
class Row:
    """One runtime on one kind of device."""

    name: str
    """What --runtime calls it."""
    title: str
    """What people call it."""
    device: Device
    precisions: tuple[RunPrecision, ...]
    """The exact one first, where it has one."""
    extra: str
    """What of unet-deploy[...] installs it."""
    opener: str
    """module:function, an `Opener`."""
    compiles: bool = False
    """Whether a model is compiled to an engine before it runs."""
    ahead_of_time: bool = False
    """Whether it compiles for GPUs that are not here."""
    provider: str = ""
    """What ONNX Runtime calls it, where it is a part of that."""
    finder: str = ""
    """module:function that says which devices are here, of those that neither CUDA's driver nor the system knows."""
    wheel: str = ""
    """What pip calls its package, where several bring one module and this one alone has the runtime."""
    system: str = ""
    """The value of `sys.platform` that it is for; empty: all."""

    @property
    def package(self) -> str:
        """The module that is imported."""
        return "onnxruntime" if self.provider else self.name

    @property
    def fits(self) -> bool:
        """Whether it is for this system."""
        return self.system in ("", sys.platform)

    @property
    def installed(self) -> bool:
        """Whether its package is there, and for this system; nothing is imported."""
        return self.fits and find_spec(self.package) is not None and (not self.wheel or _has_wheel(self.wheel))

    def version(self) -> str:
        """That of its package, which is imported: several wheels, of several names, bring ONNX Runtime."""
        return str(import_module(self.package).__version__)

    def devices(self) -> tuple[str, ...]:
        """What its devices are called that are here, of those that `finder` knows; the package is imported.

        Raises DeviceError where that cannot be asked.
        """
        return tuple(_named(self.finder)(self)) if self.finder else ()

    def of(self, layers: str) -> tuple[RunPrecision, ...]:
        """The precisions in which it runs a model of `fp32` or of `int8` layers."""
        return tuple(each for each in self.precisions if (each == "int8") == (layers == "int8"))

    def load(self) -> Any:
        """The function that opens a model, a `request.Opener`. Raises DeviceError where it is not installed."""
        return _named(self.opener)


def _named(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def _has_wheel(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


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
        device="gpu",
        precisions=("fp32", "fp16", "int8"),
        extra="openvino",
        opener=f"{_HERE}.openvino_device:open_on_device",
        finder=f"{_HERE}.openvino_device:find_devices",
    ),
    Row(
        name="coreml",
        title="CoreML",
        device="gpu",
        precisions=("fp32", "fp16"),
        extra="cpu",
        opener=f"{_HERE}.onnxruntime_provider:open_on_provider",
        provider="CoreMLExecutionProvider",
        finder=f"{_HERE}.onnxruntime_provider:find_devices",
        system="darwin",
    ),
    Row(
        name="directml",
        title="DirectML",
        device="gpu",
        precisions=("fp32", "fp16"),
        extra="directml",
        opener=f"{_HERE}.onnxruntime_provider:open_on_provider",
        provider="DmlExecutionProvider",
        finder=f"{_HERE}.onnxruntime_provider:find_devices",
        wheel="onnxruntime-directml",
        system="win32",
    ),
    Row(
        name="webgpu",
        title="WebGPU",
        device="gpu",
        precisions=("fp32", "fp16"),
        extra="webgpu",
        opener=f"{_HERE}.onnxruntime_provider:open_on_provider",
        provider="WebGpuExecutionProvider",
        finder=f"{_HERE}.onnxruntime_provider:find_devices",
        wheel="onnxruntime-webgpu",
    ),
    Row(
        name="openvino",
        title="OpenVINO",
        device="npu",
        precisions=("fp16", "int8"),
        extra="openvino",
        opener=f"{_HERE}.openvino_device:open_on_device",
        finder=f"{_HERE}.openvino_device:find_devices",
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

LAPTOP: tuple[Device, ...] = ("gpu", "npu")
"""Devices of which an answer is used by `auto` only once it is proved, and the next runtime's where it is not."""

RUNTIMES: tuple[str, ...] = tuple(sorted({row.name for row in TABLE}))
PRECISIONS: tuple[RunPrecision, ...] = get_args(RunPrecision)
"""Widest first."""


@contextmanager
def loading(package: str, extra: str) -> Iterator[None]:
    """As `system.extras.importing`, around the imports of a runtime: what is missing is a DeviceError.

    None of them tells its maker.
    """
    try:
        with untold(), importing(package, extra):
            yield
    except MissingPackageError as error:
        raise DeviceError(str(error)) from error
