"""Fluorescence slides of any size with known truth, so that anyone can try the tool without data.

A slide is made block by block. What a block shows depends on the seed and on its 3x3 neighbourhood alone, so a
slide of any size streams to disk, and each block comes out the same whatever is made around it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from tifffile import TiffWriter

from unet_deploy.images import TIFF_SUFFIXES, ImageInfo
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.masks import Keep, MaskForm, open_mask
from unet_deploy.masks.apart import check_apart
from unet_deploy.system.files import check_ends, replacing
from unet_deploy.system.machine import usable_cores
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region

BLOCK = 512
"""Side of a block in pixels."""
PIXEL_SIZE_UM = 0.5
_HALO = 64
"""Pixels that a nucleus or its glow reaches into the next block at most."""
_COARSE = 8
"""Pixels to one of the grid of the glow, which is smooth."""
_PER_BLOCK = 512
"""Numbers of objects that a block may use; it shows at most _TRIES."""
_TRIES = 240


@dataclass(frozen=True)
class _Nuclei:
    """The nuclei whose centres lie in one block: arrays of the same length, y and x in slide pixels."""

    y: np.ndarray
    x: np.ndarray
    radius: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    ripple: np.ndarray
    """(n, 2, 2): amplitude and phase of the second and third harmonic of the outline."""
    brightness: np.ndarray
    label: np.ndarray


class SampleSlide:
    """A slide of nuclei on a dark background, 0 to 1 in brightness, and the numbered nuclei in it."""

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.height, self.width, self.seed = height, width, seed
        self.rows, self.columns = -(-height // BLOCK), -(-width // BLOCK)
        rng = np.random.default_rng([seed, 1])
        grain = sum(ndimage.gaussian_filter(rng.standard_normal((BLOCK, BLOCK)), s, mode="wrap") * s for s in (1.5, 4))
        self._texture = np.tile((1 + 0.16 * grain / grain.std()).astype(np.float32), (2, 2))
        self._waves = rng.uniform(0.2, 1, (4, 2)) * rng.choice([-1, 1], (4, 2)), rng.uniform(0, 2 * np.pi, 4)
        self._nuclei = lru_cache(maxsize=4 * (self.columns + 8))(self._draw_nuclei)

    def block(self, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the brightness (BLOCK, BLOCK) float32 and the numbered nuclei (BLOCK, BLOCK) uint32 of one block."""
        side = BLOCK + 2 * _HALO
        top, left = row * BLOCK - _HALO, column * BLOCK - _HALO
        light, labels = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint32)
        nearest = np.ones((side, side), np.float32)
        for nuclei in self._around(row, column):
            for index in range(len(nuclei.label)):
                _add_nucleus(nuclei, index, top, left, light, labels, nearest)
        texture = np.roll(self._texture, (_HALO, _HALO), (0, 1))[:side, :side]
        glow = _glow(light)
        inner = slice(_HALO, _HALO + BLOCK)
        rng = np.random.default_rng([self.seed, 2, row, column])
        shown = (light * texture)[inner, inner] + glow[inner, inner] + self._background(row, column, rng)
        return self._noisy(np.maximum(shown, 0), rng), labels[inner, inner]

    def _around(self, row: int, column: int) -> Iterator[_Nuclei]:
        """Yield the nuclei of a block and of the eight around it."""
        for r in range(max(0, row - 1), min(self.rows, row + 2)):
            for c in range(max(0, column - 1), min(self.columns, column + 2)):
                yield self._nuclei(r, c)

    def _draw_nuclei(self, row: int, column: int) -> _Nuclei:
        """Throw nuclei at a block, clustered, and keep those that leave room for the ones before."""
        rng = np.random.default_rng([self.seed, 3, row, column])
        count = _TRIES
        y, x = rng.uniform(0, BLOCK, (2, count)) + np.array([[row], [column]]) * BLOCK
        clustered = np.flatnonzero(rng.random(count) < 0.45)
        parents = rng.integers(count, size=len(clustered))
        y[clustered] = y[parents] + rng.normal(0, 22, len(clustered))
        x[clustered] = x[parents] + rng.normal(0, 22, len(clustered))
        radius = np.clip(rng.lognormal(np.log(11), 0.2, count), 6, 20)
        inside = (y >= row * BLOCK) & (y < (row + 1) * BLOCK) & (x >= column * BLOCK) & (x < (column + 1) * BLOCK)
        wanted = inside & (rng.random(count) < self._density(y, x)) & (y < self.height) & (x < self.width)
        kept: list[int] = []
        for index in np.flatnonzero(wanted):
            apart = np.hypot(y[kept] - y[index], x[kept] - x[index])
            if (apart > 0.92 * (radius[kept] + radius[index])).all():
                kept.append(int(index))
        n = len(kept)
        ripple = np.stack([rng.uniform(0, (0.08, 0.05), (n, 2)), rng.uniform(0, 2 * np.pi, (n, 2))], axis=-1)
        first = (row * self.columns + column) * _PER_BLOCK + 1
        return _Nuclei(
            y[kept],
            x[kept],
            radius[kept],
            rng.uniform(1.0, 1.45, n),
            rng.uniform(0, np.pi, n),
            ripple,
            np.clip(rng.lognormal(np.log(0.42), 0.35, n), 0.16, 0.95),
            np.arange(first, first + n, dtype=np.uint32),
        )

    def _density(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return how dense the tissue is, 0 to 1; it varies over thousands of pixels."""
        return np.clip(0.7 + 0.6 * self._wave(y, x, 900), 0.1, 1)

    def _wave(self, y: np.ndarray, x: np.ndarray, scale: float) -> np.ndarray:
        """Return a smooth field of about -1 to 1 that varies over `scale` pixels."""
        directions, phases = self._waves
        return sum(
            np.sin((y * dy + x * dx) / scale * (1 + 0.7 * k) + phase)
            for k, ((dy, dx), phase) in enumerate(zip(directions, phases, strict=True))
        ) / np.float32(len(phases) * 0.7)

    def _background(self, row: int, column: int, rng: np.random.Generator) -> np.ndarray:
        """Return uneven light, and a few specks that are no nuclei, (BLOCK, BLOCK) float32."""
        y = np.arange(row * BLOCK, (row + 1) * BLOCK, dtype=np.float32)[:, None]
        x = np.arange(column * BLOCK, (column + 1) * BLOCK, dtype=np.float32)
        light = 0.045 + 0.018 * self._wave(y, x, 2500)
        for _ in range(rng.poisson(3)):
            sy, sx = rng.uniform(8, BLOCK - 8, 2)
            size, bright = rng.uniform(0.8, 1.6), rng.uniform(0.1, 0.4)
            box = tuple(slice(int(at) - 6, int(at) + 7) for at in (sy, sx))
            dy, dx = (np.arange(s.start, s.stop) - at for s, at in zip(box, (sy, sx), strict=True))
            light[box] += bright * np.exp(-(dy[:, None] ** 2 + dx**2) / (2 * size**2))
        return light.astype(np.float32)

    def _noisy(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add photon noise, as the normal distribution that it tends to, and read noise."""
        spread = np.sqrt(light * np.float32(0.0012) + np.float32(0.00006))
        return light + rng.standard_normal(light.shape, np.float32) * spread


def _add_nucleus(
    nuclei: _Nuclei,
    index: int,
    top: int,
    left: int,
    light: np.ndarray,
    labels: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """Add a nucleus to a window at (top, left). A pixel that two share belongs to the one it lies deeper in."""
    y, x, radius = nuclei.y[index] - top, nuclei.x[index] - left, nuclei.radius[index]
    reach = math.ceil(radius * 1.6) + 3
    y0, y1 = max(0, int(y) - reach), min(len(light), int(y) + reach + 1)
    x0, x1 = max(0, int(x) - reach), min(len(light), int(x) + reach + 1)
    if y0 >= y1 or x0 >= x1:
        return
    box = (slice(y0, y1), slice(x0, x1))
    dy, dx = np.arange(y0, y1, dtype=np.float32)[:, None] - y, np.arange(x0, x1, dtype=np.float32) - x
    cos, sin = np.cos(nuclei.angle[index]), np.sin(nuclei.angle[index])
    stretch = math.sqrt(nuclei.stretch[index])
    along, across = (dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch
    theta = np.arctan2(across, along)
    outline = radius * (1 + sum(a * np.cos(k * theta + p) for k, (a, p) in enumerate(nuclei.ripple[index], start=2)))
    depth = (np.hypot(along, across) / outline).astype(np.float32)
    edge = 1 / (1 + np.exp(np.clip((depth - 1) * radius / 0.9, -30, 30)))
    light[box] += nuclei.brightness[index] * edge * (1.08 - 0.3 * np.minimum(depth, 1) ** 2)
    mine = depth < nearest[box]
    labels[box][mine] = nuclei.label[index]
    nearest[box][mine] = depth[mine]


def _glow(light: np.ndarray) -> np.ndarray:
    """Return the light from out of focus, which is a wide blur of what is there."""
    side = len(light) // _COARSE
    coarse = light.reshape(side, _COARSE, side, _COARSE).mean(axis=(1, 3))
    blurred = ndimage.gaussian_filter(coarse, 2.0, mode="nearest")
    return 0.22 * ndimage.zoom(blurred, _COARSE, order=1, mode="nearest", grid_mode=True)


def write_sample(
    path: Path,
    height: int,
    width: int,
    *,
    truth: Path,
    seed: int = 0,
    bits: int = 8,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a slide as tiled BigTIFF (uint8, or uint16 for 16 bits) and its numbered nuclei to `truth` (uint32).

    Raises UsageError when a file exists without `overwrite` or both are one or another kind is named, ResourceError
    when the disk is full.
    """
    check_ends(path, "samples", TIFF_SUFFIXES)
    check_apart([path, truth])
    slide = SampleSlide(height, width, seed)
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    full = np.float32(255 if bits == 8 else 40_000)
    total = slide.rows * slide.columns
    sizes = PixelSizes(PIXEL_SIZE_UM, PIXEL_SIZE_UM)
    image = ImageInfo(str(path), 1, 1, height, width, dtype, sizes, tags=sizes.resolution)
    form = MaskForm(image, dtype=np.dtype(np.uint32))
    with open_mask(truth, form, Keep(overwrite=overwrite)) as sink:

        def tiles() -> Iterator[np.ndarray]:
            for index, (light, labels) in enumerate(_in_order(slide)):
                row, column = divmod(index, slide.columns)
                y, x = row * BLOCK, column * BLOCK
                region = Region(y, x, min(BLOCK, height - y), min(BLOCK, width - x))
                sink.write(0, region, labels[None, : region.height, : region.width])
                if progress:
                    progress(index + 1, total)
                yield np.clip(light * full, 0, 2**bits - 1).astype(dtype)

        with replacing(path, overwrite=overwrite) as beside, TiffWriter(beside, bigtiff=True) as tiff:
            tiff.write(
                tiles(),
                shape=(height, width),
                dtype=dtype,
                tile=(BLOCK, BLOCK),
                photometric="minisblack",
                metadata=None,
                software="unet-deploy sample",
                **sizes.resolution,
            )
        sink.commit()


def _in_order(slide: SampleSlide) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all blocks row by row; a few are made ahead on other threads."""
    waiting: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        for index in range(slide.rows * slide.columns):
            waiting.append(pool.submit(slide.block, *divmod(index, slide.columns)))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
