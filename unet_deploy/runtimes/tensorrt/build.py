"""From a model file to an engine and its record."""

from __future__ import annotations

import hashlib
from pathlib import Path

from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import ModelFile
from unet_deploy.runtimes.tensorrt.compiler import Compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions
from unet_deploy.runtimes.tensorrt.record import EngineRecord, record_path, write_record
from unet_deploy.system.files import check_free, replacing
from unet_deploy.system.gpu import Gpu
from unet_deploy.system.progress import Progress


def build_engine(
    model: ModelFile,
    engine: Path,
    options: BuildOptions,
    compiler: Compiler,
    *,
    gpu: Gpu | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EngineRecord:
    """Compile a model and write ENGINE and ENGINE.json, unverified. Nothing is left half-written.

    gpu: the GPU at hand that it is compiled for; its context must be current where that is not the first, which is
    the default.
    Raises UsageError, ModelError, DeviceError, ResourceError and VerificationError.
    """
    check_free(engine, overwrite=overwrite)
    check_free(record_path(engine), overwrite=overwrite)
    compiler.check(options)
    options.profile.check(model.card)
    runs_on = compiler.runs_on(options, gpu)
    lowered = lower(
        model,
        precision=options.precision,
        pixels=options.pixels,
        probabilities=options.probabilities,
        shape=options.profile.max if options.profile.fixed else None,
    )
    if progress:
        for_what = runs_on.gpu or f"compute capability {', '.join(runs_on.capabilities)}"
        by = f"{compiler.name} {compiler.version}"
        progress(0, 1, f"compiling {model.path.stem} by {by} for {for_what}: {compiler.takes}, once")
    plan = compiler.build(lowered, options, progress=progress)
    record = EngineRecord(
        card=model.card,
        model=str(model.path),
        weights_sha256=model.weights_sha256,
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
        compiler=compiler.name,
        compiler_version=compiler.version,
        gpu=runs_on.gpu,
        capabilities=runs_on.capabilities,
        layers=plan.layers,
        options=options,
    )
    with replacing(engine, overwrite=overwrite) as beside:
        beside.write_bytes(plan.data)
    write_record(engine, record)
    return record
