"""OpenVINO on a CPU: float32 in less memory than ONNX Runtime, bfloat16 where the processor has it, 8 bits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError, ModelError, reason
from unet_deploy.images.grey import GreyScale
from unet_deploy.model import finite
from unet_deploy.model.card import METADATA_KEY, ModelCard
from unet_deploy.model.change import AS_IT_IS, Change
from unet_deploy.model.contract import IMAGE, OFFSET, PROBABILITIES, SCALE, Pixels
from unet_deploy.model.unreadable import no_network
from unet_deploy.runtimes import Answer, OutOfMemoryError, narrow
from unet_deploy.runtimes.cpu import CpuRuntime, check_listens, graph_to_run, varies
from unet_deploy.runtimes.openvino_graph import eased
from unet_deploy.runtimes.proved import opened
from unet_deploy.runtimes.request import Opened, Request
from unet_deploy.runtimes.table import loading
from unet_deploy.system.cache import key_of
from unet_deploy.system.machine import processor_name, usable_cores
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import legal_side

with loading("openvino", "openvino"):
    import openvino as ov
    from openvino.frontend import FrontEndManager

_MEMORY_SHARE = {"fp32": 0.57, "bf16": 0.29, "int8": 0.19}
"""Of ONNX Runtime's memory for a pixel, measured on widths 16 and 64 from 700 to 2236 pixels a side."""

_HEARD = 32
"""Side in pixels of the answer by which it is seen whether a network listens to its image."""

_TYPES = {"uint8": ov.Type.u8, "uint16": ov.Type.u16, "float32": ov.Type.f32}


