"""ONNX Runtime on any processor: the runtime that always works."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import ModelError, reason
from unet_deploy.images.grey import to_float32
from unet_deploy.model import finite
from unet_deploy.model.card import METADATA_KEY, ModelCard
from unet_deploy.model.change import AS_IT_IS, Change
from unet_deploy.model.contract import IMAGE, LABELS, PROBABILITIES
from unet_deploy.model.metadata import peek_card
from unet_deploy.model.unreadable import no_network
from unet_deploy.runtimes import Answer, OutOfMemoryError
from unet_deploy.runtimes.cpu import CpuRuntime, check_listens, graph_to_run
from unet_deploy.runtimes.request import Opened, Request
from unet_deploy.runtimes.table import loading
from unet_deploy.system.machine import usable_cores
from unet_deploy.system.progress import Progress

with loading("onnxruntime", "cpu"):
    import onnxruntime as ort
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf, NoModel

    ort.disable_telemetry_events()
ort.set_default_logger_severity(4)  # what goes wrong comes as an exception, and is said in our words


class OnnxRuntime(CpuRuntime):
    """An ONNX model with a card, on the CPU. It computes in `submit`.

    probabilities: answer with them as well as with labels.
    tile_size: largest side of the network's input, in pixels.
    threads: of one operator; by default as many as this process may use.
    change: what is run otherwise than the file says.
    Raises ModelError when the file is no model of ours.
    """

    def __init__(
        self,
        model: Path,
        *,
        probabilities: bool = False,
        tile_size: int | None = None,
        threads: int | None = None,
        change: Change = AS_IT_IS,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()  # ORT's own count ignores container limits
        # From the second tile on, a pattern would take one more block as large as everything before, and be no faster.
        options.enable_mem_pattern = False
        with _ARENA:
            _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        if not model.is_file():
            raise ModelError(f"{model}: no such model file")
        known = peek_card(model)
        source = graph_to_run(model, change) if known and change.touches(known) else str(model)
        try:
            self._session = open_session(source, options)
        except (InvalidProtobuf, NoModel) as error:
            raise no_network(model) from error
        except Exception as error:  # ORT's errors share no base class but this
            raise ModelError(f"{model}: ONNX Runtime cannot load it ({reason(error)})") from error
        card = known or read_card(self._session, model)
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        card.check_ports({port.name: port.shape for port in ports}, model)
        name = f"ONNX Runtime {card.precision}, CPU"
        super().__init__(model, card, name, probabilities=probabilities, tile_size=tile_size, change=change)
        self._numbers_seen = False
        self._run_options = ort.RunOptions()
        self._run_options.only_execute_path_to_fetches = True

    def _taken(self, tile: np.ndarray) -> np.ndarray:
        return to_float32(tile, "tile")

    def _compute(self, feeds: dict[str, np.ndarray]) -> Answer:
        # The first tile's probabilities are looked at in any case: labels alone do not show NaN.
        wanted = self._outputs if self._numbers_seen else [LABELS, PROBABILITIES]
        try:
            outputs: list[Any] = self._session.run(wanted, feeds, self._run_options)
        except Exception as error:
            text = reason(error)
            if "alloc" in text.lower():
                height, width = feeds[IMAGE].shape[2:]
                raise OutOfMemoryError(
                    f"{self._model}: out of memory on a tile of {height} x {width} pixels"
                ) from error
            raise ModelError(f"{self._model}: ONNX Runtime failed ({text})") from error
        if not self._numbers_seen:
            finite.check_answer(outputs[1], str(self._model))
            check_listens(self._model, feeds, outputs[1], self._probabilities)
            self._numbers_seen = True
        return Answer(*outputs[: len(self._outputs)])

    def _probabilities(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        probabilities: np.ndarray = self._session.run([PROBABILITIES], feeds, self._run_options)[0]
        return probabilities

    def _network_memory(self, bytes_per_pixel: float, height: int, width: int) -> int:
        # The most is held at the last level, where the margins of valid convolutions are gone.
        margins = 2 * self._network.margin if self._network.base % self._network.stride else 0
        share = _MEMORY_SHARE[self._network.precision]
        return int(share * bytes_per_pixel * (height - margins) * (width - margins))

    def _release(self) -> None:
        del self._session


def open_on_cpu(path: Path, request: Request, _: Progress | None = None) -> Opened:
    """Open a model as the table's row says. Raises ModelError and UsageError."""
    runtime = OnnxRuntime(path, probabilities=request.probabilities, tile_size=request.tile_size, change=request.change)
    runtime.require_layers(request.precision)
    return Opened(runtime)


def open_session(
    model: str | bytes,
    options: ort.SessionOptions | None = None,
    provider: str | tuple[str, dict[str, str]] = "CPUExecutionProvider",
) -> ort.InferenceSession:
    """A session of a model's path or bytes on this provider. Raises whatever ONNX Runtime raises.

    By itself it would say on stdout, as it comes from the file, why it failed, and try again on a CPU.
    """
    return ort.InferenceSession(model, options, providers=[provider], enable_fallback=0)


def read_card(session: ort.InferenceSession, model: Path) -> ModelCard:
    """The card in a model's metadata. Raises ModelError when there is none."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise ModelError(f"{model}: its metadata are no text; export it again") from error
    return ModelCard.of_model(metadata.get(METADATA_KEY), model)


_MEMORY_SHARE = {"fp32": 1.08, "int8": 0.65}
"""Of what the card says: memory for a pixel of output by memory for a pixel of input, fitted from 700 to 2236."""


_ARENA = threading.Lock()
"""Held while the arena is made, which goes but once: two threads may open models at the same time."""


@cache
def _share_arena() -> None:
    """One arena for all sessions that takes what is asked for: by itself each would double what it holds."""
    exact = ort.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": 1,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
    )
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, exact)


def measure_bytes_per_pixel(model: Path) -> float:
    """Peak bytes of activations for a pixel of input, by the memory that two tile sizes take in fresh processes."""
    pixels, peaks = [], []
    for side in _MEASURED_SIDES:
        script = (_PROBE, str(model), str(side))
        answer = subprocess.run([sys.executable, "-c", *script], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise ModelError(f"{model}: does not run in ONNX Runtime ({answer.stderr.strip()[-200:]})")
        pixel, peak = answer.stdout.split()
        pixels.append(int(pixel))
        peaks.append(int(peak))
    return (peaks[1] - peaks[0]) / (pixels[1] - pixels[0])


_MEASURED_SIDES = (600, 1200)
_PROBE = """
import sys
from pathlib import Path
import numpy as np
from unet_deploy.images.grey import GreyScale
from unet_deploy.system.machine import peak_memory
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.tiling import legal_side
with OnnxRuntime(Path(sys.argv[1])) as runtime:
    side, channels = legal_side(int(sys.argv[2]), runtime.card), runtime.card.channels
    grey = GreyScale(np.zeros(channels, np.float32), np.ones(channels, np.float32))
    runtime.submit([np.zeros((channels, side, side), np.uint8)], [grey])
print(side * side, peak_memory())
"""
