"""How long a training will take on this machine, measured before it: a few steps, and what they compute, counted."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.augment import TileBatch
from trainer.optimizer import orthogonalised, turns
from trainer.recipe import Recipe
from trainer.run import geometry, start
from trainer.sets import Extent
from trainer.step import step
from trainer.unet import UNet
from unet_deploy.system.machine import usable_cores

LONG = 3600.0
"""Seconds beyond which a training on a processor is worth a word."""

_AFFORDABLE = 2.5
"""Seconds that a whole step may take to be timed itself; of a longer one a small tile is, and the rest counted."""

_ENOUGH = 1.0
"""Seconds of steps after which no more are timed."""

_NARROW = 16
"""The widest network whose steps are timed whatever they may take: some tenths of a second on two cores."""

_NARROWER = (32, 16, 8)


@dataclass(frozen=True)
class Forecast:
    """What a training will take."""

    steps: int
    """That are left to take."""
    width: int
    seconds: float
    """Of steps and validations together."""
    machine: str
    narrower: tuple[int, float] | None = None
    """Where it is long and on a processor: a width that takes under an hour, and its seconds."""
    fewer: int | None = None
    """Where it is long and on a processor: how many steps of this width take an hour."""


def foresee(recipe: Recipe, classes: int, extent: Extent, pace: tuple[int, int], device: torch.device) -> Forecast:
    """Measure this machine for some seconds and foresee a training.

    pace: the step from which it goes on, and the steps between validations.
    """
    first, every = pace
    left = recipe.steps - first
    validations = math.ceil(left / every)
    speed = _Speed(recipe, extent.channels, classes, device)

    def seconds(width: int) -> float:
        a_validation = speed.forward(width) * extent.validation_pixels
        return left * speed.step(width) + validations * a_validation

    whole = seconds(recipe.width)
    if device.type == "cuda":
        return Forecast(left, recipe.width, whole, torch.cuda.get_device_name(device))
    cores = usable_cores()
    found = Forecast(left, recipe.width, whole, f"{cores} cores" if cores > 1 else "one core")
    if whole <= LONG:
        return found
    fitting = (width for width in _NARROWER if width < recipe.width and seconds(width) <= LONG)
    width = next(fitting, None)
    fewer = math.floor(left * LONG / whole)
    return replace(found, narrower=(width, seconds(width)) if width else None, fewer=fewer or None)


class _Speed:
    """Seconds of a step, and of an answer, of networks of any width: of narrow ones timed, of wider ones counted on."""

    def __init__(self, recipe: Recipe, channels: int, classes: int, device: torch.device) -> None:
        self.recipe, self.ports, self.device = recipe, (channels, classes), device
        self._timed: dict[int, float] = {}
        narrow = self.step(min(recipe.width, _NARROW))
        if recipe.width > _NARROW:
            expected = narrow * self._work(recipe) / self._work(replace(recipe, width=_NARROW))
            affordable = device.type == "cuda" or expected < _AFFORDABLE
            sample = recipe if affordable else replace(recipe, batch=1, tile=_small_tile(recipe))
            timed = _time_step(sample, self.ports, device)
            self._timed[recipe.width] = timed * self._work(recipe) / self._work(sample)

    def step(self, width: int) -> float:
        """Seconds of a step. A wider network than was timed takes as much longer as it computes more, at most."""
        if width in self._timed:
            return self._timed[width]
        recipe = replace(self.recipe, width=width)
        if width <= _NARROW:
            self._timed[width] = _time_step(recipe, self.ports, self.device)
            return self._timed[width]
        return self.step(_NARROW) * self._work(recipe) / self._work(replace(recipe, width=_NARROW))

    def forward(self, width: int) -> float:
        """Seconds of an answer, for each of its pixels."""
        recipe = replace(self.recipe, width=width)
        share = _count(recipe, self.ports).a_tile / self._work(recipe)
        return self.step(width) * share / _inner(recipe) ** 2

    def _work(self, recipe: Recipe) -> float:
        """Floating point operations of a step. Back through a convolution takes twice as many as forward."""
        counted = _count(recipe, self.ports)
        return 3 * recipe.batch * counted.a_tile + counted.optimizer


@dataclass(frozen=True)
class _Work:
    """Floating point operations."""

    a_tile: float
    """Of an answer to one training tile."""
    optimizer: float
    """Of the orthogonalised steps of a network's kernels, which do not ask for the size of the tile."""


@cache
def _count(recipe: Recipe, ports: tuple[int, int]) -> _Work:
    """Count what a network computes, on tensors that hold nothing."""
    channels, classes = ports
    with torch.device("meta"), torch.no_grad():
        network = UNet(channels, classes, recipe.width, recipe.depth)
        with FlopCounterMode(display=False) as tile:
            network(torch.empty(1, channels, recipe.tile, recipe.tile))
        with FlopCounterMode(display=False) as optimizer:
            for kernel in network.parameters():
                if recipe.optimizer == "muon" and turns(kernel):
                    orthogonalised(kernel.flatten(1))
    return _Work(tile.get_total_flops(), optimizer.get_total_flops())


def _small_tile(recipe: Recipe) -> int:
    """The side of a tile that takes a fraction of the time, and is still more than its margins."""
    shape = geometry(recipe.depth)
    return min(recipe.tile, shape.base + 4 * shape.stride)


def _inner(recipe: Recipe) -> int:
    """Pixels a side of the answer to a training tile."""
    return recipe.tile - 2 * geometry(recipe.depth).margin


def _time_step(recipe: Recipe, ports: tuple[int, int], device: torch.device) -> float:
    """Seconds of a step on tiles of noise: after a first one, the fastest of three, or of fewer where they are slow."""
    run = start(recipe, *ports, device)
    batch = _noise(recipe, ports)
    step(run, batch, recipe, device)  # much is set up in it, which is done once
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < _ENOUGH:
        started = time.perf_counter()
        step(run, batch, recipe, device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _noise(recipe: Recipe, ports: tuple[int, int]) -> TileBatch:
    (channels, classes), inner = ports, _inner(recipe)
    image = torch.rand(recipe.batch, channels, recipe.tile, recipe.tile).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (recipe.batch, inner, inner))
    return TileBatch(image, labels, torch.ones(recipe.batch, inner, inner))
