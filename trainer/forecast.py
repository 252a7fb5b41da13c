"""How long a training will take on this machine, measured before it: a few steps, and what they compute, counted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.augment import TileBatch
from trainer.optimizer import orthogonalised, turns
from trainer.recipe import Recipe
from trainer.run import geometry, start
from trainer.sets import Extent
from trainer.step import loss_of, step
from trainer.unet import UNet
from unet_deploy.runtimes import DEFAULT_TILE
from unet_deploy.system.machine import usable_cores
from unet_deploy.tiling import plan_tiles

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
    """Where it is long and on a processor: after which step of this width an hour will be over."""

    def within(self, seconds: float) -> Forecast:
        """The same training where it is ended after so many seconds."""
        if self.seconds <= seconds:
            return self
        return replace(self, steps=max(1, math.floor(self.steps * seconds / self.seconds)), seconds=seconds)

    @property
    def of_this_width(self) -> Forecast:
        """The same for a network that cannot be narrower: it begins with a model, or goes on."""
        return replace(self, narrower=None)


def foresee(recipe: Recipe, classes: int, extent: Extent, pace: tuple[int, int], device: torch.device) -> Forecast:
    """Measure this machine for some seconds and foresee a training.

    pace: the step from which it goes on, and the steps between validations.
    """
    first, every = pace
    left = recipe.steps - first
    validations = math.ceil(left / every)
    speed = _Speed(recipe, extent.channels, classes, device)

    def seconds(width: int) -> float:
        return left * speed.step(width) + validations * speed.answers(width, extent.validation)

    whole = seconds(recipe.width)
    if device.type == "cuda":
        return Forecast(left, recipe.width, whole, torch.cuda.get_device_name(device))
    cores = usable_cores()
    found = Forecast(left, recipe.width, whole, f"{cores} cores" if cores > 1 else "one core")
    if whole <= LONG or recipe.max_minutes:
        return found
    fitting = (width for width in _NARROWER if width < recipe.width and seconds(width) <= LONG)
    width = next(fitting, None)
    fewer = math.floor(left * LONG / whole)
    return replace(found, narrower=(width, seconds(width)) if width else None, fewer=first + fewer if fewer else None)


class _Speed:
    """Seconds of a step, and of an answer, of networks of any width: of narrow ones timed, of wider ones counted on."""

    def __init__(self, recipe: Recipe, channels: int, classes: int, device: torch.device) -> None:
        self.recipe, self.ports, self.device = recipe, (channels, classes), device
        self._timed: dict[int, float] = {}
        narrow = self.step(min(recipe.width, _NARROW))
        if recipe.width > _NARROW:
            expected = narrow * self._work(recipe) / self._work(replace(recipe, width=_NARROW))
            affordable = device.type == "cuda" or expected < _AFFORDABLE
            self._timed[recipe.width] = _time_step(recipe, self.ports, device) if affordable else self._step_by_parts()

    def step(self, width: int) -> float:
        """Seconds of a step. A wider network than was timed takes as much longer as it computes more, at most."""
        if width in self._timed:
            return self._timed[width]
        recipe = replace(self.recipe, width=width)
        if width <= _NARROW:
            self._timed[width] = _time_step(recipe, self.ports, self.device)
            return self._timed[width]
        return self.step(_NARROW) * self._work(recipe) / self._work(replace(recipe, width=_NARROW))

    def answers(self, width: int, sizes: Iterable[tuple[int, int]]) -> float:
        """Seconds of the answers to images of these heights and widths."""
        return self.step(width) * steps_of_answers(replace(self.recipe, width=width), self.ports, sizes)

    def _step_by_parts(self) -> float:
        """Seconds of a step that is too long to be timed: a small tile is, and the orthogonalised step of a kernel."""
        recipe = self.recipe
        sample, ports = replace(recipe, batch=1, tile=_small_tile(recipe)), self.ports
        tiles = _time_tiles(sample, ports, self.device) * _count_tiles(recipe, ports) / _count_tiles(sample, ports)
        return tiles + _time_turn(self.device) * _count_optimizer(recipe, ports)

    def _work(self, recipe: Recipe) -> float:
        return _count_step(recipe, self.ports)


def steps_of_answers(recipe: Recipe, ports: tuple[int, int], sizes: Iterable[tuple[int, int]]) -> float:
    """How many steps compute as much as the answers to images of these heights and widths, tiled as for validation.

    ports: channels and classes.
    """
    plans = (plan_tiles(*sides, geometry(recipe.depth), tile=DEFAULT_TILE) for sides in sizes)
    tiles = Counter(tile.read.sides for plan in plans for tile in plan)
    work = sum(count * _count_answer(recipe.width, recipe.depth, ports, sides) for sides, count in tiles.items())
    return work / _count_step(recipe, ports)


def _count_step(recipe: Recipe, ports: tuple[int, int]) -> float:
    """Count the floating point operations of a step."""
    return _count_tiles(recipe, ports) + _count_optimizer(recipe, ports)


def _count_tiles(recipe: Recipe, ports: tuple[int, int]) -> float:
    """Count those of its tiles alone. Back through a convolution takes twice as many as forward."""
    return 3 * recipe.batch * _count_answer(recipe.width, recipe.depth, ports, (recipe.tile, recipe.tile))


@cache
def _count_answer(width: int, depth: int, ports: tuple[int, int], sides: tuple[int, int]) -> float:
    """Count the floating point operations of an answer to a tile of this height and width; nothing is computed."""
    channels, classes = ports
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        UNet(channels, classes, width, depth)(torch.empty(1, channels, *sides))
    return float(counted.get_total_flops())


@cache
def _count_optimizer(recipe: Recipe, ports: tuple[int, int]) -> float:
    """Count those of the orthogonalised steps of a network's kernels, which do not ask for the size of the tile."""
    if recipe.optimizer != "muon":
        return 0.0
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        for kernel in filter(turns, UNet(*ports, recipe.width, recipe.depth).parameters()):
            orthogonalised(kernel.flatten(1))
    return float(counted.get_total_flops())


