"""The training loop, top to bottom."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.augment import TileBatch, draw_batch
from trainer.data import MaskKind, Sample, absent_class, add_weights, find_pairs, read_annotated, split
from trainer.optimizer import Muon
from trainer.pictures import draw_curves, draw_validation
from trainer.predict import validate
from trainer.recipe import PRESETS, About, Recipe
from trainer.unet import UNet
from trainer.weights import (
    Files,
    Run,
    fingerprint_of,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    write_log,
)
from unet_deploy.errors import DataError, ResourceError, UsageError
from unet_deploy.system.files import check_free
from unet_deploy.system.interrupt import held_interrupt
from unet_deploy.system.machine import bf16_pays, usable_cores

_PREFETCH = 3


@dataclass(frozen=True)
class State:
    """Where a training stands, for a progress bar."""

    step: int
    steps: int
    loss: float
    score: float | None
    """The latest validation score: mean Dice of the classes but background."""


def train(
    data: Path,
    output: Path,
    *,
    masks: Path | None = None,
    recipe: Recipe = PRESETS["modern"],
    about: About | None = None,
    mask_kind: MaskKind = "auto",
    validation: str = "last:0.1",
    evaluate_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[State], None] | None = None,
) -> float:
    """Train a U-Net and write its best weights to `output` (.pt); returns their validation score.

    data: a folder with images/ and masks/, or an image stack with its label stack in `masks`.
    Beside OUTPUT.pt stand OUTPUT.checkpoint.pt (for `resume`), .csv (the log), .curves.png and .validation.png.
    Resuming gives what an uninterrupted run would have given.
    Raises DataError, UsageError; ResourceError when the loss is no number any more.
    """
    about = about or About()
    files = Files(output)
    if not resume:
        check_free(output, overwrite=overwrite)
        if files.checkpoint.exists() and not overwrite:
            raise UsageError(f"{files.checkpoint} exists; pass --resume to go on with it, or --overwrite to start anew")
    pairs = find_pairs(data, masks)
    kept, held = split([pair.name for pair in pairs], validation)
    annotated = read_annotated(pairs, about.classes, about.normalization, mask_kind)
    if absent := absent_class((annotated[index].labels for index in kept), about.classes):
        raise DataError(
            f"{data}: class {absent!r} occurs only in what --validation {validation} holds back; hold back others"
        )
    samples = add_weights(
        [annotated[index] for index in kept],
        len(about.classes),
        w0=recipe.w0,
        sigma=recipe.sigma,
        balance=recipe.balance,
    )
    judges = [annotated[index] for index in held]
    held_back = f"{validation} held back: {len(held)} of {len(pairs)} images"

    torch.set_num_threads(usable_cores())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = start(recipe, samples[0].image.shape[0], len(about.classes), device)
    fingerprint = fingerprint_of(recipe, about, annotated, validation)
    if resume:
        load_checkpoint(files.checkpoint, run, fingerprint)

    score = run.log[-1]["score"] if run.log else None
    started = time.perf_counter() - run.seconds
    with held_interrupt() as interrupted, closing(batches(samples, recipe, run.model, run.step)) as drawn:
        for batch in drawn:
            loss = step(run, batch, recipe, device)
            if not math.isfinite(loss):
                raise ResourceError(
                    f"the loss is no number at step {run.step}; "
                    "go on from the last checkpoint with --resume, or start again, at a lower --learning-rate"
                )
            run.losses.append(loss)
            run.seconds = time.perf_counter() - started
            if run.step % evaluate_every == 0 or run.step == recipe.steps:
                score = validate(run.averaged, judges, len(about.classes), device)
                mean = sum(run.losses) / len(run.losses)
                run.log.append({"step": run.step, "loss": mean, "score": score, "seconds": run.seconds})
                run.losses.clear()
                if score > run.best:
                    run.best, run.best_step = score, run.step
                    save_weights(output, run, recipe, about, held_back, judges)
                save_checkpoint(files.checkpoint, run, fingerprint)
                write_log(files.log, run.log)
            if progress:
                progress(State(run.step, recipe.steps, loss, score))
            if interrupted():
                save_checkpoint(files.checkpoint, run, fingerprint)
                raise KeyboardInterrupt
    best, _ = load_weights(output)
    draw_curves(files.curves, run.log)
    draw_validation(files.pictures, best.to(device), judges, device)
    return run.best


def start(
    recipe: Recipe, channels: int, classes: int, device: torch.device, network: Callable[..., UNet] = UNet
) -> Run:
    """A network with random weights, its running mean, and the optimizer. Raises UsageError for an illegal tile."""
    torch.manual_seed(recipe.seed)
    model, averaged = (network(channels, classes, recipe.width, recipe.depth, recipe.dropout).to(device) for _ in "12")
    if (recipe.tile - model.base) % model.stride or recipe.tile <= 2 * model.margin:
        raise UsageError(f"--tile-size {recipe.tile}: sides are {model.base} + k x {model.stride} pixels at this depth")
    averaged.load_state_dict(model.state_dict())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Run(model, averaged, _optimizer(model, recipe))


# -- the step ------------------------------------------------------------------------------------------------


def step(run: Run, batch: TileBatch, recipe: Recipe, device: torch.device) -> float:
    """One step of the optimizer; returns the loss."""
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


def _mixed_precision(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return torch.autocast("cpu", torch.bfloat16) if bf16_pays() else nullcontext()


def _optimizer(model: UNet, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    kind = Muon if recipe.optimizer == "muon" else torch.optim.AdamW
    return kind(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)


def _learning_rate(recipe: Recipe, step: int) -> float:
    if not recipe.cosine:
        return recipe.learning_rate
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _average(averaged: UNet, model: UNet, decay: float) -> None:
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def batches(samples: list[Sample], recipe: Recipe, model: UNet, start: int) -> Generator[TileBatch, None, None]:
    """Batches from step `start` on. Each depends on the seed and its step alone; a thread draws them ahead."""
    # A larger image shows more, though not in proportion: its pixels are alike.
    chances = np.sqrt([sample.labels.size for sample in samples])
    chances /= chances.sum()
    ready: Queue[TileBatch | BaseException] = Queue(_PREFETCH)
    stop = threading.Event()

    def draw() -> None:
        try:
            for step in range(start, recipe.steps):
                picked = np.random.default_rng([recipe.seed, step]).choice(len(samples), recipe.batch, p=chances)
                batch = draw_batch(
                    samples, picked, recipe.tile, model.margin, recipe.augmentation, [recipe.seed, step, 1]
                )
                if stop.is_set():
                    return
                ready.put(batch)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=draw, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(start, recipe.steps):
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()  # one that still draws when the process ends takes it down with it


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
