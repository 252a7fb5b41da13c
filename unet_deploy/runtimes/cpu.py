"""What the runtimes of a processor, and of devices that share its memory, have in common: they compute in `submit`.

However many threads submit, one tile computes, with all processors: side by side they would take the memory of as many
tiles, for next to nothing.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model import finite
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import AS_IT_IS, Change
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE
from unet_deploy.runtimes import DEFAULT_TILE, LARGEST_TILE, Answer, Limits, scaled_side
from unet_deploy.system.cache import key_of
from unet_deploy.system.files import sha256_of

_ENOUGH = 256
"""Pixels of an answer: fewer may be the same by chance, where a network without margins sees a corner of an image."""


def varies(tiles: np.ndarray) -> bool:
    """Whether any tile (N, C, h, w) has two different pixels in a channel."""
    return bool((tiles != tiles[:, :, :1, :1]).any())


def check_listens(
    model: Path,
    feeds: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    ask: Callable[[dict[str, np.ndarray]], np.ndarray],
) -> None:
    """Raise ModelError where a tile that varies is answered with one number a class, and noise with the same.

    feeds, probabilities: of the tile. ask: gives the probabilities of others.
    """
    tiles = feeds[IMAGE]
    if probabilities[0, 0].size < _ENOUGH or not varies(tiles) or not finite.is_deaf(probabilities, probabilities):
        return
    noise = {IMAGE: np.random.default_rng(0).integers(0, 256, tiles.shape).astype(tiles.dtype)}
    if OFFSET in feeds:
        noise |= {OFFSET: np.zeros_like(feeds[OFFSET]), SCALE: np.full_like(feeds[SCALE], 1 / 255)}
    if finite.is_deaf(probabilities, ask(noise)):
        raise finite.deaf(str(model))


def fingerprint_of(model: Path, change: Change) -> str:
    """What tells a model file's answers, with a change made, from those of any other model."""
    file = sha256_of(model)
    return file if change == AS_IT_IS else key_of(file, asdict(change))


def graph_to_run(model: Path, change: Change) -> bytes:
    """The ONNX model with the change made. Raises MissingPackageError without the package onnx."""
    from unet_deploy.model.changed import read_to_run

    return read_to_run(model, change).proto.SerializeToString()


class CpuRuntime(ABC):
    """A Runtime whose ticket is the answer."""

    slots = 1

    def __init__(
        self,
        model: Path,
        card: ModelCard,
        name: str,
        *,
        probabilities: bool,
        tile_size: int | None,
        change: Change = AS_IT_IS,
    ) -> None:
        """Card: that of the file; the runtime's own is that of the model with the change made."""
        self._model, self._network, self._change = model, card, change
        self.card, self.name, self.probabilities = change.of(card), name, probabilities
        self._outputs = [LABELS, PROBABILITIES] if probabilities else [LABELS]
        largest = LARGEST_TILE if card.bytes_per_pixel else DEFAULT_TILE
        side = tile_size or scaled_side(largest, change.scale_of(card.stride), self.card)
        self.limits = Limits(1, (self.card.base, self.card.base), (side, side))
        self._turn = threading.Lock()
        self._closed = False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole file: a card that differs may mean another answer; and of what is changed of it."""
        return fingerprint_of(self._model, self._change)

    def require_layers(self, precision: str | None) -> None:
        """Close, and raise UsageError, unless the layers are in 8 bits where that was asked for, and only there."""
        has = self.card.precision
        if precision and (precision == "int8") != (has == "int8"):
            remedy = "make it with: unet-deploy quantize" if has == "fp32" else "give the model that it was made from"
            self.close()
            raise UsageError(f"--precision {precision}: {self._model} is of {has} layers; {remedy}")

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Answer:
        feeds = self._feeds([self._taken(tile) for tile in tiles], greys)
        with self._turn:
            if self._closed:
                raise UsageError(f"{self._model}: this model was closed; open it again")
            return self._compute(feeds)

    @abstractmethod
    def _taken(self, tile: np.ndarray) -> np.ndarray:
        """A tile in the type that the network takes. Raises UsageError."""

    @abstractmethod
    def _compute(self, feeds: dict[str, np.ndarray]) -> Answer:
        """The network's answer, in memory of its own. Called by one thread at a time. Raises OutOfMemoryError."""

    def memory(self, height: int, width: int) -> int | None:
        if self._network.bytes_per_pixel is None:
            return None
        resampling = self._change.resampling(self._network)
        if resampling is None:
            return self._network_memory(self._network.bytes_per_pixel, height, width)
        seen = map(resampling.network_side, (height, width))
        return self._network_memory(self._network.bytes_per_pixel, *seen) + self._resampling_bytes * height * width

    @abstractmethod
    def _network_memory(self, bytes_per_pixel: float, height: int, width: int) -> int:
        """Bytes that the network takes for an input of this size. bytes_per_pixel: as the card says."""

    @property
    def _resampling_bytes(self) -> int:
        """For a pixel of the image: it in float32 twice, and the planes that probabilities are interpolated in."""
        planes = len(self.card.classes) if self.probabilities or len(self.card.classes) > 2 else 1
        return 4 * self.card.channels * 3 + 4 * planes * 2

    @abstractmethod
    def _release(self) -> None:
        """Let go of the network."""

    def close(self) -> None:
        """Let go of the network, once no thread computes any more."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._release()

    def _feeds(self, images: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> dict[str, np.ndarray]:
        """The network's inputs for tiles that have its type already."""
        feeds = {IMAGE: np.stack(images)}
        if self.card.normalization.method == "percentile":
            feeds[OFFSET] = np.stack([grey.offset for grey in greys])
            feeds[SCALE] = np.stack([grey.scale for grey in greys])
        return feeds

    def result(self, ticket: Answer) -> Answer:
        return ticket

    def shrink(self, below: Limits) -> None:
        with self._turn:
            if self.limits == below:
                self.limits = below.halved(self.card)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
