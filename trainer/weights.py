"""What a training leaves on disk: weights, the checkpoint to resume from, and the log."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data import Annotated
from trainer.recipe import About, Recipe
from trainer.unet import UNet
from unet_deploy.errors import DataError, ModelError, UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.system.files import replacing
from unet_deploy.tiling import plan_tiles

FORMAT = 1

SCORE = "mean Dice, validation"
"""What the best weights are chosen by, as the card calls it."""


@dataclass
class Run:
    """What changes while training."""

    model: UNet
    averaged: UNet
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last validation."""
    log: list[dict[str, float]] = field(default_factory=list)


class Files:
    """What stands beside the weights."""

    def __init__(self, output: Path) -> None:
        stem = output.with_suffix("")
        self.checkpoint = stem.with_name(f"{stem.name}.checkpoint.pt")
        self.log = stem.with_name(f"{stem.name}.csv")
        self.curves = stem.with_name(f"{stem.name}.curves.png")
        self.pictures = stem.with_name(f"{stem.name}.validation.png")


def fingerprint_of(recipe: Recipe, about: About, annotated: Sequence[Annotated], validation: str) -> str:
    """What must not change between a run and its resumption: settings, pixels and labels. The learning rate may."""
    fixed = asdict(replace(recipe, learning_rate=0.0))
    settings = [fixed, about.classes, asdict(about.normalization), [each.name for each in annotated], validation]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for each in annotated:
        for pixels in (each.image, each.labels, each.objects):
            digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, run: Run, fingerprint: str) -> None:
    """Everything that the rest of the training depends on."""
    state = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "model": run.model.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "best": run.best,
        "best_step": run.best_step,
        "seconds": run.seconds,
        "losses": run.losses,
        "log": run.log,
    }
    with replacing(path, overwrite=True) as beside:
        torch.save(state, beside)


def load_checkpoint(path: Path, run: Run, fingerprint: str) -> None:
    """Put a run back where its checkpoint stands. Raises UsageError when settings or data have changed."""
    state = _load(path, "checkpoint")
    if state.get("fingerprint") != fingerprint:
        raise UsageError(
            f"{path}: was made with other settings or data; resume with the same, or start with --overwrite"
        )
    run.model.load_state_dict(state["model"])
    run.averaged.load_state_dict(state["averaged"])
    run.optimizer.load_state_dict(state["optimizer"])
    for key in ("step", "best", "best_step", "seconds", "losses", "log"):
        setattr(run, key, state[key])


def save_weights(path: Path, run: Run, recipe: Recipe, about: About, split: str, judges: Sequence[Annotated]) -> None:
    """Averaged weights, the architecture, what the card needs, and a few real tiles to check an export on.

    split: what was held back, for people.
    """
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
        "split": split,
        "metrics": {SCORE: run.best, "steps": float(run.best_step)},
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


def write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """One row for each validation, as CSV."""
    with replacing(path, overwrite=True) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss", "score", "seconds"])
        writer.writeheader()
        writer.writerows(rows)
