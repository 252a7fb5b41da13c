"""The training loop, top to bottom, and the files it leaves: weights, checkpoint, log, pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Queue
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainer.augment import Augmentation, TileBatch, draw_batch
from trainer.data import Annotated, MaskKind, Sample, add_weights, find_pairs, read_annotated, split
from trainer.metrics import dice
from trainer.unet import UNet
from unet_deploy.card import Normalization
from unet_deploy.errors import DataError, ModelError, ResourceError, UsageError
from unet_deploy.files import check_free, replacing
from unet_deploy.images.array import ArraySource
from unet_deploy.machine import usable_cores
from unet_deploy.segmentation import DEFAULT_TILE
from unet_deploy.tiling import plan_tiles

FORMAT = 1
_PREFETCH = 3


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives, data apart."""

    width: int = 64
    depth: int = 4
    dropout: float = 0.1
    tile: int = 444
    batch: int = 2
    steps: int = 6000
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.99
    weight_decay: float = 1e-4
    warmup: int = 200
    w0: float = 10.0
    sigma: float = 5.0
    balance: float = 0.5
    average: float = 0.999
    """Decay of the running mean of the weights, which is what is evaluated and kept; 0 keeps the weights."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    @property
    def cosine(self) -> bool:
        return self.optimizer == "adamw"


PRESETS = {
    "modern": Recipe(),
    # Section 3: stochastic gradient descent, momentum 0.99, one large tile a step, classes balanced.
    "paper": Recipe(
        dropout=0.5,
        tile=572,
        batch=1,
        optimizer="sgd",
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0,
        balance=1.0,
        average=0.0,
        augmentation=Augmentation(scale=0.0, noise=0.0, blur=0.0),
    ),
}


def tailored(preset: Recipe, **changes: float | None) -> Recipe:
    """A preset with some of its values changed; None keeps the preset's."""
    chosen: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    return replace(preset, **chosen)


@dataclass(frozen=True)
class About:
    """What the model card will say and training cannot know."""

    classes: tuple[str, ...] = ("background", "foreground")
    normalization: Normalization = field(default_factory=Normalization)
    pixel_size_um: float | None = None
    trained_on: str = ""
    license: str = ""
    command: str = ""


@dataclass(frozen=True)
class State:
    """Where a training stands, for a progress bar."""

    step: int
    steps: int
    loss: float
    score: float | None
    """The latest validation score: mean Dice of the classes but background."""


