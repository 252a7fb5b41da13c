"""What a training leaves on disk: weights, the checkpoint to resume from, and the log."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data import AnnotatedSet
from trainer.recipe import ModelDescription, Recipe
from trainer.run import Run
from trainer.unet import UNet
from trainer.weights_fields import check_fields, network_of
from unet_deploy.errors import DataError, ModelError, UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.system.files import replacing
from unet_deploy.tiling import plan_tiles

FORMAT = 1

SCORE = "mean Dice, validation"
"""What the best weights are chosen by, as the card calls it."""


@dataclass(frozen=True)
class Files:
    """What stands beside the weights."""

    output: Path
    """The weights, .pt."""

    @property
    def checkpoint(self) -> Path:
        """What to resume from."""
        return self._beside("checkpoint.pt")

    @property
    def log(self) -> Path:
        """One row for each validation, as CSV."""
        return self._beside("csv")

    @property
    def curves(self) -> Path:
        """A picture of loss and score over steps."""
        return self._beside("curves.png")

    @property
    def pictures(self) -> Path:
        """Validation images with their outlines."""
        return self._beside("validation.png")

    @property
    def all(self) -> tuple[Path, ...]:
        """All that a training may write."""
        return self.output, self.checkpoint, self.log, self.curves, self.pictures

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(f"{self.output.stem}.{suffix}")


def fingerprint_of(recipe: Recipe, description: ModelDescription, data: AnnotatedSet) -> str:
    """Hash what must not change between a run and its resumption: settings, pixels and labels.

    The learning rate may change.
    """
    fixed = asdict(replace(recipe, learning_rate=0.0))
    names = [each.name for each in data.images]
    settings = [fixed, description.classes, asdict(description.normalization), names, data.rule]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for each in data.images:
        for pixels in (each.image, each.labels, each.objects):
            digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, run: Run, fingerprint: str) -> None:
    """Write everything that the rest of the training depends on."""
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


def save_weights(path: Path, run: Run, recipe: Recipe, description: ModelDescription, data: AnnotatedSet) -> None:
    """Write the averaged weights, the architecture, what the card needs, and real tiles to check an export on.

    The tiles are of the first three images for validation.
    """
    side = run.model.base + 2 * run.model.stride
    read = plan_tiles(side, side, run.model, tile=10 * side)[0].read
    examples = [torch.from_numpy(ArraySource(each.image).read(0, read).copy()) for each in data.validation[:3]]
    state = {
        "format": FORMAT,
        "state": {name: value.cpu() for name, value in run.averaged.state_dict().items()},
        "architecture": {
            "channels": len(data.validation[0].image),
            "classes": len(description.classes),
            "width": recipe.width,
            "depth": recipe.depth,
            "dropout": recipe.dropout,
        },
        "about": {**asdict(description), "classes": list(description.classes)},
        "recipe": asdict(recipe),
        "split": data.held_out,
        "metrics": {SCORE: run.best, "steps": float(run.best_step)},
        "examples": examples,
    }
    with replacing(path, overwrite=True) as beside:
        torch.save(state, beside)


def load_weights(path: Path) -> tuple[UNet, dict[str, Any]]:
    """Read the network of a weights file, on the CPU, and all else the file holds. Raises DataError and ModelError."""
    state = _load(path, "weights")
    check_fields(state, path)
    return network_of(state, path), state


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
    """Write one row for each validation, as CSV."""
    with replacing(path, overwrite=True) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss", "score", "seconds"])
        writer.writeheader()
        writer.writerows(rows)
