"""ONNX Runtime as a program of the ring: its kernels on buffers that are ours, without a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from unet_deploy.errors import DeviceError, ModelError
from unet_deploy.model.contract import IMAGE, Pixels
from unet_deploy.runtimes import Limits, OutOfMemoryError
from unet_deploy.runtimes.onnxruntime import open_session, read_card
from unet_deploy.runtimes.ring import Memory, Port, Shape, Stream
from unet_deploy.runtimes.streamed import buffer_ports, output_shapes
from unet_deploy.runtimes.table import loading
from unet_deploy.system.extras import install_line

with loading("onnxruntime", "gpu"):
    import onnxruntime as ort

CUDA_PROVIDER = "CUDAExecutionProvider"
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "alloc_failed", "bad_alloc")
"""Not "memory" alone: an illegal memory access is no shortage."""


def check_cuda_provider() -> str:
    """The version of ONNX Runtime. Raises DeviceError unless it has the CUDA provider."""
    if CUDA_PROVIDER not in ort.get_available_providers():
        raise DeviceError(
            f"ONNX Runtime {ort.__version__} here is for CPUs only; run: "
            f"pip uninstall onnxruntime && {install_line('gpu')}"
        )
    if hasattr(ort, "preload_dlls"):  # CUDA and cuDNN as pip packages, where they are installed
        with redirect_stdout(StringIO()):  # where it prints what is not there, though the system may have it
            ort.preload_dlls()
    return ort.__version__


@dataclass(frozen=True)
class Place:
    """Where a session computes, in ONNX Runtime's words."""

    provider: str
    """Whose kernels: "CUDAExecutionProvider"."""
    options: dict[str, str]
    """The provider's."""
    device: str
    """What the buffers' device is called: "cuda"."""
    index: int = 0


class OnnxProgram:
    """A session that computes on buffers of ours, where they lie.

    model: an ONNX file's bytes. stream: what its kernels are put on.
    Raises ModelError, OutOfMemoryError, and DeviceError where the provider does not start: never a silent CPU.
    """

    fixed = False

    def __init__(
        self,
        path: Path,
        model: bytes,
        stream: Stream,
        place: Place,
        limits: Limits,
        *,
        pixels: Pixels,
        probabilities: bool,
    ) -> None:
        self._path, self._stream, self._place, self._probabilities = path, stream, place, probabilities
        options = ort.SessionOptions()
        options.log_severity_level = 4
        with _ort_errors(path):
            self._session = open_session(model, options, (place.provider, place.options))
        if place.provider not in self._session.get_providers():
            raise DeviceError(
                f"{path}: ONNX Runtime could not start its {place.provider} (CUDA or cuDNN is missing, or does not fit "
                f"it); both come with: {install_line('gpu')}"
            )
        self._card = read_card(self._session, path)
        self._inputs, self._outputs = buffer_ports(self._card, limits, pixels, probabilities=probabilities)
        self._options = ort.RunOptions()
        self._options.log_severity_level = 4
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    @property
    def inputs(self) -> Mapping[str, Port]:
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Port]:
        return self._outputs

    @property
    def stream(self) -> Stream:
        return self._stream

    def output_shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return output_shapes(self._card, inputs[IMAGE], probabilities=self._probabilities)

    def launch(self, slot: int, shapes: Mapping[str, Shape], blocks: Mapping[str, Memory]) -> None:
        binding, place = self._session.io_binding(), self._place
        for name, shape in shapes.items():
            dtype = self._inputs[name].dtype.type
            binding.bind_input(name, place.device, place.index, dtype, list(shape), blocks[name].address)
        for name, shape in self.output_shapes(shapes).items():
            dtype = self._outputs[name].dtype.type
            binding.bind_output(name, place.device, place.index, dtype, list(shape), blocks[name].address)
        self._run(binding)

    def _run(self, binding: ort.IOBinding) -> None:
        with _ort_errors(self._path):
            self._session.run_with_iobinding(binding, self._options)

    def close(self) -> None:
        del self._session


@contextmanager
def _ort_errors(path: Path) -> Iterator[None]:
    """ONNX Runtime's errors as ours: they share no base class, and out of memory is only in their text."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
            raise OutOfMemoryError(f"{path}: the GPU is out of memory") from error
        raise ModelError(f"{path}: ONNX Runtime failed on the GPU ({text})") from error
