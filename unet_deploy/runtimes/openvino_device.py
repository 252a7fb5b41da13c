"""OpenVINO on an Intel GPU or NPU: compiled for one shape of tile, in half precision unless it is asked for more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from unet_deploy.errors import DeviceError, reason
from unet_deploy.model.contract import IMAGE, OFFSET, SCALE, Precision
from unet_deploy.runtimes.openvino import answering, core, read_graph, scaled
from unet_deploy.runtimes.proved import opened
from unet_deploy.runtimes.request import Opened, Request, graph_precision
from unet_deploy.runtimes.shaped import Network, ShapedRuntime
from unet_deploy.runtimes.table import Row, loading
from unet_deploy.system.cache import cache_folder, key_of
from unet_deploy.system.machine import may_have_accelerators
from unet_deploy.system.progress import Progress

with loading("openvino", "openvino"):
    import openvino as ov

_HALF_MAX = float(np.finfo(np.float16).max)


class OpenVinoDevice(ShapedRuntime):
    """A model with a card, on one of OpenVINO's devices. It computes in `submit`.

    device: as OpenVINO calls it, "GPU.1". request: how it is to be run. Raises ModelError and DeviceError.
    """

    def __init__(self, model: Path, device: str, request: Request) -> None:
        graph, card = read_graph(model, request.change)
        self.precision: Precision = graph_precision(request, card.precision == "int8")
        self.device = _name_of(device)
        super().__init__(
            model,
            card,
            f"OpenVINO {self.precision}, {self.device}",
            request,
        )
        self.require_layers(self.precision)
        self._graph, self._place = answering(graph, self._outputs), device
        self._half = self.precision != "fp32"
        if self._half and request.rounds_greys(card):
            raise DeviceError(
                f"{model}: computes on grey values as they are, and {self.name} holds but 11 bits of one; "
                f"take --device cpu{'' if device.startswith('NPU') else ', or --precision fp32'}"
            )

    def _compile(self, height: int, width: int) -> Network:
        graph, channels = self._graph.clone(), self.card.channels
        shapes = {IMAGE: [1, channels, height, width], OFFSET: [1, channels], SCALE: [1, channels]}
        graph.reshape({port.any_name: ov.PartialShape(shapes[port.any_name]) for port in graph.inputs})
        settings = {
            "INFERENCE_PRECISION_HINT": "f16" if self._half else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            **_kept(),
        }
        request = core().compile_model(graph, self._place, settings).create_infer_request()

        def compute(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            results = request.infer(within_half(dict(feeds)) if self._half else feeds)
            return [np.array(results[name]) for name in self._outputs]  # the next tile is written over them

        return compute


def within_half(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs for a device that computes in half precision from the first layer on: scaled before, and none infinite.

    >>> image, ones = np.full((1, 1, 1, 1), 60_001, np.float32), np.ones((1, 1), np.float32)
    >>> feeds = within_half({"image": image, "offset": 60_000 * ones, "scale": 0.5 * ones})
    >>> {name: float(value.item()) for name, value in feeds.items()}
    {'image': 0.5, 'offset': 0.0, 'scale': 1.0}
    """
    ready = scaled(feeds) if OFFSET in feeds else feeds
    return ready | {IMAGE: ready[IMAGE].clip(-_HALF_MAX, _HALF_MAX)}


def _kept() -> dict[str, str]:
    """The setting that keeps kernels once they are compiled, where there is a folder for them."""
    folder = cache_folder() / "openvino"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return {"CACHE_DIR": str(folder)} if os.access(folder, os.W_OK) else {}


def _devices_of(kind: str) -> tuple[str, ...]:
    if not may_have_accelerators():
        return ()
    try:
        every = core().available_devices
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO cannot say which devices are here ({reason(error)})") from error
    return tuple(each for each in every if each.partition(".")[0] == kind.upper())


def find_devices(row: Row) -> tuple[str, ...]:
    """What OpenVINO calls the devices of a row's kind that are here: "GPU", or "GPU.0" and "GPU.1".

    Raises DeviceError where its drivers fail.
    """
    return _devices_of(row.device)


def _chosen(request: Request) -> str:
    """What OpenVINO calls the device that is asked for. Raises DeviceError, with what there is."""
    here = _devices_of(request.kind)
    if not here:
        raise DeviceError(
            f"--device {request.device}: OpenVINO {ov.__version__} sees no {request.kind.upper()} of Intel's here; "
            "its driver may be missing"
        )
    if request.gpu_index >= len(here):
        raise DeviceError(f"--device {request.device}: OpenVINO sees {', '.join(here)}")
    return here[request.gpu_index]


def _name_of(device: str) -> str:
    try:
        return str(core().get_property(device, "FULL_DEVICE_NAME"))
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO's {device} does not answer ({reason(error)}); take --device cpu") from error


def open_on_device(path: Path, request: Request, _: Progress | None = None) -> Opened:
    """Open a model as the table's rows say, to be proved. Raises ModelError and DeviceError."""
    runtime = OpenVinoDevice(path, _chosen(request), request)
    runtime.try_out()
    facts = (str(ov.__version__), runtime.device, runtime.precision, request.probabilities)
    return opened(runtime, key_of(runtime.fingerprint, "openvino", *facts))
