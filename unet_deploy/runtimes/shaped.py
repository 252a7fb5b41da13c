"""What the runtimes of a laptop's GPU or NPU have in common: a network is compiled for one shape of tile at a time.

    tile (C, h, w) ──▶ compiled for h x w? ──yes──▶ compute in `submit`, one tile at a time
                            │ no                      ▲
                            └──▶ compile and keep ────┘

All tiles of an image have one shape but those of a proof, so an image compiles once or twice. These devices take the
memory of the processor, and where that is short a shape that cannot be compiled is one to try smaller.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from unet_deploy.errors import DeviceError, UnetDeployError, reason
from unet_deploy.images.grey import GreyScale, to_float32
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import IMAGE
from unet_deploy.runtimes import DEFAULT_TILE, Answer, OutOfMemoryError, scaled_side
from unet_deploy.runtimes.cpu import CpuRuntime
from unet_deploy.runtimes.request import Request
from unet_deploy.tiling import legal_side

KEPT = 2
"""Networks that stay compiled: tiles of the image and those of its border, or of the image and of its proof."""

_MEMORY_SHARE = 1.08
"""Of what the card says, as ONNX Runtime takes on a processor: no device was measured."""

_TRIED = 32
"""Side in pixels of the answer by which it is seen, before anything else, whether a device computes at all."""

_OUT_OF_MEMORY = ("out of memory", "out_of_memory", "alloc", "insufficient", "out of device memory", "0x8007000e")
"""How drivers say that memory is short; the last is E_OUTOFMEMORY of DirectX."""

Network = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
"""A compiled network: inputs by name to labels and, where asked for, probabilities, in memory that is theirs."""


class ShapedRuntime(CpuRuntime):
    """A Runtime of a device that shares the processor's memory. A context manager.

    Raises DeviceError where the device fails, with what to take instead.
    """

    def __init__(self, model: Path, card: ModelCard, name: str, request: Request) -> None:
        """As CpuRuntime. request: how it is run, by the names of device and runtime that are really taken."""
        change = request.change
        side = request.tile_size or scaled_side(DEFAULT_TILE, change.scale_of(card.stride), change.of(card))
        super().__init__(model, card, name, probabilities=request.probabilities, tile_size=side, change=change)
        self.request = request
        self._networks: dict[tuple[int, int], Network] = {}

    @abstractmethod
    def _compile(self, height: int, width: int) -> Network:
        """Compile the network for one tile of this size. Raises DeviceError, and whatever the library raises."""

    def _taken(self, tile: np.ndarray) -> np.ndarray:
        return to_float32(tile, "tile")

    def _compute(self, feeds: dict[str, np.ndarray]) -> Answer:
        height, width = feeds[IMAGE].shape[2:]
        network = self._compiled(height, width)
        try:
            return Answer(*network(feeds))
        except Exception as error:  # what these libraries raise shares no base class but this
            self._networks.clear()
            text = reason(error)
            if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
                tile = f"a tile of {height} x {width} pixels"
                raise OutOfMemoryError(f"{self._model}: {self.name}: out of memory on {tile}") from error
            raise DeviceError(
                f"{self._model}: {self.name} failed ({text}); its driver may have stopped: try again, "
                "or take --device cpu"
            ) from error

    def _compiled(self, height: int, width: int) -> Network:
        """The network for tiles of this size, compiled now where it is not kept. Raises OutOfMemoryError."""
        network = self._networks.pop((height, width), None)
        if network is None:
            while len(self._networks) >= KEPT:
                self._networks.pop(next(iter(self._networks)))
            try:
                network = self._compile(height, width)
            except UnetDeployError:
                raise
            except Exception as error:
                self._networks.clear()
                raise OutOfMemoryError(
                    f"{self._model}: {self.name} cannot be made ready for tiles of {height} x {width} pixels "
                    f"({reason(error)})"
                ) from error
        self._networks[height, width] = network
        return network

    def try_out(self) -> None:
        """Compute a small tile of noise, and let the device go where it cannot. Raises DeviceError."""
        side, channels = legal_side(2 * self.card.margin + _TRIED, self.card), self.card.channels
        noise = np.random.default_rng(0).integers(0, 256, (channels, side, side), np.uint8)
        grey = GreyScale(np.zeros(channels, np.float32), np.full(channels, 1 / 255, np.float32))
        try:
            self.submit([noise], [grey])
        except UnetDeployError as error:
            self.close()
            if isinstance(error, OutOfMemoryError):
                raise DeviceError(str(error)) from error
            raise

    def _network_memory(self, bytes_per_pixel: float, height: int, width: int) -> int:
        return int(_MEMORY_SHARE * bytes_per_pixel * height * width)

    def _release(self) -> None:
        self._networks.clear()
