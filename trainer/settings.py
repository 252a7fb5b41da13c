"""What a run was asked for, as its checkpoint keeps it, and what of it another run may change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data import Annotated
from trainer.description import ModelDescription
from trainer.recipe import OPTIONS, Recipe
from trainer.sets import AnnotatedSet
from unet_deploy.errors import UsageError
from unet_deploy.system.machine import bf16_pays

_OF_THE_RATE = ("steps", "learning_rate", "max_minutes")
MAY_CHANGE = (*_OF_THE_RATE, "patience")
"""Fields of a recipe that a run may go on with others of; what it has learned is of use under them too."""


def settings_of(recipe: Recipe, description: ModelDescription, data: AnnotatedSet) -> dict[str, Any]:
    """What decides the weights, in plain values: for a checkpoint, and to compare with one."""
    return {
        "recipe": asdict(recipe),
        "classes": list(description.classes),
        "normalization": asdict(description.normalization),
        **_of_parent(description),
        "validation": data.rule,
        "shares": {each.name: each.share for each in data.training},
        "images": {each.name: _digest(each) for each in data.images},
        "machine": {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            "cores": torch.get_num_threads(),
            "bfloat16": bf16_pays(),
            "PyTorch": str(torch.__version__),
        },
    }


def _of_parent(description: ModelDescription) -> dict[str, str]:
    """Which model a run begins with; nothing where it begins with none."""
    return {"parent": description.parent.origin.sha256} if description.parent else {}


def check_parent(checkpoint: Path, then: Mapping[str, Any], description: ModelDescription) -> None:
    """Raise UsageError where a run did not begin with the model that it is to go on with, or with none.

    then: the settings of its checkpoint; empty of version 0.1, whose runs began with none.
    """
    was, is_ = (
        f"a model of SHA-256 {each['parent'][:12]}" if "parent" in each else "not given"
        for each in (then, _of_parent(description))
    )
    if was != is_:
        raise UsageError(
            f"{checkpoint}: --from was {was}, is {is_}; "
            "resume with what it was made with, or start anew with --overwrite in place of --resume"
        )


def changes(checkpoint: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare the settings of a checkpoint with those of the run that goes on from it.

    Returns what differs and may, in lines for people. Raises UsageError, which names what differs and may not.
    """
    refused = [*_recipe_changes(then["recipe"], now["recipe"]), *_data_changes(then, now)]
    if refused:
        raise UsageError(
            f"{checkpoint}: was made with other settings or data: {'; '.join(refused)}; "
            "resume with what it was made with, or start anew with --overwrite in place of --resume"
        )
    return [*_allowed_changes(then["recipe"], now["recipe"]), *_machine_changes(then["machine"], now["machine"])]


def _recipe_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What of a recipe differs and may not: options by their values, all that have none as of another preset."""
    augmentation = {"elsewhere": 0.0, **then["augmentation"]}
    then = {"draw": now["draw"], **then, "augmentation": augmentation}  # of versions without these
    differing = [name for name in now if name not in MAY_CHANGE and then.get(name) != now[name]]
    for name in differing:
        if name in OPTIONS:
            yield f"{OPTIONS[name]} was {then.get(name)}, is {now[name]}"
    if "augmentation" in differing:
        yield "--augmentation was another"
    if any(name not in OPTIONS and name != "augmentation" for name in differing):
        yield "--preset was another"


def _data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, option in (("classes", "--classes"), ("validation", "--validation")):
        if then[name] != now[name]:
            was, is_ = (",".join(each) if isinstance(each, list) else each for each in (then[name], now[name]))
            yield f"{option} was {was}, is {is_}"
    if then.get("shares", now["shares"]) != now["shares"] and then["images"].keys() == now["images"].keys():
        yield "--weights were others"
    if then["normalization"] != now["normalization"]:
        yield "the normalization was another"
    ours, theirs = now["images"], then["images"]
    for words, names in (
        ("new: image", ours.keys() - theirs.keys()),
        ("missing: image", theirs.keys() - ours.keys()),
        ("changed: image or mask", {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{words} {min(names)}{more}"


def _allowed_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in MAY_CHANGE:
        if then.get(name) != now[name]:
            follows = ": the rate follows its curve from here on" if name in _OF_THE_RATE else ""
            yield f"note: {OPTIONS[name]} was {_said(then.get(name))}, is {_said(now[name])}{follows}"


def _said(value: object) -> object:
    """An option's value, for people."""
    return "not given" if value is None else value


def _machine_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if differing := [f"{name} was {then.get(name)}, is {now[name]}" for name in now if then.get(name) != now[name]]:
        yield (
            f"note: begun on another machine ({'; '.join(differing)}): "
            "sums are rounded otherwise, and the weights differ from an uninterrupted run's in their last digits"
        )


def _digest(each: Annotated) -> str:
    digest = hashlib.sha256()
    for pixels in (each.image, each.labels, each.objects, *([] if each.known is None else [each.known])):
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def fingerprint_of(recipe: Recipe, description: ModelDescription, data: AnnotatedSet) -> str:
    """The hash of settings, pixels and labels by which checkpoints of version 0.1 know what they belong to.

    The learning rate is left out: it may change.
    """
    fixed = asdict(recipe) | {"learning_rate": 0.0}
    for later in ("diameter", "draw", "max_minutes", "patience"):
        del fixed[later]
    del fixed["augmentation"]["elsewhere"]
    names = [each.name for each in data.images]
    settings = [fixed, description.classes, asdict(description.normalization), names, data.rule]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for each in data.images:
        for pixels in (each.image, each.labels, each.objects):
            digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
