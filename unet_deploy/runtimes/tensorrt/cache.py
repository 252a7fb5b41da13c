"""Engines kept under the user's cache folder, so that a model is compiled once for a GPU."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.errors import ModelError
from unet_deploy.runtimes.tensorrt.record import read_record, record_path
from unet_deploy.system.cache import cache_folder, key_of, only_one

if TYPE_CHECKING:
    from unet_deploy.model.onnx_file import ModelFile
    from unet_deploy.runtimes.tensorrt.compiler import Compiler
    from unet_deploy.runtimes.tensorrt.options import BuildOptions
    from unet_deploy.system.gpu import Gpu
    from unet_deploy.system.progress import Progress


def cached_engine(
    model: ModelFile, options: BuildOptions, compiler: Compiler, gpu: Gpu, *, progress: Progress | None = None
) -> Path:
    """The engine of a model for a GPU, compiled on first use.

    The key covers everything that decides an engine: weights, compiler and version, GPU, and all options with
    precision and profile. Of several processes one compiles and the others wait for it. An entry that is not what
    its record says is compiled again.
    """
    from unet_deploy.runtimes.tensorrt.build import build_engine  # the package onnx, which running does not need

    here = f"{gpu.name} {gpu.capability}"
    key = key_of(model.weights_sha256, compiler.name, compiler.version, here, options.to_plain())
    engine = cache_folder() / f"{model.path.stem}-{key}.engine"
    tell = progress or (lambda done, total, title="": None)
    with only_one(engine, lambda: tell(0, 1, f"waiting for another process that compiles {model.path.stem}")):
        if not _is_engine_of(engine, model):
            timings = cache_folder() / f"{compiler.name}-{compiler.version}-{key_of(here)}.timings"
            timed = compiler.with_timings(timings)
            build_engine(model, engine, options, timed, gpu=gpu, overwrite=True, progress=progress)
            tell(1, 1, f"loading the engine on {gpu.name}")
    return engine


def _is_engine_of(engine: Path, model: ModelFile) -> bool:
    """Whether this engine is whole and of this model; what else stands in its place is removed."""
    with suppress(ModelError):
        if read_record(engine).weights_sha256 == model.weights_sha256:
            return True
    for leftover in (engine, record_path(engine)):
        leftover.unlink(missing_ok=True)
    return False
