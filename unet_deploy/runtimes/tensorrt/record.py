"""The record beside an engine: what it is, what made it, what may run it, and whether it was proved.

ENGINE is the compiler's plan and nothing else, so that every TensorRT tool reads it. ENGINE.json is its record. Nothing
is deserialised before the record says that it is the very file, for this version and this GPU.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from unet_deploy.errors import DeviceError, ModelError, reason
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Limits
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.tensorrt.checked import check_all, counts_by_name, is_text, list_of, one_of
from unet_deploy.runtimes.tensorrt.library import Name, version_numbers
from unet_deploy.runtimes.tensorrt.options import BuildOptions, target_of
from unet_deploy.system.files import replacing, sha256_of
from unet_deploy.system.gpu import Gpu

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
FORMAT = 2
"""2: profiles are min, opt and max. A record of another format is refused."""
_UNVERIFIED = "unverified"


@dataclass(frozen=True)
class EngineRecord:
    """What an engine is; docs/deploy.md lists the fields for people."""

    card: ModelCard
    model: str
    """The model file that it was made of, as it was given."""
    weights_sha256: str
    plan_sha256: str
    compiler: Name
    compiler_version: str
    gpu: str
    """Name of the GPU that it was compiled for, empty where it was compiled ahead of time."""
    capabilities: tuple[str, ...]
    """Compute capabilities that it runs on: ("8.6",)."""
    layers: dict[str, int]
    """Convolutions and their kin by the type they compute in, in the network that was compiled."""
    options: BuildOptions
    """Everything that was asked of the compiler."""
    inspected: dict[str, int] | None = None
    """Layers by type as the engine itself tells, from the first time it is loaded on a GPU."""
    accuracy: Agreement | None = None
    """How it compares with the model in float32; None is unverified."""

    @property
    def limits(self) -> Limits:
        """The submissions that it takes."""
        return self.options.profile.limits

    def rebuild_command(self, engine: Path) -> str:
        """The line that makes it again, with every option that it was made with."""
        words = ["unet-deploy", "build-engine", self.model, "-o", str(engine), "--overwrite"]
        return shlex.join([*words, "--compiler", self.compiler, *self.options.arguments()])

    def to_json(self) -> str:
        """The text of ENGINE.json."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["card"] = json.loads(self.card.to_json())
        plain["options"] = self.options.to_plain()
        plain["accuracy"] = _accuracy_to_plain(self.accuracy)
        return json.dumps({"format": FORMAT, **plain}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, engine: Path) -> EngineRecord:
        """Read the record of an engine back. Raises ModelError, with the remedy, for what is damaged or of another
        format."""
        source = record_path(engine)
        try:
            plain = json.loads(text)
            written = plain.pop("format")
            if written == 1:
                record = cls._from_plain(_from_format_1(plain))
                raise ModelError(
                    f"{source}: written by an older version of unet-deploy; "
                    f"build the engine again: {record.rebuild_command(engine)}"
                )
            if written != FORMAT:
                raise ModelError(f"{source}: written by another version of unet-deploy; build the engine again")
            return cls._from_plain(plain)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ModelError(f"{source}: cannot be read ({reason(error)}); build the engine again") from error

    @classmethod
    def _from_plain(cls, plain: object) -> EngineRecord:
        """Raises ValueError, TypeError and KeyError for what is not as `to_json` writes it."""
        values = check_all("record", plain, _FIELDS)
        return cls(
            **values
            | {
                "card": _card_from_plain(values["card"]),
                "capabilities": tuple(values["capabilities"]),
                "options": BuildOptions.from_plain(values["options"]),
                "accuracy": _accuracy_from_plain(values["accuracy"]),
            }
        )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "card": lambda value: isinstance(value, dict),
    "model": is_text,
    "weights_sha256": is_text,
    "plan_sha256": is_text,
    "compiler": one_of(get_args(Name)),
    "compiler_version": is_text,
    "gpu": is_text,
    "capabilities": list_of(is_text),
    "layers": counts_by_name,
    "options": lambda value: isinstance(value, dict),
    "inspected": lambda value: value is None or counts_by_name(value),
    "accuracy": lambda value: value == _UNVERIFIED or isinstance(value, dict),
}


