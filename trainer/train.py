"""The training, top to bottom: data, loop, step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.augment import TileBatch
from trainer.batches import batches
from trainer.data import Annotated, DataSet, Sample, add_weights, read_data_set
from trainer.pictures import draw_curves, draw_validation
from trainer.predict import validate
from trainer.recipe import PRESETS, UNDESCRIBED, ModelDescription, Recipe
from trainer.run import Run, start
from trainer.unet import UNet
from trainer.weights import (
    Files,
    fingerprint_of,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    write_log,
)
from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.evaluation.pairs import check_no_data
from unet_deploy.system.files import check_free
from unet_deploy.system.interrupt import held_interrupt
from unet_deploy.system.machine import bf16_pays, usable_cores


@dataclass(frozen=True)
class State:
    """Where a training stands, for a progress bar."""

    step: int
    steps: int
    loss: float
    score: float | None
    """The latest validation score: mean Dice of the classes but background."""


def train(
    data: DataSet,
    output: Path,
    recipe: Recipe = PRESETS["modern"],
    description: ModelDescription = UNDESCRIBED,
    *,
    evaluate_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[State], None] | None = None,
) -> float:
    """Train a U-Net and write its best weights to `output` (.pt); returns their validation score.

    evaluate_every: steps between validations. resume: go on from the checkpoint that an earlier run of the same data
    and settings left; that gives what an uninterrupted run would have given.
    Beside OUTPUT.pt stand OUTPUT.checkpoint.pt, .csv (the log), .curves.png and .validation.png.
    Raises DataError, UsageError; ResourceError when the loss is no number any more.
    """
    files = Files(output)
    check_no_data(files.all, data.path, data.masks)
    _check_names(files, resume=resume, overwrite=overwrite)
    annotated = read_data_set(data, description)
    samples = add_weights(annotated.training, len(description.classes), recipe)

    torch.set_num_threads(usable_cores())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = start(recipe, len(samples[0].image), len(description.classes), device)
    fingerprint = fingerprint_of(recipe, description, annotated)
    if resume:
        load_checkpoint(files.checkpoint, run, fingerprint)

    with held_interrupt() as interrupted, closing(_steps(run, samples, recipe, device)) as losses:
        for loss in losses:
            if run.step % evaluate_every == 0 or run.step == recipe.steps:
                if _validate(run, annotated.validation, len(description.classes), device):
                    save_weights(output, run, recipe, description, annotated)
                save_checkpoint(files.checkpoint, run, fingerprint)
                write_log(files.log, run.log)
            if progress:
                progress(State(run.step, recipe.steps, loss, run.score))
            if interrupted():
                save_checkpoint(files.checkpoint, run, fingerprint)
                raise KeyboardInterrupt
    best, _ = load_weights(output)
    draw_curves(files.curves, run.log)
    draw_validation(files.pictures, best.to(device), annotated.validation, device)
    return run.best


def _check_names(files: Files, *, resume: bool, overwrite: bool) -> None:
    """Raise UsageError where a new run would take the place of an earlier one, finished or not."""
    if resume:
        return
    check_free(files.output, overwrite=overwrite)
    if files.checkpoint.exists() and not overwrite:
        raise UsageError(f"{files.checkpoint} exists; pass --resume to go on with it, or --overwrite to start anew")


def _validate(run: Run, images: Sequence[Annotated], classes: int, device: torch.device) -> bool:
    """Score the running mean of the weights and log it; returns whether it is the best so far."""
    score = validate(run.averaged, images, classes, device)
    mean = sum(run.losses) / len(run.losses)
    run.log.append({"step": run.step, "loss": mean, "score": score, "seconds": run.seconds})
    run.losses.clear()
    better = score > run.best
    if better:
        run.best, run.best_step = score, run.step
    return better


def _steps(run: Run, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Generator[float, None, None]:
    """Take the steps that are left, and yield the loss of each. Raises ResourceError when that is no number."""
    started = time.perf_counter() - run.seconds
    with closing(batches(samples, recipe, run.model.margin, run.step)) as drawn:
        for batch in drawn:
            loss = step(run, batch, recipe, device)
            if not math.isfinite(loss):
                raise ResourceError(
                    f"the loss is no number at step {run.step}; "
                    "go on from the last checkpoint with --resume, or start again, at a lower --learning-rate"
                )
            run.losses.append(loss)
            run.seconds = time.perf_counter() - started
            yield loss


# -- the step ------------------------------------------------------------------------------------------------


def step(run: Run, batch: TileBatch, recipe: Recipe, device: torch.device) -> float:
    """Take one step of the optimizer; returns the loss."""
    torch.manual_seed(_mix(recipe.seed, run.step))  # dropout, the same after a resume
    for group in run.optimizer.param_groups:
        group["lr"] = _learning_rate(recipe, run.step)
    run.model.train()
    image, labels, weights = (part.to(device, non_blocking=True) for part in (batch.image, batch.labels, batch.weights))
    with _mixed_precision(device):
        logits = run.model(image)
    # Equation 1: softmax cross-entropy, each pixel weighted; averaged so that the step does not grow with the tile.
    entropy = nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    loss = (entropy * weights).sum() / weights.sum()
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip:
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimizer.step()
    run.step += 1
    _average(run.averaged, run.model, min(recipe.average, run.step / (run.step + 10)) if recipe.average else 0.0)
    return float(loss.detach())


def _learning_rate(recipe: Recipe, step: int) -> float:
    """Rise from 0 over the warm-up, then fall along half a cosine to a hundredth; sgd keeps its rate."""
    if not recipe.cosine:
        return recipe.learning_rate
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _mixed_precision(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return torch.autocast("cpu", torch.bfloat16) if bf16_pays() else nullcontext()


@torch.no_grad()
def _average(averaged: UNet, model: UNet, decay: float) -> None:
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