@dataclass
class _Run:
    """What changes while training."""

    model: UNet
    averaged: UNet
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def train(
    data: Path,
    output: Path,
    *,
    masks: Path | None = None,
    recipe: Recipe = PRESETS["modern"],
    about: About = About(),
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
    files = _Files(output)
    if not resume:
        check_free(output, overwrite=overwrite)
        if files.checkpoint.exists() and not overwrite:
            raise UsageError(f"{files.checkpoint} exists; pass --resume to go on with it, or --overwrite to start anew")
    pairs = find_pairs(data, masks)
    kept, held = split([pair.name for pair in pairs], validation)
    annotated = read_annotated(pairs, about.classes, about.normalization, mask_kind)
    classes = len(about.classes)
    training = add_weights(
        [annotated[index] for index in kept], classes, w0=recipe.w0, sigma=recipe.sigma, balance=recipe.balance
    )
    judges = [annotated[index] for index in held]

    torch.set_num_threads(usable_cores())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    channels = training[0].image.shape[0]
    model = UNet(channels, classes, recipe.width, recipe.depth, recipe.dropout)
    model = model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if (recipe.tile - model.base) % model.stride or recipe.tile <= 2 * model.margin:
        raise UsageError(f"--tile-size {recipe.tile}: sides are {model.base} + k x {model.stride} pixels at this depth")
    averaged = UNet(channels, classes, recipe.width, recipe.depth, recipe.dropout).to(device)
    averaged.load_state_dict(model.state_dict())
    run = _Run(model, averaged, _optimizer(model, recipe))
    fingerprint = _fingerprint(recipe, about.classes, [pair.name for pair in pairs], validation)
    if resume:
        _load_checkpoint(files.checkpoint, run, fingerprint)

    def keep_checkpoint() -> None:
        _save_checkpoint(files.checkpoint, run, fingerprint)

    score = run.log[-1]["score"] if run.log else None
    losses: list[float] = []
    started = time.perf_counter()
    try:
        for batch in _batches(training, recipe, model, run.step):
            loss = _step(run, batch, recipe, device)
            if not math.isfinite(loss):
                raise ResourceError(
                    f"the loss is no number at step {run.step}; the last checkpoint is kept: "
                    "go on with --resume at a lower --learning-rate"
                )
            losses.append(loss)
            if run.step % evaluate_every == 0 or run.step == recipe.steps:
                score = validate(run.averaged, judges, classes, device)
                row = {"step": run.step, "loss": sum(losses) / len(losses), "score": score, "seconds": 0.0}
                row["seconds"] = time.perf_counter() - started
                run.log.append(row)
                losses.clear()
                if score > run.best:
                    run.best, run.best_step = score, run.step
                    _save_weights(output, run, recipe, about, validation, judges)
                keep_checkpoint()
                _write_log(files.log, run.log)
            if progress:
                progress(State(run.step, recipe.steps, loss, score))
    except KeyboardInterrupt:
        keep_checkpoint()
        raise
    best, _ = load_weights(output)
    draw_curves(files.curves, run.log)
    draw_validation(files.pictures, best.to(device), judges, device)
    return run.best


# -- the step ------------------------------------------------------------------------------------------------


def _step(run: _Run, batch: TileBatch, recipe: Recipe, device: torch.device) -> float:
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
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    _average(run.averaged, run.model, min(recipe.average, run.step / (run.step + 10)) if recipe.average else 0.0)
    return float(loss.detach())


def _mixed_precision(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return torch.autocast("cpu", torch.bfloat16) if _bf16_pays() else nullcontext()


def _bf16_pays() -> bool:
    """bfloat16 is faster only where the processor multiplies it itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _optimizer(model: UNet, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)


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


def _batches(samples: list[Sample], recipe: Recipe, model: UNet, start: int) -> Iterator[TileBatch]:
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

    threading.Thread(target=draw, name="batches", daemon=True).start()
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


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


# -- validation ----------------------------------------------------------------------------------------------


@torch.no_grad()
def predict(model: UNet, image: np.ndarray, device: torch.device) -> Tensor:
    """Logits (K, H, W) of a normalised image (C, H, W), tiled and mirrored as in `unet-deploy segment`."""
    model.eval()
    source = ArraySource(image)
    _, height, width = image.shape
    out: Tensor | None = None
    for tile in plan_tiles(height, width, model, tile=DEFAULT_TILE):
        pixels = torch.from_numpy(np.ascontiguousarray(source.read(0, tile.read)))[None].to(device)
        logits = model(pixels)[0, :, : tile.write.height, : tile.write.width].float()
        if out is None:
            out = logits.new_empty((len(logits), height, width))
        out[(slice(None), *tile.write.slices)] = logits
    assert out is not None
    return out


def validate(model: UNet, judges: Sequence[Annotated], classes: int, device: torch.device) -> float:
    """Mean over images of the mean Dice of all classes but background that occur in truth or prediction."""
    scores = []
    for each in judges:
        labels = predict(model, each.image, device).argmax(0).cpu().numpy()
        present = [k for k in range(1, classes) if (labels == k).any() or (each.labels == k).any()]
        scores.append(sum(dice(labels == k, each.labels == k) for k in present) / len(present) if present else 1.0)
    return sum(scores) / len(scores)


# -- files ---------------------------------------------------------------------------------------------------


class _Files:
    """What stands beside the weights."""

    def __init__(self, output: Path) -> None:
        stem = output.with_suffix("")
        self.checkpoint = stem.with_name(f"{stem.name}.checkpoint.pt")
        self.log = stem.with_name(f"{stem.name}.csv")
        self.curves = stem.with_name(f"{stem.name}.curves.png")
        self.pictures = stem.with_name(f"{stem.name}.validation.png")


def _fingerprint(recipe: Recipe, classes: Sequence[str], names: Sequence[str], validation: str) -> str:
    """What must not change between a run and its resumption. A lower learning rate may."""
    fixed = asdict(replace(recipe, learning_rate=0.0))
    text = json.dumps([fixed, list(classes), list(names), validation], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _save_checkpoint(path: Path, run: _Run, fingerprint: str) -> None:
    state = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "model": run.model.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "best": run.best,
        "best_step": run.best_step,
        "log": run.log,
    }
    with replacing(path, overwrite=True) as beside:
        torch.save(state, beside)


def _load_checkpoint(path: Path, run: _Run, fingerprint: str) -> None:
    state = _load(path, "checkpoint")
    if state.get("fingerprint") != fingerprint:
        raise UsageError(
            f"{path}: was made with other settings or data; resume with the same, or start with --overwrite"
        )
    run.model.load_state_dict(state["model"])
    run.averaged.load_state_dict(state["averaged"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.best, run.best_step, run.log = (state[key] for key in ("step", "best", "best_step", "log"))


def _save_weights(
    path: Path, run: _Run, recipe: Recipe, about: About, validation: str, judges: Sequence[Annotated]
) -> None:
    """Averaged weights, the architecture, what the card needs, and a few real tiles to check an export on."""
    side = run.model.base + 2 * run.model.stride
    examples = []
    for each in judges[:3]:
        read = plan_tiles(side, side, run.model, tile=10 * side)[0].read
        examples.append(torch.from_numpy(ArraySource(each.image).read(0, read).copy()))
    state = {
        "format": FORMAT,
        "state": {name: value.cpu() for name, value in run.averaged.state_dict().items()},
        "architecture": {
            "channels": int(judges[0].image.shape[0]),
            "classes": len(about.classes),
            "width": recipe.width,
            "depth": recipe.depth,
            "dropout": recipe.dropout,
        },
        "about": {**asdict(about), "classes": list(about.classes)},
        "recipe": asdict(recipe),
        "metrics": {f"mean Dice, validation {validation}": run.best, "steps": float(run.best_step)},
        "examples": examples,
    }
    with replacing(path, overwrite=True) as beside:
        torch.save(state, beside)


def load_weights(path: Path) -> tuple[UNet, dict[str, Any]]:
    """The network of a weights file, on the CPU, and all else the file holds. Raises ModelError."""
    state = _load(path, "weights")
    try:
        model = UNet(**state["architecture"])
        model.load_state_dict(state["state"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path}: holds no weights of this trainer; make them with: unet-deploy train") from error
    return model.eval(), state


def _load(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such {what} file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: is no {what} file of this trainer") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ModelError(f"{path}: is no {what} file of this version of the trainer")
    return state


def _write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    with replacing(path, overwrite=True) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss", "score", "seconds"])
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(path: Path, log: Sequence[dict[str, float]]) -> None:
    """Loss and validation score over steps, as a PNG."""
    figure, (axis,) = _figure(7, 4)
    steps = [row["step"] for row in log]
    axis.plot(steps, [row["loss"] for row in log], color="#0072B2", label="training loss")
    axis.set_xlabel("step")
    axis.set_ylabel("weighted cross-entropy")
    other = axis.twinx()
    other.plot(steps, [row["score"] for row in log], color="#D55E00", label="validation Dice")
    other.set_ylabel("mean Dice")
    figure.legend(loc="upper center", ncols=2, frameon=False)
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=120)


def draw_validation(path: Path, model: UNet, judges: Sequence[Annotated], device: torch.device) -> None:
    """Up to nine validation images with the outlines of truth and prediction, as a PNG."""
    picked = [judges[round(at)] for at in np.linspace(0, len(judges) - 1, min(9, len(judges)))]
    columns = math.ceil(math.sqrt(len(picked)))
    figure, axes = _figure(4 * columns, 4 * math.ceil(len(picked) / columns), len(picked), columns)
    for axis, each in zip(axes, picked, strict=True):
        labels = predict(model, each.image, device).argmax(0).cpu().numpy()
        axis.imshow(each.image[0], cmap="gray", vmin=0, vmax=1)
        for truth, colour in ((each.labels, "#56B4E9"), (labels, "#E69F00")):
            if truth.any():
                axis.contour(truth > 0, [0.5], colors=colour, linewidths=0.8)
        axis.set_title(f"{each.name}: Dice {dice(labels > 0, each.labels > 0):.3f}", fontsize=8)
        axis.set_axis_off()
    figure.suptitle("truth blue, prediction orange", fontsize=9)
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=100)


def _figure(width: float, height: float, count: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A Matplotlib figure without a window, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(math.ceil(count / columns), columns, at + 1) for at in range(count)]
    return figure, axes
