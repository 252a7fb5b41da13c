"""The training, top to bottom: names, data, loop."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter as now
from typing import Any

import torch

from trainer.batches import batches
from trainer.data import add_weights
from trainer.deciding import decide, seconds_to_decide, usual
from trainer.description import UNDESCRIBED, ModelDescription
from trainer.device import find_device
from trainer.forecast import steps_of_answers
from trainer.keeper import Keeper
from trainer.pace import Pace
from trainer.parent import ParentModel
from trainer.pictures import compare_blocks, draw_curves, draw_validation
from trainer.places import Places
from trainer.plan import Plan
from trainer.predict import validate
from trainer.recipe import Recipe
from trainer.run import Run, start
from trainer.selection import Selection
from trainer.sets import AnnotatedSet, DataSet
from trainer.settings import changes, fingerprint_of, settings_of
from trainer.step import learning_rate, step
from trainer.told import NOBODY, State, Told, Trained
from trainer.unet import UNet
from trainer.weights import Files, load_weights, restore
from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.system.interrupt import held_interrupt


def train(
    data: DataSet | Sequence[DataSet],
    output: Path,
    recipe: Recipe | None = None,
    description: ModelDescription = UNDESCRIBED,
    *,
    evaluate_every: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    told: Told = NOBODY,
) -> Trained:
    """Train a U-Net on one data set or several, and write its best weights to `output` (.pt).

    recipe: by default the modern preset, or what fits the model that the description says to begin with.
    evaluate_every: steps between validations, or as much of the time where that is limited. resume: go on from the
    checkpoint that an earlier run of the same data and settings left; that gives what an uninterrupted run would have
    given. Rate, number of steps and limits may be others.
    Beside OUTPUT.pt stand OUTPUT.checkpoint.pt, .csv (the log), .curves.png and .validation.png.
    Raises DataError, UsageError; ResourceError for a full disk or memory, and when the network answers no numbers any
    more: what was good before is kept.
    """
    began, files, device = now(), Files(output), find_device()
    plan, saved = Plan.of(data, recipe, description, evaluate_every), None
    if resume:
        saved = plan.check_resumed(files, overwrite=overwrite)
        plan = plan.going_on(files)
    else:
        plan.check_new(files, overwrite=overwrite)
    recipe, description = plan.recipe, plan.description
    told.say(*description.notes)
    with _out_of_memory():
        annotated, selection = _read(plan, saved, device, told)
        run = start(recipe, len(annotated.images[0].image), len(description.classes), device)
        settings = settings_of(recipe, description, annotated)
        decision = usual(description.first_decision(recipe.diameter), annotated)
        keeper = Keeper(files, recipe, description, annotated, selection, settings, device, decision)
        if saved:
            told.say(*_check_same(files.checkpoint, saved, recipe, keeper))
            restore(files.checkpoint, saved, run)
            keeper.finish_last_save(run)
        keeper.check_room(run)
        expected = _expected(recipe, annotated, run)
        pace = Pace(recipe, plan.evaluate_every, selection, expected, seconds_to_decide(annotated), began)
        if told.log:
            told.log.begin(run.step)
        if description.parent and not saved:
            _begin_with(description.parent, run, keeper, pace, told)
        _learn(run, keeper, pace, told)
    best = load_weights(output)[0].to(device)
    told.say(_ended(run, pace), _tied(run, selection), _in_vain(run, description), _decide(run, best, keeper))
    draw_curves(files.curves, run.log)
    draw_validation(files.pictures, best, annotated.validation, device)
    return Trained(run.best, run.best_step, selection.can_choose)


# -- before the first step -------------------------------------------------------------------------------------------


def _read(plan: Plan, saved: dict[str, Any] | None, device: torch.device, told: Told) -> tuple[AnnotatedSet, Selection]:
    """Say how long a training will take, where somebody wants to know, and read all images."""
    found = plan.find()
    if told.forecast and (saved["step"] if saved else 0) < plan.recipe.steps:
        told.forecast(plan.foresee(found, device, saved))
    return plan.read(found, told)


def _expected(recipe: Recipe, data: AnnotatedSet, run: Run) -> float:
    """How many steps a validation is thought to take; counted only where time is limited."""
    if not recipe.max_minutes:
        return 0.0
    ports = len(data.images[0].image), run.model.head.out_channels
    return steps_of_answers(recipe, ports, [each.labels.shape for each in data.validation])


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


def _begin_with(parent: ParentModel, run: Run, keeper: Keeper, pace: Pace, told: Told) -> None:
    """Take the weights of another model as the first ones; where they are all, they are the first to be scored."""
    data, inherited = keeper.data, parent.inherit(run, keeper.description.classes)
    block = data.held_out if data.is_only_image else ""
    told.say(*inherited.notes, parent.has_seen([each.digest for each in data.validation], block))
    if not inherited.anew and keeper.selection.can_choose:
        _validate(run, keeper, pace, told)
        told.say(f"note: before the first step mean validation Dice is {run.best:.4f}")


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


def _learn(run: Run, keeper: Keeper, pace: Pace, told: Told) -> None:
    """Take the steps that are left; validate and save every so often, after the last one, and when interrupted."""
    samples = add_weights(keeper.data.training, len(keeper.description.classes), keeper.recipe)
    places = Places(samples, keeper.recipe, run.model.margin)
    told.say(places.note(keeper.description.classes))
    pace.begin(run)
    with held_interrupt() as interrupted, closing(_steps(run, places, keeper, pace)) as losses:
        for loss in losses:
            if pace.is_due(run):
                _validate(run, keeper, pace, told)
            _tell(run, keeper, pace, told, loss)
            if interrupted():
                keeper.keep(run)
                raise KeyboardInterrupt
    if run.losses:  # of a run that goes on when its time is over already
        _validate(run, keeper, pace, told)


def _tell(run: Run, keeper: Keeper, pace: Pace, told: Told, loss: float) -> None:
    """Say where a run stands."""
    rate = learning_rate(keeper.recipe, run.position(keeper.recipe))
    state = State(run.step, pace.steps(run), pace.left(run), loss, rate, run.score, len(run.log))
    if told.progress:
        told.progress(state)
    if told.log:
        told.log.stepped(state)


def _validate(run: Run, keeper: Keeper, pace: Pace, told: Told) -> None:
    """Score the running mean of the weights, log it, keep it where it is the best so far, and save."""
    with pace.looking(run):
        score = validate(run.averaged, keeper.data.validation, keeper.selection.scored, keeper.device)
        pictures = compare_blocks(run.averaged, keeper.data.validation, keeper.device) if told.log else {}
    if math.isnan(score):
        raise keeper.lost("the network's answer", run.step)
    mean = sum(run.losses) / len(run.losses) if run.losses else math.nan  # before the first step
    run.log.append({"step": run.step, "loss": mean, "score": score, "seconds": run.seconds})
    run.losses.clear()
    if told.log:
        told.log.looked(run.step, score, pictures)
    if keeper.selection.better(score, run.to_beat):
        run.keep_best(score)
    keeper.keep_all(run)


def _steps(run: Run, places: Places, keeper: Keeper, pace: Pace) -> Generator[float, None, None]:
    """Take the steps that are left, one at least of a new run, and yield the loss of each.

    Raises ResourceError when that is no number.
    """
    if run.step and pace.is_over(run):
        return
    with closing(batches(places, run.step, keeper.device)) as drawn:
        for batch in drawn:
            loss = step(run, batch, keeper.recipe, keeper.device)
            if not math.isfinite(loss):
                raise keeper.lost("the loss", run.step)
            run.losses.append(loss)
            pace.tick(run)
            yield loss
            if pace.is_over(run):
                return


def _ended(run: Run, pace: Pace) -> str | None:
    """Say why a training took fewer steps than it might have, where it did."""
    if run.step >= pace.recipe.steps:
        return None
    if pace.is_in_vain(run):
        last = "validation" if run.stale == 1 else f"{run.stale} validations"
        return f"note: ended at step {run.step}: no score of the last {last} was better"
    return f"note: ended at step {run.step}, when --max-minutes {pace.recipe.max_minutes:g} were over"


def _decide(run: Run, best: UNet, keeper: Keeper) -> str | None:
    """Choose how the answer of the best weights becomes objects, and keep it with them; returns what a person reads."""
    if not keeper.data.numbers_objects:
        return None
    inherited = keeper.decision == keeper.description.first_decision(keeper.recipe.diameter)
    before = "as its parent decides" if inherited else "as usual"
    found = decide(best, keeper.data, keeper.decision, keeper.device)
    if isinstance(found, str):
        return f"note: {found}: objects are made {before}, with {keeper.decision.words}"
    keeper.decision = found.decision
    keeper.write_weights(run)
    return (
        f"note: objects of what is held back: F1 over IoU 0.5 to 0.9 {found.after:.3f} ({found.before:.3f} {before}), "
        f"with {found.decision.words}"
    )


def _tied(run: Run, selection: Selection) -> str | None:
    """Say that no validation was better than another, where that is so."""
    scores = {row["score"] for row in run.log}
    if len(run.log) < 2 or len(scores) > 1 or not selection.can_choose:
        return None
    return f"note: all {len(run.log)} validations scored {run.best:.4f}, so the last weights are kept"


def _in_vain(run: Run, description: ModelDescription) -> str | None:
    """Say that no step made a model better than the one that it began with, where that is so."""
    if not description.parent or run.best_step:
        return None
    return f"note: no step was better than model {description.parent.card.name!r} as it is, whose weights are kept"