def _small_tile(recipe: Recipe) -> int:
    """The side of a tile that takes a fraction of the time, and is still more than its margins."""
    shape = geometry(recipe.depth)
    return min(recipe.tile, shape.base + 4 * shape.stride)


def _inner(recipe: Recipe) -> int:
    """Pixels a side of the answer to a training tile."""
    return recipe.tile - 2 * geometry(recipe.depth).margin


def _time_step(recipe: Recipe, ports: tuple[int, int], device: torch.device) -> float:
    """Seconds of a step on tiles of noise."""
    run = start(recipe, *ports, device)
    batch = _noise(recipe, ports)
    return _fastest(lambda: step(run, batch, recipe, device))


def _time_tiles(recipe: Recipe, ports: tuple[int, int], device: torch.device) -> float:
    """Seconds of the way forward and back of tiles of noise."""
    network, batch = start(recipe, *ports, device).model, _noise(recipe, ports)

    def there_and_back() -> None:
        network.zero_grad()
        loss_of(network, batch, device).backward()

    return _fastest(there_and_back)


def _time_turn(device: torch.device) -> float:
    """Seconds of an orthogonalised step, for each of its floating point operations, by that of a middling kernel."""
    kernel = torch.rand(256, 256 * 9, device=device)
    with FlopCounterMode(display=False) as counted:
        orthogonalised(kernel)
    return _fastest(lambda: orthogonalised(kernel)) / counted.get_total_flops()


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three, or of fewer where they are slow, after a first one.

    Much is set up in that, which is done once.
    """
    work()
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < _ENOUGH:
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _noise(recipe: Recipe, ports: tuple[int, int]) -> TileBatch:
    (channels, classes), inner = ports, _inner(recipe)
    image = torch.rand(recipe.batch, channels, recipe.tile, recipe.tile).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (recipe.batch, inner, inner))
    return TileBatch(image, labels, torch.ones(recipe.batch, inner, inner))
