"""What changes while training: the network, the running mean of its weights, and the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.optimizer import Muon
from trainer.recipe import Recipe
from trainer.unet import UNet
from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.system.machine import usable_memory

CHANCE = 0.005
"""Dice: a lead that a model has by chance on the image or two that are held back of a few. Weights that have learned
from the others are kept though the model that they began with is better by so much there: on other images of the
laboratory they found more (F1 0.927 and 0.904, where that model led by 0.002)."""


@dataclass
class Run:
    """The state of a training, all of which a checkpoint holds."""

    model: UNet
    averaged: UNet
    """Its weights are the running mean of the model's."""
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -1.0
    """The best validation score so far."""
    best_step: int = 0
    best_weights: dict[str, Tensor] | None = None
    """The running mean that had it, on the CPU; None before the first validation."""
    seconds: float = 0.0
    """Spent training, over all resumptions."""
    prepared: float = 0.0
    """Seconds spent before the first step, over all resumptions."""
    gone: float = 0.0
    """Share of the time that steps may take that is gone; 0 where they may take any."""
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last validation."""
    log: list[dict[str, float]] = field(default_factory=list)
    """Step, mean loss, score and seconds of each validation."""

    @property
    def to_beat(self) -> float:
        """The score that weights must reach to be kept: the best, or a little less than those that a run began with."""
        return self.best - (CHANCE if self.best_step == 0 else 0.0)

    def keep_best(self, score: float) -> None:
        """Take the running mean of the weights as the best."""
        self.best, self.best_step = score, self.step
        self.best_weights = {name: value.to("cpu", copy=True) for name, value in self.averaged.state_dict().items()}

    def position(self, recipe: Recipe) -> float:
        """The step at which it stands, or that to which the time that is gone belongs, where that is further."""
        return max(self.step, min(1.0, self.gone) * recipe.steps)

    @property
    def stale(self) -> int:
        """Validations since the one that was better than all before it."""
        scores = [row["score"] for row in self.log]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    @property
    def score(self) -> float | None:
        """The latest validation score; None before there is one."""
        return self.log[-1]["score"] if self.log else None


def start(
    recipe: Recipe, channels: int, classes: int, device: torch.device, network: Callable[..., UNet] = UNet
) -> Run:
    """Make a network with random weights, its running mean, and the optimizer.

    network: makes it, from channels, classes, width, depth and dropout. Raises UsageError for an illegal tile.
    """
    check_tile(recipe)
    torch.manual_seed(recipe.seed)
    model, averaged = (network(channels, classes, recipe.width, recipe.depth, recipe.dropout).to(device) for _ in "12")
    averaged.load_state_dict(model.state_dict())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Run(model, averaged, _optimizer(model, recipe))


def geometry(depth: int) -> UNet:
    """A network of this depth that holds nothing, for its margin, base and stride."""
    with torch.device("meta"):
        return UNet(width=1, depth=depth)


def check_tile(recipe: Recipe) -> None:
    """Raise UsageError for a tile that a network of the recipe's depth cannot take."""
    legal = geometry(recipe.depth)
    if (recipe.tile - legal.base) % legal.stride or recipe.tile < legal.base:
        raise UsageError(
            f"--tile-size {recipe.tile}: sides are {legal.base} + k x {legal.stride} pixels at --depth {recipe.depth}"
        )


def check_memory(recipe: Recipe) -> None:
    """Raise ResourceError for a network that this machine's memory cannot hold with all that trains it.

    A system that promises more memory than it has would end the process without a word.
    """
    with torch.device("meta"):
        network = UNet(width=recipe.width, depth=recipe.depth)
    copies = 5  # weights, gradient, momentum, running mean, the best
    taken, free = copies * sum(4 * each.numel() for each in network.parameters()), usable_memory()
    if not torch.cuda.is_available() and taken > free:
        raise ResourceError(
            f"--width {recipe.width}: training a network this wide takes {taken / 1e9:.3g} GB at least, "
            f"and {free / 1e9:.3g} GB are free; take a smaller one"
        )


def _optimizer(model: UNet, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    kind = Muon if recipe.optimizer == "muon" else torch.optim.AdamW
    return kind(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