def _card_from_plain(plain: dict[str, Any]) -> ModelCard:
    try:
        return ModelCard.from_json(json.dumps(plain))
    except ModelError as error:  # its remedy is to export the model again, and here it is the record that is damaged
        raise ValueError("its model card") from error


def _accuracy_to_plain(accuracy: Agreement | None) -> str | dict[str, Any]:
    return accuracy.to_plain() if accuracy else _UNVERIFIED


def _accuracy_from_plain(plain: Any) -> Agreement | None:
    if plain == _UNVERIFIED:
        return None
    accuracy = Agreement.from_plain(plain)
    _ = accuracy.holds, str(accuracy)  # values of another type raise here, and not where it is used
    return accuracy


def _from_format_1(plain: dict[str, Any]) -> dict[str, Any]:
    """What a record of format 1 says of how its engine was made, in the words of today."""
    names = {"least": "min", "best": "opt", "most": "max"}
    profile = {names[name]: shape for name, shape in plain["options"]["profile"].items()}
    return {**plain, "options": {**plain["options"], "profile": profile}, "accuracy": _UNVERIFIED}


def record_path(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")


def read_record(engine: Path) -> EngineRecord:
    """The record of an engine file, once it is sure that it is this file's. Raises ModelError."""
    if not engine.is_file():
        raise ModelError(f"{engine}: no such engine")
    beside = record_path(engine)
    try:
        text = beside.read_text(errors="replace")
    except FileNotFoundError as error:
        raise ModelError(
            f"{engine}: has no record {beside.name} beside it, which says what it is; "
            "make both with: unet-deploy build-engine"
        ) from error
    record = EngineRecord.from_json(text, engine)
    if sha256_of(engine) != record.plan_sha256:
        raise ModelError(
            f"{engine}: is not the engine that {beside.name} describes (cut short, changed or replaced); "
            f"build it again: {record.rebuild_command(engine)}"
        )
    return record


def write_record(engine: Path, record: EngineRecord) -> None:
    with replacing(record_path(engine), overwrite=True) as beside:
        beside.write_text(record.to_json())


def set_accuracy(engine: Path, accuracy: Agreement) -> None:
    """Write into the record of an engine how it compares with its model."""
    write_record(engine, replace(read_record(engine), accuracy=accuracy))


def check_runs_here(record: EngineRecord, engine: Path, version: str, gpu: Gpu) -> None:
    """Raise DeviceError, with both sides and the remedy, unless this version on this GPU may load the engine."""
    again = f"build it again here: {_for_gpu(record, gpu).rebuild_command(engine)}"
    if not _takes_version(record, version):
        raise DeviceError(
            f"{engine}: made by {record.compiler} {record.compiler_version}, but {version} is installed here; {again}"
        )
    compatibility = record.options.compatibility
    ampere = compatibility == "ampere" and float(gpu.capability) >= 8.0
    if gpu.capability not in record.capabilities and not ampere:
        runs_on = ", ".join(record.capabilities)
        made = f"compiled for {record.gpu} ({runs_on})" if record.gpu else f"compiled for compute capability {runs_on}"
        raise DeviceError(f"{engine}: {made}, but here is {gpu.name} ({gpu.capability}); {again}")
    if record.gpu and compatibility == "none" and gpu.name != record.gpu:
        raise DeviceError(f"{engine}: compiled for {record.gpu}, but here is {gpu.name}; {again}")


def _takes_version(record: EngineRecord, version: str) -> bool:
    """Whether this version of the compiler's runtime loads it: the same, or a later one where it was built for that."""
    if version == record.compiler_version:
        return True
    here, made = version_numbers(version), version_numbers(record.compiler_version)
    return record.options.version_compatible and here[:1] == made[:1] and here >= made


def _for_gpu(record: EngineRecord, gpu: Gpu) -> EngineRecord:
    """As it would have been asked for to run on this GPU as well."""
    targets, here = record.options.targets, target_of(gpu.capability)
    if not targets or here in targets:
        return record
    return replace(record, options=replace(record.options, targets=(*targets, here)))
