"""What a weights file may hold: one rule a field, checked when a file is read, as it may come from anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from trainer.description import ModelDescription
from trainer.unet import UNet
from unet_deploy.errors import ModelError
from unet_deploy.model.card import Normalization

DEEPEST = 6
"""As `train --depth` has it."""


def check_fields(saved: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError, which names the field, unless a weights file holds what this trainer writes.

    Values that go to the model card as they are, such as names of classes, are checked there.
    """
    for name, holds in _FIELDS.items():
        if not holds(saved.get(name)):
            raise ModelError(
                f"{path}: holds no weights of this trainer ({name} is another); make them with: unet-deploy train"
            )
    if len(saved["about"]["classes"]) != saved["architecture"]["classes"]:
        raise ModelError(f"{path}: names another number of classes than its network has; train again")


def network_of(saved: Mapping[str, Any], path: Path) -> UNet:
    """The network of a weights file, once `check_fields` has passed. Raises ModelError where its weights do not fit it.

    It is laid out without memory, so that its claimed size costs nothing before its weights are seen to be there.
    """
    try:
        with torch.device("meta"):
            model = UNet(**saved["architecture"])
        model.load_state_dict(saved["state"], assign=True)
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{path}: holds no weights of this trainer; make them with: unet-deploy train") from error
    if not all(_takes(model, saved["architecture"]["channels"], each) for each in saved["examples"]):
        raise ModelError(f"{path}: its examples are no tiles that its network takes; train again")
    return model.float().eval()


def _takes(model: UNet, channels: int, tile: torch.Tensor) -> bool:
    """Whether a network takes a tile (C, h, w)."""
    sides_fit = all(side >= model.base and (side - model.base) % model.stride == 0 for side in tile.shape[1:])
    return tile.shape[0] == channels and tile.dtype == torch.float32 and sides_fit


def _is_whole(value: object, least: int = 1, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_architecture(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {"channels", "classes", "width", "depth", "dropout"}:
        return False
    sides = all(_is_whole(value[name]) for name in ("channels", "classes", "width"))
    dropout = value["dropout"]
    return sides and _is_whole(value["depth"], 1, DEEPEST) and _is_number(dropout) and 0 <= dropout <= 1


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor of floats whose numbers are all in the file, and not one of them as often as it says."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.layout != torch.strided:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _are_tensors(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and _is_tensor(value[name]) for name in value)


def _is_description(value: object) -> bool:
    named = {each.name for each in fields(ModelDescription)} - {"parent"}
    if not isinstance(value, dict) or not {"classes", "normalization"} <= value.keys() <= named:
        return False
    grey = value["normalization"]
    if not isinstance(value["classes"], list):
        return False
    return isinstance(grey, dict) and grey.keys() <= {each.name for each in fields(Normalization)}


def _are_figures(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and _is_number(value[name]) for name in value)


def _are_examples(value: object) -> bool:
    return isinstance(value, list) and all(_is_tensor(each) and each.dim() == 3 for each in value)


def _are_values_or_none(value: object) -> bool:
    """Whether it is what only some weights have; what it says is checked as it goes to the card."""
    return value is None or isinstance(value, dict)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "architecture": _is_architecture,
    "state": _are_tensors,
    "about": _is_description,
    "recipe": lambda value: isinstance(value, dict) and _is_whole(value.get("seed"), -math.inf),  # type: ignore[arg-type]
    "metrics": _are_figures,
    "examples": _are_examples,
    "parent": _are_values_or_none,
    "decision": _are_values_or_none,
}
