"""What a training leaves on disk: weights, the checkpoint to resume from, and the log."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.description import WORDS, ModelDescription
from trainer.recipe import Recipe
from trainer.run import Run
from trainer.selection import Selection
from trainer.sets import AnnotatedSet
from trainer.unet import UNet
from trainer.weights_fields import check_fields, network_of
from unet_deploy.errors import DataError, ModelError, UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.model.decision import Decision
from unet_deploy.system.files import check_ends, check_free, replacing
from unet_deploy.tiling import plan_tiles

FORMAT = 1

SCORE = "mean Dice, validation"
"""What the best weights are chosen by, as the card calls it."""


_COLUMNS = ("step", "loss", "score", "seconds")

MAKER = "unet-deploy train"
"""What a picture says of itself, so that a run that goes on knows it from one of the user's."""


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
        return self.output, self.checkpoint, *self._side

    def check_new(self, *, overwrite: bool) -> None:
        """Raise UsageError where a new run would take the place of any file, finished or not."""
        check_ends(self.output, "weights", (".pt",))  # what stands beside them has other suffixes
        if self.checkpoint.exists() and not self.output.exists() and not overwrite:
            raise UsageError(f"{self.checkpoint} exists; pass --resume to go on with it, or --overwrite to start anew")
        for path in self.all:
            check_free(path, overwrite=overwrite)

    def check_resumed(self, *, overwrite: bool) -> None:
        """Raise UsageError where a run that goes on would take the place of what no training made."""
        check_ends(self.output, "weights", (".pt",))
        for path in (self.output, *self._side):
            check_free(path, overwrite=overwrite or self._is_ours(path))

    @property
    def _side(self) -> tuple[Path, ...]:
        return self.log, self.curves, self.pictures

    def _is_ours(self, path: Path) -> bool:
        """Whether what has a name, if anything has, is what a training makes under it."""
        if not path.is_file():
            return not path.exists()
        if path == self.output:
            with suppress(ModelError):
                return bool(_load(path, "weights"))
            return False
        with path.open("rb") as file:
            head = file.read(1024)
        return head.startswith(",".join(_COLUMNS).encode()) if path == self.log else MAKER.encode() in head

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(f"{self.output.stem}.{suffix}")


def save_checkpoint(path: Path, run: Run, settings: dict[str, Any]) -> None:
    """Write everything that the rest of the training depends on, and the best weights so far."""
    state = {
        "format": FORMAT,
        "settings": settings,
        "model": run.model.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best_weights": run.best_weights,
        "step": run.step,
        "best": run.best,
        "best_step": run.best_step,
        "seconds": run.seconds,
        "prepared": run.prepared,
        "losses": run.losses,
        "log": run.log,
    }
    _save(path, state)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, for `restore`. Raises DataError and ModelError."""
    return _load(path, "checkpoint")


def restore(path: Path, saved: dict[str, Any], run: Run) -> None:
    """Put a run back where its checkpoint stands. Raises ModelError for one that is not whole."""
    try:
        run.model.load_state_dict(saved["model"])
        run.averaged.load_state_dict(saved["averaged"])
        run.optimizer.load_state_dict(saved["optimizer"])
        for key in ("step", "best", "best_step", "seconds", "losses", "log"):
            setattr(run, key, saved[key])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: holds no run of this trainer; start anew with --overwrite in place of --resume"
        ) from error
    run.prepared = saved.get("prepared", 0.0)
    run.best_weights = saved.get("best_weights")  # version 0.1 kept them in the weights file alone


def save_weights(
    path: Path,
    run: Run,
    recipe: Recipe,
    description: ModelDescription,
    data: AnnotatedSet,
    selection: Selection,
    decision: Decision,
) -> None:
    """Write the best weights, the architecture, what the card needs, and real tiles to check an export on.

    The tiles are of the first three images for validation.
    """
    side = run.model.base + 2 * run.model.stride
    read = plan_tiles(side, side, run.model, tile=10 * side)[0].read
    examples = [torch.from_numpy(ArraySource(each.image).read(0, read).copy()) for each in data.validation[:3]]
    state = {
        "format": FORMAT,
        "state": run.best_weights,
        "architecture": {
            "channels": len(data.validation[0].image),
            "classes": len(description.classes),
            "width": recipe.width,
            "depth": recipe.depth,
            "dropout": recipe.dropout,
        },
        "about": description.plain,
        "recipe": asdict(recipe),
        "split": data.held_out,
        "training_images": sorted({each.digest for each in data.training}.union(description.seen)),
        "mask_kind": data.code.kind,
        "mask_values": list(data.code.values),
        "metrics": {**({SCORE: run.best} if selection.can_choose else {}), "steps": float(run.best_step)},
        "examples": examples,
        "decision": asdict(decision),
        **_of_parent(description),
    }
    _save(path, state)


def _of_parent(description: ModelDescription) -> dict[str, Any]:
    """Which model they began with; nothing where they began with none."""
    return {"parent": asdict(description.parent.origin)} if description.parent else {}


def steps_of(path: Path) -> int | None:
    """After how many steps the weights of a file were kept; None where it is not there. Raises ModelError."""
    return int(_load(path, "weights")["metrics"]["steps"]) if path.exists() else None


def words_of(path: Path) -> dict[str, Any]:
    """What a file of weights says for the card and training cannot know; nothing where it is not there."""
    about = _load(path, "weights").get("about", {}) if path.exists() else {}
    return {name: about[name] for name in WORDS if name in about}


def load_weights(path: Path) -> tuple[UNet, dict[str, Any]]:
    """Read the network of a weights file, on the CPU, and all else the file holds. Raises DataError and ModelError."""
    state = _load(path, "weights")
    check_fields(state, path)
    return network_of(state, path), state


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write a file of PyTorch's, by way of memory: of a full disk its own writer says no more than that it failed."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(path, overwrite=True) as beside:
        beside.write_bytes(buffer.getbuffer())


def _load(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such {what} file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how old a file's pickles are; what matters is an error
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: is no {what} file of this trainer; make one with: unet-deploy train") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ModelError(f"{path}: is no {what} file of this version of the trainer")
    return state


def write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write one row for each validation, as CSV."""
    with replacing(path, overwrite=True) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
