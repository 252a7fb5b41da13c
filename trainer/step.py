"""One step: rate, forward, backward, clip, optimizer, running mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.augment import TileBatch
from trainer.recipe import Recipe
from trainer.run import Run
from trainer.unet import UNet
from unet_deploy.system.machine import bf16_pays

Loss = Callable[[UNet, TileBatch, torch.device], Tensor]
"""What a step makes smaller, of a network and some tiles."""


def step(run: Run, batch: TileBatch, recipe: Recipe, device: torch.device, loss_by: Loss | None = None) -> float:
    """Take one step of the optimizer; returns the loss, by default that of the paper."""
    torch.manual_seed(_mix(recipe.seed, run.step))  # dropout, the same after a resume
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, run.position(recipe))
    run.model.train()
    loss = (loss_by or loss_of)(run.model, batch, device)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip:
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimizer.step()
    run.step += 1
    _average(run.averaged, run.model, min(recipe.average, run.step / (run.step + 10)) if recipe.average else 0.0)
    return float(loss.detach())


def loss_of(model: UNet, batch: TileBatch, device: torch.device) -> Tensor:
    """The loss of a network on some tiles."""
    image, labels, weights = (part.to(device, non_blocking=True) for part in (batch.image, batch.labels, batch.weights))
    with mixed_precision(device):
        logits = model(image)
    # Equation 1: softmax cross-entropy, each pixel weighted; averaged so that the step does not grow with the tile.
    entropy = nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    return (entropy * weights).sum() / weights.sum().clamp_min(1e-6)  # tiles of which the masks say nothing weigh 0


def learning_rate(recipe: Recipe, step: float) -> float:
    """Rise from 0 over the warm-up, then fall along half a cosine to a hundredth; sgd keeps its rate."""
    if not recipe.cosine:
        return recipe.learning_rate
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def mixed_precision(device: torch.device) -> Any:
    """In which a network computes its answer on a device: bfloat16 where that is faster."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return torch.autocast("cpu", torch.bfloat16) if bf16_pays() else nullcontext()


@torch.no_grad()
def _average(averaged: UNet, model: UNet, decay: float) -> None:
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