class OpenVinoRuntime(CpuRuntime):
    """A model with a card, on the CPU. It computes in `submit`.

    precision: fp32 or bf16; a quantized model computes in 8 bits where it says so. Otherwise as OnnxRuntime.
    Raises ModelError, and DeviceError where the processor has no such precision.
    """

    def __init__(
        self,
        model: Path,
        *,
        precision: str = "fp32",
        pixels: Pixels = "float32",
        probabilities: bool = False,
        tile_size: int | None = None,
        threads: int | None = None,
        change: Change = AS_IT_IS,
    ) -> None:
        if precision == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise DeviceError("--precision bf16: this processor has no bfloat16; take fp32")
        graph, card = read_graph(model, change)
        kind = precision if card.precision == "fp32" else card.precision
        name = f"OpenVINO {kind}, CPU"
        super().__init__(model, card, name, probabilities=probabilities, tile_size=tile_size, change=change)
        self._scales_before = kind == "bf16" and card.normalization.method == "percentile"
        self.pixels: Pixels = "float32" if self._scales_before else pixels
        self._share = _MEMORY_SHARE[kind]
        self._listened = False
        try:
            graph = eased(answering(graph, self._outputs))
            entry = ov.preprocess.PrePostProcessor(graph)
            entry.input(IMAGE).tensor().set_element_type(_TYPES[self.pixels])
            settings = {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": threads or usable_cores(),
                "NUM_STREAMS": 1,
            }
            self._request: Any = core().compile_model(entry.build(), "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"{model}: OpenVINO cannot load it ({reason(error)})") from error

    def _taken(self, tile: np.ndarray) -> np.ndarray:
        if self._scales_before and tile.dtype.kind in "iu":
            return tile  # becomes float32 when it is scaled, in one pass
        return narrow(tile, self.pixels, self.name)

    def _feeds(self, images: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> dict[str, np.ndarray]:
        feeds = super()._feeds(images, greys)
        return scaled(feeds) if self._scales_before else feeds

    def _compute(self, feeds: dict[str, np.ndarray]) -> Answer:
        try:
            results = self._request.infer(feeds, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            height, width = feeds[IMAGE].shape[2:]
            if "alloc" in str(error).lower() or "memory" in str(error).lower():
                tile = f"a tile of {height} x {width} pixels"
                raise OutOfMemoryError(f"{self._model}: out of memory on {tile}") from error
            raise ModelError(f"{self._model}: OpenVINO failed ({reason(error)})") from error
        # Copies: the next request writes over its outputs.
        answer = Answer(*(np.array(results[name]) for name in self._outputs))
        if not self._listened:
            self._check_listens(feeds, answer)
        return answer

    def _probabilities(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        return np.array(self._request.infer(feeds)[PROBABILITIES])

    def _check_listens(self, feeds: dict[str, np.ndarray], answer: Answer) -> None:
        """Raise ModelError where the network answers the same to every image, as its first tile may show.

        Where that is of one class, and labels are all there is, probabilities of a small part of it are asked for.
        """
        self._listened = True
        if answer.probabilities is not None:
            check_listens(self._model, feeds, answer.probabilities, self._probabilities)
        elif varies(feeds[IMAGE]) and not varies(answer.labels[:, None]):
            side, (tall, wide) = legal_side(2 * self.card.margin + _HEARD, self.card), feeds[IMAGE].shape[2:]
            top, left = max(0, (tall - side) // 2), max(0, (wide - side) // 2)
            part = feeds | {IMAGE: feeds[IMAGE][:, :, top : top + side, left : left + side].astype(np.float32)}
            with OpenVinoRuntime(self._model, probabilities=True, change=self._change) as other:
                other._compute(part)

    def memory(self, height: int, width: int) -> int | None:
        bytes_taken = super().memory(height, width)
        if bytes_taken is None or not self._scales_before:
            return bytes_taken
        return bytes_taken + 8 * self.card.channels * height * width  # the tile in float32, and once more in its batch

    def _network_memory(self, bytes_per_pixel: float, height: int, width: int) -> int:
        return int(self._share * bytes_per_pixel * height * width)

    def _release(self) -> None:
        del self._request


@cache
def core() -> ov.Core:
    """One for all, kept to the end: each looks for its devices anew, which takes some 30 ms.

    A processor's gives the thread that makes it a stack for signals, and takes it away when it goes, from that thread
    alone: where another thread or one made later let it go last, Ctrl-C was a segmentation fault.
    """
    return ov.Core()


def scaled(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same input with its grey values between 0 and 1 already: bfloat16 would make 30,000 and 30,100 one value.

    Half precision ends at 65,504. The image, of any type, becomes float32.
    """
    offset, scale = (feeds[port][:, :, None, None] for port in (OFFSET, SCALE))
    image = np.subtract(feeds[IMAGE], offset, dtype=np.float32, casting="unsafe")
    image *= scale
    return {IMAGE: image, OFFSET: np.zeros_like(feeds[OFFSET]), SCALE: np.ones_like(feeds[SCALE])}


def read_graph(model: Path, change: Change) -> tuple[ov.Model, ModelCard]:
    """The network of a model file with the change made, and the card of the file. Raises ModelError."""
    if not model.is_file():
        raise ModelError(f"{model}: no such model file")
    try:
        reader = FrontEndManager().load_by_framework("onnx")  # all readers at once would complain on stderr
        graph = reader.convert(reader.load(str(model)))
    except Exception as error:  # its reader's errors share no base class but this
        raise no_network(model) from error
    card = _read_card(graph, model)
    card.check_ports({port.any_name: _shape(port) for port in [*graph.inputs, *graph.outputs]}, model)
    for each in graph.get_ops():
        if each.get_type_name() == "Constant" and each.get_element_type() in (ov.Type.f32, ov.Type.f16):
            finite.check_weight(each.data, model)
    if change.touches(card):
        graph = reader.convert(reader.load(io.BytesIO(graph_to_run(model, change))))
    return graph, card


def answering(graph: ov.Model, outputs: list[str]) -> ov.Model:
    """The network with these outputs alone, and what only others need gone."""
    return ov.Model([graph.output(name) for name in outputs], graph.get_parameters())


def _read_card(graph: ov.Model, model: Path) -> ModelCard:
    path = ["framework", METADATA_KEY]  # where OpenVINO's reader puts an ONNX file's metadata
    try:
        text = graph.get_rt_info(path).astype(str) if graph.has_rt_info(path) else None
    except UnicodeDecodeError as error:
        raise ModelError(f"{model}: its metadata are no text; export it again") from error
    return ModelCard.of_model(text, model)


def _shape(port: Any) -> list[int | None]:
    """The sides of an input or output, None where they are open."""
    if port.partial_shape.rank.is_dynamic:
        return []
    return [None if side.is_dynamic else side.get_length() for side in port.partial_shape]


def open_on_cpu(path: Path, request: Request, _: Progress | None = None) -> Opened:
    """Open a model as the table's row says; bfloat16 is to be proved. Raises ModelError, DeviceError and UsageError."""
    runtime = OpenVinoRuntime(
        path,
        precision="bf16" if request.precision == "bf16" else "fp32",
        pixels=request.pixels,
        probabilities=request.probabilities,
        tile_size=request.tile_size,
        change=request.change,
    )
    runtime.require_layers(request.precision)
    if request.precision != "bf16":
        return Opened(runtime)
    if request.rounds_greys(runtime.card):
        raise DeviceError(
            f"{path}: computes on grey values as they are, and bfloat16 holds but 8 bits of one; take --precision fp32"
        )
    return opened(runtime, key_of(runtime.fingerprint, "openvino", str(ov.__version__), processor_name(), "bf16"))
