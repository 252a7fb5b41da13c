"""One random tile of a sample: shift, rotation, flip, scale and elastic deformation as a single resampling.

What hangs over the image is mirrored, as it is when the network is used. Chance is drawn by the processor, whatever
device deforms the tile: the same seed is the same tile on each, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

from trainer.acquisition import elsewhere
from trainer.data import Sample
from trainer.places import Place, Point
from trainer.recipe import Augmentation

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TileBatch:
    """N tiles of n pixels a side, and the truth of the m = n - 2 * margin in their middle."""

    image: Tensor
    """(N, C, n, n) float32, network input."""
    labels: Tensor
    """(N, m, m) int64, class indices."""
    weights: Tensor
    """(N, m, m) float32, how much each pixel counts in the loss."""


@dataclass(frozen=True)
class Planes:
    """What tiles of a sample are cut from, on the device that deforms them."""

    image: Tensor
    """(C, H, W) float32, network input."""
    labels: Tensor
    """(H, W) uint8, class indices."""
    weights: Tensor
    """(H, W) float32."""
    zoom: float = 1.0
    """How many times larger a tile is than what it is cut from."""

    @classmethod
    def of(cls, sample: Sample, device: torch.device = CPU) -> Planes:
        """Those of a sample; on the processor they are its own memory."""
        image, labels, weights = (
            torch.from_numpy(each).to(device) for each in (sample.image, sample.labels, sample.weights)
        )
        return cls(image, labels, weights, sample.zoom)

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.labels.nbytes + self.weights.nbytes


class Source:
    """The planes of some samples by their number: on the processor as they are, on a GPU uploaded when first asked for.

    room: bytes that may stay on the device; what does not fit is uploaded for each tile.
    """

    def __init__(self, samples: Sequence[Sample], device: torch.device = CPU, room: int = 0) -> None:
        self._samples, self._device, self._room = samples, device, room
        self._kept: dict[int, Planes] = {}

    def __getitem__(self, number: int) -> Planes:
        if number in self._kept:
            return self._kept[number]
        planes = Planes.of(self._samples[number], self._device)
        if planes.nbytes <= self._room:
            self._kept[number], self._room = planes, self._room - planes.nbytes
        return planes


def draw_tile(
    planes: Planes,
    tile: int,
    margin: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    middle: Point | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a tile of `tile` input pixels a side around a point of the sample: one element of a TileBatch.

    middle: by default any point, each as likely. All but the drawing of chance is done where the planes are.
    """
    (height, width), device = planes.labels.shape, planes.image.device
    grid = _grid(tile, augmentation, rng, device) / planes.zoom
    anywhere = rng.uniform(0, width - 1), rng.uniform(0, height - 1)
    grid += torch.tensor(middle or anywhere, dtype=torch.float32, device=device)
    # grid_sample wants -1 and 1 at the centres of the border pixels; an axis of one pixel has but one answer.
    scale = [2 / max(1, width - 1), 2 / max(1, height - 1)]
    grid = grid * torch.tensor(scale, dtype=torch.float32, device=device) - 1
    inner = grid[margin : tile - margin, margin : tile - margin]
    image = _resample(planes.image, grid, "bilinear", augmentation.border)
    truth = torch.stack([planes.labels.float(), planes.weights])
    labels, weights = _resample(truth, inner, "nearest")
    if augmentation.elsewhere and rng.random() < augmentation.elsewhere:
        image = elsewhere(image, rng)
    return _vary_grey(image, augmentation, rng), labels.long(), weights


def draw_batch(
    source: Source,
    places: Sequence[Place],
    tile: int,
    margin: int,
    augmentation: Augmentation,
    seed: list[int],
) -> TileBatch:
    """Draw a tile at each place; the same seed draws the same batch."""
    rng = np.random.default_rng(seed)
    drawn = [draw_tile(source[each.sample], tile, margin, augmentation, rng, each.middle) for each in places]
    images, labels, weights = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return TileBatch(images.contiguous(memory_format=torch.channels_last), labels, weights)


def _grid(tile: int, augmentation: Augmentation, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Draw x and y in image pixels of every pixel of a tile, its centre at 0: (tile, tile, 2) float32."""
    axis = torch.arange(tile, dtype=torch.float32, device=device) - (tile - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    flat = torch.stack([x, y], dim=-1)
    if augmentation.elastic:
        coarse = torch.from_numpy(rng.normal(0, augmentation.elastic, (1, 2, 3, 3)).astype(np.float32)).to(device)
        flat += interpolate(coarse, size=(tile, tile), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
    angle, mirrored = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    zoom = np.exp(rng.normal(0, augmentation.scale))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([mirrored, 1]) / zoom
    return flat @ torch.from_numpy(turn.T.astype(np.float32)).to(device)


def _resample(planes: Tensor, grid: Tensor, mode: str, border: str = "reflection") -> Tensor:
    """Sample planes (C, H, W) at a (h, w, 2) grid: (C, h, w). Reflection about pixel centres is the tiling's mirror."""
    return grid_sample(planes[None], grid[None], mode=mode, padding_mode=border, align_corners=True)[0]


def _vary_grey(image: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    gain, gamma = np.exp(rng.normal(0, augmentation.grey, 2))
    noise = rng.uniform(0, augmentation.noise) * rng.random()  # weak noise is the rule, strong noise happens
    if rng.random() < augmentation.blur:
        for _ in range(rng.integers(1, 4)):
            image = avg_pool2d(pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    varied = image.sign() * image.abs() ** float(gamma) * float(gain) + float(rng.normal(0, augmentation.grey / 4))
    return varied + torch.from_numpy(rng.standard_normal(image.shape, np.float32)).to(image.device) * noise
