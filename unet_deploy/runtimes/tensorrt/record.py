"""Engines: a model compiled for a GPU, and the record beside it that says what it is and whether it was proved.

ENGINE is the compiler's plan and nothing else, so that every TensorRT tool reads it. ENGINE.json is its record. Nothing
is deserialised before the record says that it is the very file, for this version and this GPU.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_deploy.errors import DeviceError, ModelError, UsageError
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Limits
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.system.files import check_free, replacing
from unet_deploy.system.gpu import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from unet_deploy.model.lower import Model
    from unet_deploy.runtimes.tensorrt.compilers import BuildOptions, Compiler

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
_OPTIONS = ("profile", "precision", "pixels", "probabilities", "compatibility", "version_compatible")
FORMAT = 1


@dataclass(frozen=True)
class EngineRecord:
    """What an engine is; docs/deploy.md lists the fields for people."""

    card: ModelCard
    model: str
    """The model file that it was made of, as it was given."""
    weights_sha256: str
    plan_sha256: str
    compiler: str
    compiler_version: str
    gpu: str
    """Name of the GPU that it was compiled for, empty where it was compiled ahead of time."""
    capabilities: tuple[str, ...]
    """Compute capabilities that it runs on: ("8.6",)."""
    layers: dict[str, int]
    """Convolutions and their kin by the type they compute in, in the network that was compiled."""
    options: dict[str, Any]
    """Everything that was asked of the compiler: profile, precision, pixels, probabilities, targets and the rest."""
    inspected: dict[str, int] | None = None
    """Layers by type as the engine itself tells, from the first time it is loaded on a GPU."""
    accuracy: Agreement | None = None
    """How it compares with the model in float32; None is unverified."""

    @property
    def limits(self) -> Limits:
        """The submissions that it takes."""
        profile = self.options["profile"]
        fewest, *least = profile["least"]
        batch, *most = profile["most"]
        return Limits(batch, (least[0], least[1]), (most[0], most[1]), fewest, hard=True)

    def rebuild_command(self, engine: Path) -> str:
        """The line that makes it again, on the machine where it is typed."""
        asked = self.options
        least, best, most = ("x".join(map(str, asked["profile"][key])) for key in ("least", "best", "most"))
        shapes = ["--min-shapes", least, "--opt-shapes", best, "--max-shapes", most]
        if least == most:
            shapes = ["--batch-size", str(self.limits.batch), "--tile-size", most.partition("x")[2]]
        words = ["unet-deploy", "build-engine", self.model, "-o", str(engine), "--overwrite", *shapes]
        words += ["--precision", asked["precision"], "--pixels", asked["pixels"]]
        words += ["--output", "probabilities"] if asked["probabilities"] else []
        words += ["--compiler", self.compiler]
        return shlex.join(words)

    def to_json(self) -> str:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["card"] = json.loads(self.card.to_json())
        plain["accuracy"] = self.accuracy.to_plain() if self.accuracy else "unverified"
        return json.dumps({"format": FORMAT, **plain}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path) -> EngineRecord:
        """Read a record back. Raises ModelError."""
        try:
            plain = json.loads(text)
            if plain.pop("format") != FORMAT:
                raise ModelError(f"{source}: written by another version of unet-deploy; build the engine again")
            plain["card"] = ModelCard.from_json(json.dumps(plain["card"]), source=str(source))
            plain["capabilities"] = tuple(plain["capabilities"])
            accuracy = plain["accuracy"]
            plain["accuracy"] = None if accuracy == "unverified" else Agreement.from_plain(accuracy)
            record = cls(**plain)
            _ = record.limits, [record.options[key] for key in _OPTIONS]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ModelError(f"{source}: cannot be read ({error}); build the engine again") from error
        return record


def record_path(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")


def build_engine(
    model: Model,
    engine: Path,
    compiler: Compiler,
    options: BuildOptions,
    *,
    overwrite: bool = False,
    gpu_index: int = 0,
    timing_cache: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> EngineRecord:
    """Compile a model and write ENGINE and ENGINE.json, unverified. Nothing is left half-written.

    gpu_index: the GPU at hand that it is compiled for; its context must be current where that is not the first.
    Raises UsageError, ModelError, DeviceError, ResourceError and VerificationError.
    """
    from unet_deploy.model.lower import lower
    from unet_deploy.system.gpu import find_gpu

    check_free(engine, overwrite=overwrite)
    check_free(record_path(engine), overwrite=overwrite)
    compiler.check(options)
    check_profile(options, model.card)
    if options.targets:
        gpu, capabilities = "", tuple(f"{target[2:-1]}.{target[-1]}" for target in options.targets)
    else:
        try:
            here = find_gpu(gpu_index)
        except DeviceError as error:
            remedy = "; name what to compile for: --target sm86,sm89" if compiler.ahead_of_time else ""
            raise DeviceError(f"{compiler.name} compiles for the GPU at hand, but there is {error}{remedy}") from error
        gpu, capabilities = here.name, (here.capability,)
    lowered = lower(
        model,
        precision=options.precision,
        pixels=options.pixels,
        probabilities=options.probabilities,
        shape=options.profile.most if options.profile.fixed else None,
    )
    plan = compiler.build(lowered, options, timing_cache=timing_cache, progress=progress)
    record = EngineRecord(
        card=model.card,
        model=str(model.path),
        weights_sha256=model.weights_sha256,
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
        compiler=compiler.name,
        compiler_version=compiler.version,
        gpu=gpu,
        capabilities=capabilities,
        layers=plan.layers,
        options=options.to_plain(),
    )
    with replacing(engine, overwrite=overwrite) as beside:
        beside.write_bytes(plan.data)
    write_record(engine, record)
    return record


def check_profile(options: BuildOptions, card: ModelCard) -> None:
    """Raise UsageError unless the network takes the profile's shapes, in order."""
    profile = options.profile
    for batch, height, width in (profile.least, profile.best, profile.most):
        for side in (height, width):
            if side < card.base or (side - card.base) % card.stride:
                below = card.base + max(0, (side - card.base) // card.stride) * card.stride
                raise UsageError(
                    f"shape {batch}x{height}x{width}: model {card.name!r} takes sides of "
                    f"{card.base} + k x {card.stride} pixels; "
                    f"the nearest to {side} are {below} and {below + card.stride}"
                )
    if profile.least[0] != 1 and not profile.fixed:
        raise UsageError(f"shapes: the smallest must be of 1 tile, not {profile.least[0]}: an image may end with one")
    for low, high in ((profile.least, profile.best), (profile.best, profile.most)):
        if any(a > b or a < 1 for a, b in zip(low, high, strict=True)):
            raise UsageError("shapes: the smallest, the best and the largest must grow in this order, from 1 tile on")


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
    record = EngineRecord.from_json(text, beside)
    digest = _digest(engine)
    if digest != record.plan_sha256:
        raise ModelError(
            f"{engine}: is not the engine that {beside.name} describes (cut short, changed or replaced); "
            f"build it again: {record.rebuild_command(engine)}"
        )
    return record


def _digest(engine: Path) -> str:
    digest = hashlib.sha256()
    with engine.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_record(engine: Path, record: EngineRecord) -> None:
    with replacing(record_path(engine), overwrite=True) as beside:
        beside.write_text(record.to_json())


def set_accuracy(engine: Path, accuracy: Agreement) -> None:
    """Write into the record of an engine how it compares with its model."""
    write_record(engine, replace(read_record(engine), accuracy=accuracy))


def check_runs_here(record: EngineRecord, engine: Path, version: str, gpu: Gpu) -> None:
    """Raise DeviceError, with both sides and the remedy, unless this version on this GPU may load the engine."""
    again = f"build it again here: {record.rebuild_command(engine)}"
    major = record.compiler_version.partition(".")[0]
    same = version == record.compiler_version
    later = version_numbers(version) >= version_numbers(record.compiler_version) and version.partition(".")[0] == major
    if not same and not (record.options["version_compatible"] and later):
        raise DeviceError(
            f"{engine}: made by {record.compiler} {record.compiler_version}, but {version} is installed here; {again}"
        )
    compatibility = record.options["compatibility"]
    ampere = compatibility == "ampere" and float(gpu.capability) >= 8.0
    if gpu.capability not in record.capabilities and not ampere:
        runs_on = ", ".join(record.capabilities)
        made = f"compiled for {record.gpu} ({runs_on})" if record.gpu else f"compiled for compute capability {runs_on}"
        raise DeviceError(f"{engine}: {made}, but here is {gpu.name} ({gpu.capability}); {again}")
    if record.gpu and compatibility == "none" and gpu.name != record.gpu:
        raise DeviceError(f"{engine}: compiled for {record.gpu}, but here is {gpu.name}; {again}")


def version_numbers(version: str) -> tuple[int, ...]:
    """ "10.3.0.26" as (10, 3, 0, 26), to compare."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
