"""ONNX Runtime's providers for the GPU of a laptop: CoreML, DirectML, WebGPU, each with options of its own.

A provider takes the nodes that it knows and leaves the others to the processor, in silence. So it is asked which it
took: one that leaves a convolution is not used, because what it says it computes would be computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError
from unet_deploy.model.changed import changed
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import ModelFile, read_model
from unet_deploy.runtimes.onnxruntime import open_session
from unet_deploy.runtimes.proved import opened
from unet_deploy.runtimes.request import Opened, Request, graph_precision
from unet_deploy.runtimes.shaped import Network, ShapedRuntime
from unet_deploy.runtimes.table import TABLE, Row, loading
from unet_deploy.system.cache import key_of
from unet_deploy.system.extras import install_line
from unet_deploy.system.progress import Progress

with loading("onnxruntime", "cpu"):
    import onnxruntime as ort


def _coreml(precision: str, _: int | None) -> dict[str, str]:
    # Core ML's neural engine computes in half precision whatever it is given, so float32 is kept from it.
    units = "CPUAndGPU" if precision == "fp32" else "ALL"
    return {"ModelFormat": "MLProgram", "MLComputeUnits": units, "RequireStaticInputShapes": "1"}


def _directml(_: str, index: int | None) -> dict[str, str]:
    # By itself it takes the GPU that drives the screen, which of a laptop's two is the slower one.
    fastest = {"performance_preference": "high_performance", "device_filter": "gpu"}
    return fastest if index is None else {"device_id": str(index)}


def _webgpu(_: str, __: int | None) -> dict[str, str]:
    return {}


_OPTIONS: dict[str, Callable[[str, int | None], dict[str, str]]] = {
    "coreml": _coreml,
    "directml": _directml,
    "webgpu": _webgpu,
}
"""By the name of their row: options for a precision, and for the GPU of an index where one was asked for."""

_TAKES_INDEX = {"directml"}
"""Those that can be told which of several GPUs to take."""


class ProviderRuntime(ShapedRuntime):
    """A model with a card, by one of the providers. It computes in `submit`.

    model: as it is in its file. Raises ModelError, and DeviceError: it is never a silent processor.
    """

    def __init__(self, model: ModelFile, row: Row, request: Request) -> None:
        self.precision = graph_precision(request, model.quantized)
        if self.precision not in row.precisions:
            raise DeviceError(f"{model.path}: has 8-bit layers, and {row.title} computes none; take --device cpu")
        super().__init__(
            model.path,
            model.card,
            f"{row.title} {self.precision}, ONNX Runtime {ort.__version__}",
            request,
        )
        self._run, self._row = changed(model, request.change), row
        index = request.gpu_index if ":" in request.device else None
        if index and row.name not in _TAKES_INDEX:
            raise DeviceError(f"--device {request.device}: {row.title} chooses the GPU itself; take --device gpu")
        self._settings = _OPTIONS[row.name](self.precision, index)

    def _compile(self, height: int, width: int) -> Network:
        graph = lower(
            self._run,
            precision=self.precision,
            pixels="float32",
            probabilities=self.probabilities,
            shape=(1, height, width),
        )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False  # DirectML takes neither this nor nodes side by side
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = open_session(graph.SerializeToString(), options, (self._row.provider, self._settings))
        self._check_taken(session)

        def compute(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            results: list[Any] = session.run(self._outputs, dict(feeds))
            return results

        return compute

    def _check_taken(self, session: ort.InferenceSession) -> None:
        """Raise DeviceError unless the provider started, and took every convolution."""
        title, name = self._row.title, self._row.provider
        if name not in session.get_providers():
            raise DeviceError(f"{self._model}: {title} does not start on this machine; take --device cpu")
        if not hasattr(session, "get_provider_graph_assignment_info"):
            raise DeviceError(
                f"ONNX Runtime {ort.__version__} does not tell what {title} computes; install 1.24 or newer"
            )
        taken = [
            part.ep_name == name
            for part in session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
            if "Conv" in node.op_type
        ]
        if not all(taken):
            raise DeviceError(
                f"{self._model}: {title} leaves {taken.count(False)} of {len(taken)} convolutions to the processor; "
                "take --device cpu"
            )


def find_devices(row: Row) -> tuple[str, ...]:
    """What a row's device is called, where the ONNX Runtime that is installed has the row's provider: it names none."""
    return ("the GPU",) if row.provider in ort.get_available_providers() else ()


def open_on_provider(path: Path, request: Request, _: Progress | None = None) -> Opened:
    """Open a model as the table's rows say, to be proved. Raises ModelError and DeviceError."""
    row = next(row for row in TABLE if row.name == request.runtime)
    if not find_devices(row):
        raise DeviceError(_lacking(row))
    runtime = ProviderRuntime(read_model(path), row, request)
    runtime.try_out()
    facts = (ort.__version__, row.name, request.gpu_index, runtime.precision, request.probabilities)
    return opened(runtime, key_of(runtime.fingerprint, *facts))


def _lacking(row: Row) -> str:
    """Why the provider is not there, and what brings it."""
    here = f"--runtime {row.name}: ONNX Runtime {ort.__version__} here has no {row.title}"
    if row.wheel:
        return f"{here}; run: pip uninstall onnxruntime && {install_line(row.extra)}"
    return f"{here}, which is for macOS; take --device cpu"
