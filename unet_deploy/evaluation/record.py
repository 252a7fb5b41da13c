"""Figures in the card of a model that is the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unet_deploy.errors import UsageError
from unet_deploy.model.decision import Decision
from unet_deploy.system.files import check_writable, replacing
from unet_deploy.zoo import shipped_models

_INSTALLED = Path(__file__).resolve().parents[1]


def check_recordable(model: Path, what: str = "--record") -> None:
    """Raise UsageError for what is no .onnx file, and for a model of the installation: it is everybody's.

    Raises UnetDeployError where nothing can be written beside the model.
    """
    file = model.resolve()
    if file.suffix != ".onnx":
        raise UsageError(f"{what}: {model} is no .onnx file; take the model that it was built from")
    if file.is_relative_to(_INSTALLED) or any(file.samefile(shipped) for shipped in shipped_models().values()):
        raise UsageError(f"{what}: {model} belongs to the installation; take a copy of it, which is yours")
    check_writable(file)


def record(model: Path, figures: Mapping[str, float], images: str) -> None:
    """Write figures over `images` into the card of a model file, in the place of earlier ones.

    The file, or the one that a link leads to, is replaced when the new one is whole; nodes and weights stay as they
    are. Raises ModelError, and as `check_recordable`.
    """
    from unet_deploy.model.onnx_file import read_model, write_card

    check_recordable(model)
    file = model.resolve()
    card = replace(read_model(file).card, evaluation=figures, evaluated_on=images)
    with replacing(file, overwrite=True) as beside:
        write_card(file, beside, card)


def record_decision(model: Path, output: Path, decision: Decision, *, overwrite: bool = False) -> None:
    """Write a model with this decision in its card; figures of another decision go from it.

    Raises ModelError, UsageError and UnetDeployError.
    """
    from unet_deploy.model.onnx_file import read_model, write_card

    card = read_model(model).card
    if decision != card.decision:
        card = replace(card, decision=decision, evaluation={}, evaluated_on="")
    with replacing(output.resolve(), overwrite=overwrite) as beside:
        write_card(model.resolve(), beside, card)
