"""The network of figure 1 in Ronneberger, Fischer and Brox 2015, "U-Net", and nothing else."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """U-Net of valid (unpadded) convolutions.

    Takes (N, channels, H, W) with H and W of the form base + k * stride, returns logits
    (N, classes, H - 2 * margin, W - 2 * margin): 572 -> 388 at depth 4. 23 convolutional layers and 31.0 million
    parameters at width 64 and depth 4, as in the paper.

    width: channels of the first level, doubled at each of `depth` levels below.
    dropout: probability at the end of the contracting path.
    """

    def __init__(
        self, channels: int = 1, classes: int = 2, width: int = 64, depth: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        above = [channels, *widths[:-1]]
        self.depth = depth
        self.down = nn.ModuleList(_two_convolutions(a, b) for a, b in zip(above, widths, strict=True))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2) for w in widths[:-1])
        self.merge = nn.ModuleList(_two_convolutions(2 * w, w) for w in widths[:-1])
        self.head = nn.Conv2d(width, classes, kernel_size=1)
        self.apply(_initialise)

    @property
    def stride(self) -> int:
        """Legal input sides are base + k * stride."""
        return int(2**self.depth)

    @property
    def margin(self) -> int:
        """Pixels a side that the output lacks."""
        return 6 * self.stride - 4

    @property
    def base(self) -> int:
        """The smallest legal input side, in pixels."""
        return 2 * self.margin + min(4, self.stride)

    def crop(self, level: int) -> int:
        """Pixels a side by which a skip exceeds what comes up to it: 4, 16, 40, 88 going up from the bottom.

        Each level further up doubles the excess, and that of the two convolutions on either path adds to it.
        """
        return 12 * 2 ** (self.depth - level - 1) - 8

    def forward(self, image: Tensor) -> Tensor:
        self._check(image.shape[2], image.shape[3])
        skips: list[Tensor] = []
        features = image
        for level, convolve in enumerate(self.down):
            features = convolve(features)
            if level < self.depth:
                skips.append(features)
                features = nn.functional.max_pool2d(features, 2)
        features = self.dropout(features)
        for level in reversed(range(self.depth)):
            skip, crop = skips[level], self.crop(level)
            skip = skip[:, :, crop : skip.shape[2] - crop, crop : skip.shape[3] - crop]
            features = self.merge[level](torch.cat([skip, self.up[level](features)], dim=1))
        logits: Tensor = self.head(features)
        return logits

    def _check(self, height: int, width: int) -> None:
        for side in (height, width):
            if side < self.base or (side - self.base) % self.stride:
                below = self.base + max(0, (side - self.base) // self.stride) * self.stride
                raise ValueError(f"input side {side}: the nearest legal sides are {below} and {below + self.stride}")


def _two_convolutions(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())


def _initialise(module: nn.Module) -> None:
    """Gaussian weights of std sqrt(2 / N), N the incoming nodes of one neuron (section 3)."""
    if isinstance(module, nn.Conv2d):
        incoming = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
    elif isinstance(module, nn.ConvTranspose2d):
        incoming = module.in_channels  # stride 2 and a 2x2 kernel: one tap reaches each output pixel
    else:
        return
    nn.init.normal_(module.weight, std=math.sqrt(2 / incoming))
    assert module.bias is not None
    nn.init.zeros_(module.bias)
