"""The layers of the network that have weights, by what they are called in a model file."""

from __future__ import annotations

from torch import nn

from trainer.unet import UNet

Layer = nn.Conv2d | nn.ConvTranspose2d


def named_layers(network: UNet) -> dict[str, Layer]:
    """All of them by name.

    >>> list(named_layers(UNet(depth=1)))[:4]
    ['down0.conv0', 'down0.conv1', 'down1.conv0', 'down1.conv1']
    >>> list(named_layers(UNet(depth=1)))[4:]
    ['up0', 'merge0.conv0', 'merge0.conv1', 'head']
    """
    found = network.named_modules()
    return {_name(*path.split(".")): layer for path, layer in found if isinstance(layer, Layer)}


def _name(stage: str, level: str = "", place: str = "") -> str:
    """Of the layer at a path of modules; of two convolutions the second stands at place 2, behind a ReLU."""
    return f"{stage}{level}.conv{int(place) // 2}" if place else f"{stage}{level}"
