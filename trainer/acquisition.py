"""What differs between laboratories: light, haze, debris, focus, noise, bits and compression, drawn for a tile.

Each is a change that an instrument makes, in the order in which it makes them: light falls on the sample, the objective
blurs it, the camera counts photons and cuts them off, the file rounds and compresses them.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

OFTEN = 0.3
"""How often each change is made of a tile that is to look as from another laboratory: two or three of them are."""

Change = Callable[[Tensor, np.random.Generator], Tensor]


def elsewhere(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a tile (C, h, w) float32, network input, as another laboratory may have taken it.

    In network input 0 and 1 are two percentiles of the whole image: what is brighter is above 1.
    """
    for change in _CHANGES:
        if rng.random() < OFTEN:
            image = change(image, rng)
    return image


def _uneven_light(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A lamp that lights one side more, by up to a factor of about two."""
    return image * _field(image, rng).mul(0.35).exp()


def _haze(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Light from above and below the focus: the image itself, blurred over many pixels, and a floor of its own."""
    share = float(rng.uniform(0.1, 0.6))
    floor = _field(image, rng).mul(0.1) + float(rng.uniform(0, 0.3))
    return (1 - share) * image + share * _blurred(image, float(rng.uniform(8, 30))) + floor


def _dim(image: Tensor, rng: np.random.Generator) -> Tensor:
    """All that is of interest in a fraction of the scale, down to a tenth: debris elsewhere in the image has set it."""
    return image * float(np.exp(rng.uniform(np.log(0.1), 0)))


def _debris(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A few specks that outshine everything, out of focus as they lie above it."""
    height, width = image.shape[1:]
    specks = torch.zeros(1, height, width, device=image.device)
    for _ in range(int(rng.integers(1, 5))):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        specks[0, y : y + int(rng.integers(1, 9)), x : x + int(rng.integers(1, 9))] = float(rng.uniform(1, 4))
    return image + _blurred(specks, float(rng.uniform(0.7, 2.5)))


def _out_of_focus(image: Tensor, rng: np.random.Generator) -> Tensor:
    return _blurred(image, float(rng.uniform(0.5, 2.5)))


def _photons(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Noise of counting, which grows with the root of the light, and noise of reading, which does not."""
    light = image.clamp(0, 4).sqrt() * float(rng.uniform(0, 0.15)) + float(rng.uniform(0, 0.05))
    return image + light * torch.from_numpy(rng.standard_normal(image.shape, np.float32)).to(image.device)


def _saturated(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut off well below the brightest, and shown up to there."""
    most = float(rng.uniform(0.4, 0.95))
    return image.clamp(max=most) / most


def _few_bits(image: Tensor, rng: np.random.Generator) -> Tensor:
    levels = float(2 ** rng.uniform(3.5, 7))
    return (image * levels).round() / levels


def _compressed(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Each channel through JPEG, which is the processor's, wherever the tile is."""
    quality = int(rng.integers(20, 90))
    planes = [_through_jpeg(plane, quality) for plane in image.cpu().numpy()]
    return torch.from_numpy(np.stack(planes)).to(image.device)


def _through_jpeg(plane: np.ndarray, quality: int) -> np.ndarray:
    least, most = float(plane.min()), float(min(plane.max(), 2.0))
    span = max(most - least, 1e-6)
    grey = ((plane - least) / span).clip(0, 1) * 255
    held = io.BytesIO()
    Image.fromarray(grey.round().astype(np.uint8)).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held), np.float32) / 255 * span + least


_CHANGES: tuple[Change, ...] = (
    _uneven_light,
    _haze,
    _debris,
    _dim,
    _out_of_focus,
    _photons,
    _saturated,
    _few_bits,
    _compressed,
)


def _field(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A smooth random field (1, h, w), of standard deviation 1 at its 16 knots."""
    knots = torch.from_numpy(rng.standard_normal((1, 1, 4, 4), np.float32)).to(image.device)
    return interpolate(knots, size=image.shape[1:], mode="bicubic", align_corners=True)[0]


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Through a Gaussian of `sigma` pixels; a wide one is taken of fewer pixels."""
    step = max(1, int(sigma / 2))
    small = image if step == 1 else interpolate(image[None], scale_factor=1 / step, mode="area")[0]
    reach = int(min(np.ceil(3 * sigma / step), min(small.shape[1:]) - 1))
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-((axis * step / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum())[None, None, None]
    rows = conv2d(pad(small[:, None], (reach, reach, 0, 0), mode="reflect"), kernel)
    both = conv2d(pad(rows, (0, 0, reach, reach), mode="reflect"), kernel.transpose(2, 3))[:, 0]
    return both if step == 1 else interpolate(both[None], size=image.shape[1:], mode="bilinear")[0]
