"""OpenVINO on a CPU: float32 in less memory than ONNX Runtime, bfloat16 where the processor has it, 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import DeviceError, ModelError
from unet_deploy.graph import read_model
from unet_deploy.grey import GreyScale
from unet_deploy.machine import usable_cores
from unet_deploy.proof import Proof
from unet_deploy.runtimes import (
    DEFAULT_TILE,
    IMAGE,
    LABELS,
    OFFSET,
    PROBABILITIES,
    SCALE,
    Answer,
    Limits,
    OutOfMemoryError,
    Pixels,
    narrow,
)

try:
    import openvino as ov
except ImportError as error:
    raise DeviceError("OpenVINO is not installed; run: pip install 'unet-deploy[openvino]'") from error

_TYPES = {"uint8": ov.Type.u8, "uint16": ov.Type.u16, "float32": ov.Type.f32}


class OpenVinoRuntime:
    """A model with a card, on the CPU. It computes in `submit`.

    precision: fp32 or bf16; a quantized model computes in 8 bits where it says so. Otherwise as OnnxRuntime.
    Raises ModelError, and DeviceError where the processor has no such precision.
    """

    slots = 1

    def __init__(
        self,
        model: Path,
        *,
        precision: str = "fp32",
        pixels: Pixels = "float32",
        probabilities: bool = False,
        tile_size: int | None = None,
        threads: int | None = None,
        proof: Proof | None = None,
    ) -> None:
        source = read_model(model)
        self.card, self.pixels, self.probabilities, self.proof = source.card, pixels, probabilities, proof
        kind = "int8" if source.quantized else precision
        self.name = f"OpenVINO {kind}, CPU"
        self._model = model
        core = ov.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise DeviceError("--precision bf16: this processor has no bfloat16; take fp32")
        side = tile_size or DEFAULT_TILE
        self.limits = Limits(1, (self.card.base, self.card.base), (side, side))
        self._grey_inputs = self.card.normalization.method == "percentile"
        self._outputs = [LABELS, PROBABILITIES] if probabilities else [LABELS]
        try:
            graph = core.read_model(source.proto.SerializeToString())
            graph = ov.Model([graph.output(name) for name in self._outputs], graph.get_parameters())
            entry = ov.preprocess.PrePostProcessor(graph)
            entry.input(IMAGE).tensor().set_element_type(_TYPES[pixels])
            settings = {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": threads or usable_cores(),
                "NUM_STREAMS": 1,
                "CPU_DENORMALS_OPTIMIZATION": True,  # a softmax's far tails are not worth a trap each
            }
            self._request: Any = core.compile_model(entry.build(), "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"{model}: OpenVINO cannot load it ({_last_line(error)})") from error

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Answer:
        feeds = {IMAGE: np.stack([narrow(tile, self.pixels, self.name) for tile in tiles])}
        if self._grey_inputs:
            feeds[OFFSET] = np.stack([grey.offset for grey in greys])
            feeds[SCALE] = np.stack([grey.scale for grey in greys])
        try:
            results = self._request.infer(feeds, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            height, width = tiles[0].shape[1:]
            if "alloc" in str(error).lower() or "memory" in str(error).lower():
                tile = f"a tile of {height} x {width} pixels"
                raise OutOfMemoryError(f"{self._model}: out of memory on {tile}") from error
            raise ModelError(f"{self._model}: OpenVINO failed ({_last_line(error)})") from error
        # Copies: the next request writes over its outputs.
        return Answer(*(np.array(results[name]) for name in self._outputs))

    def result(self, ticket: Answer) -> Answer:
        return ticket

    def shrink(self) -> None:
        self.limits = self.limits.halved(self.card)

    def close(self) -> None:
        del self._request

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
