"""The training, top to bottom: names, data, loop."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from trainer.batches import batches
from trainer.data import Sample, add_weights
from trainer.device import find_device
from trainer.forecast import foresee
from trainer.keeper import Keeper
from trainer.pictures import draw_curves, draw_validation
from trainer.predict import validate
from trainer.recipe import PRESETS, UNDESCRIBED, ModelDescription, Recipe
from trainer.run import Run, check_memory, check_tile, start
from trainer.selection import Selection, selection_of
from trainer.sets import AnnotatedSet, DataSet, extent_of, read_sets
from trainer.settings import changes, fingerprint_of, settings_of
from trainer.step import step
from trainer.told import NOBODY, State, Told, Trained
from trainer.weights import Files, load_checkpoint, load_weights, restore, words_of
from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.evaluation.pairs import check_no_data
from unet_deploy.system.interrupt import held_interrupt


def train(
    data: DataSet | Sequence[DataSet],
    output: Path,
    recipe: Recipe = PRESETS["modern"],
    description: ModelDescription = UNDESCRIBED,
    *,
    evaluate_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    told: Told = NOBODY,
) -> Trained:
    """Train a U-Net on one data set or several, and write its best weights to `output` (.pt).

    evaluate_every: steps between validations. resume: go on from the checkpoint that an earlier run of the same data
    and settings left; that gives what an uninterrupted run would have given. Rate and number of steps may be others.
    Beside OUTPUT.pt stand OUTPUT.checkpoint.pt, .csv (the log), .curves.png and .validation.png.
    Raises DataError, UsageError; ResourceError for a full disk or memory, and when the network answers no numbers any
    more: what was good before is kept.
    """
    files, device = Files(output), find_device()
    sets = [data] if isinstance(data, DataSet) else list(data)
    saved = _begin(files, recipe, resume=resume, overwrite=overwrite)
    for each in sets:
        check_no_data(files.all, each.path, each.masks)
    if saved:
        description = description.going_on(words_of(output))
    with _out_of_memory():
        first = saved["step"] if saved else 0
        if told.forecast and first < recipe.steps:
            pace, extent = (first, evaluate_every), extent_of(sets)
            told.forecast(foresee(recipe, len(description.classes), extent, pace, device))
        annotated = read_sets(sets, description, recipe.diameter)
        selection = selection_of(annotated.validation, description.classes)
        told.say(*annotated.notes, annotated.note, selection.note)
        run = start(recipe, len(annotated.images[0].image), len(description.classes), device)
        settings = settings_of(recipe, description, annotated)
        keeper = Keeper(files, recipe, description, annotated, selection, settings, device)
        if saved:
            told.say(*_check_same(files.checkpoint, saved, recipe, keeper))
            restore(files.checkpoint, saved, run)
            keeper.finish_last_save(run)
        keeper.check_room(run)
        _learn(run, keeper, evaluate_every, told)
    best, _ = load_weights(output)
    draw_curves(files.curves, run.log)
    draw_validation(files.pictures, best.to(device), annotated.validation, device)
    told.say(_tied(run, selection))
    return Trained(run.best, run.best_step, selection.can_choose)


# -- before the first step -------------------------------------------------------------------------------------------


def _begin(files: Files, recipe: Recipe, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Look at tile, memory and what has the names of a run's files; returns the checkpoint to go on from.

    Raises UsageError and ResourceError.
    """
    check_tile(recipe)
    check_memory(recipe)
    if not resume:
        files.check_new(overwrite=overwrite)
        return None
    files.check_resumed(overwrite=overwrite)
    saved = load_checkpoint(files.checkpoint)
    if saved.get("step", 0) > recipe.steps:
        raise UsageError(
            f"{files.checkpoint}: has taken {saved['step']} steps already; --steps {recipe.steps} is fewer"
        )
    return saved


def _check_same(checkpoint: Path, saved: dict[str, Any], recipe: Recipe, keeper: Keeper) -> list[str]:
    """Compare a checkpoint with what is asked for; returns what differs and may. Raises UsageError for the rest."""
    if "settings" in saved:
        return changes(checkpoint, saved["settings"], keeper.settings)
    if saved.get("fingerprint") != fingerprint_of(recipe, keeper.description, keeper.data):
        raise UsageError(
            f"{checkpoint}: was made with other settings or data; resume with the same, or start anew with --overwrite "
            "in place of --resume"
        )
    return []


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """Say of memory that cannot be had what would take less."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _less_memory() from error
    except RuntimeError as error:
        if "allocate memory" in str(error) or "overflow" in str(error):  # PyTorch's words on a processor
            raise _less_memory() from error
        raise


def _less_memory() -> ResourceError:
    return ResourceError("out of memory; take a smaller --width, --batch-size or --tile-size")


# -- the loop --------------------------------------------------------------------------------------------------------


def _learn(run: Run, keeper: Keeper, evaluate_every: int, told: Told) -> None:
    """Take the steps that are left; validate and save every so often, after the last one, and when interrupted."""
    recipe, data = keeper.recipe, keeper.data
    samples = add_weights(data.training, len(keeper.description.classes), recipe)
    with held_interrupt() as interrupted, closing(_steps(run, samples, keeper)) as losses:
        for loss in losses:
            if run.step % evaluate_every == 0 or run.step == recipe.steps:
                _validate(run, data, keeper)
                keeper.keep_all(run)
            if told.progress:
                told.progress(State(run.step, recipe.steps, loss, run.score, len(run.log)))
            if interrupted():
                keeper.keep(run)
                raise KeyboardInterrupt


def _validate(run: Run, data: AnnotatedSet, keeper: Keeper) -> None:
    """Score the running mean of the weights, log it, and keep it where it is the best so far."""
    score = validate(run.averaged, data.validation, keeper.selection.scored, keeper.device)
    if math.isnan(score):
        raise keeper.lost("the network's answer", run.step)
    mean = sum(run.losses) / len(run.losses)
    run.log.append({"step": run.step, "loss": mean, "score": score, "seconds": run.seconds})
    run.losses.clear()
    if keeper.selection.better(score, run.best):
        run.keep_best(score)


def _steps(run: Run, samples: Sequence[Sample], keeper: Keeper) -> Generator[float, None, None]:
    """Take the steps that are left, and yield the loss of each. Raises ResourceError when that is no number."""
    started = time.perf_counter() - run.seconds
    with closing(batches(samples, keeper.recipe, run.model.margin, run.step)) as drawn:
        for batch in drawn:
            loss = step(run, batch, keeper.recipe, keeper.device)
            if not math.isfinite(loss):
                raise keeper.lost("the loss", run.step)
            run.losses.append(loss)
            run.seconds = time.perf_counter() - started
            yield loss


def _tied(run: Run, selection: Selection) -> str | None:
    """Say that no validation was better than another, where that is so."""
    scores = {row["score"] for row in run.log}
    if len(run.log) < 2 or len(scores) > 1 or not selection.can_choose:
        return None
    return f"note: all {len(run.log)} validations scored {run.best:.4f}, so the last weights are kept"
