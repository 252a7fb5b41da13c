"""Whether a training still computes with numbers: what answers NaN is never saved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trainer.run import Run
from unet_deploy.images.array import ArraySource
from unet_deploy.tiling import plan_tiles


@torch.no_grad()
def is_finite(run: Run, image: np.ndarray, device: torch.device) -> bool:
    """Whether weights, their running mean and the optimizer hold numbers alone, and both networks answer with such.

    image: (C, H, W) float32, network input, of which one tile is tried: weights may be numbers whose sums are none.
    """
    tile = _tile(run, image).to(device)
    answers = (network.eval()(tile) for network in (run.model, run.averaged))
    return all(bool(each.isfinite().all()) for source in (_held(run), answers) for each in source)


def _held(run: Run) -> Iterator[Tensor]:
    """Everything that a checkpoint keeps."""
    for network in (run.model, run.averaged):
        yield from network.state_dict().values()
    for state in run.optimizer.state.values():
        yield from (each for each in state.values() if isinstance(each, Tensor))


def _tile(run: Run, image: np.ndarray) -> Tensor:
    """The upper left corner of an image as the smallest tile, (1, C, base, base)."""
    read = plan_tiles(1, 1, run.model, tile=2 * run.model.base)[0].read
    return torch.from_numpy(ArraySource(image).read(0, read).copy())[None]
