"""Engines kept under the user's cache folder, so that a model is compiled once for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.errors import ModelError
from unet_deploy.runtimes.tensorrt.record import build_engine, read_record, record_path
from unet_deploy.system.cache import cache_folder, key_of, only_one

if TYPE_CHECKING:
    from unet_deploy.model.lower import Model
    from unet_deploy.runtimes.tensorrt.compilers import BuildOptions, Compiler


def cached_engine(
    model: Model,
    compiler: Compiler,
    options: BuildOptions,
    gpu: str,
    *,
    gpu_index: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """The engine of a model for a GPU, compiled on first use.

    The key covers everything that decides an engine: weights, compiler and version, GPU, and all options with
    precision and profile. Of several processes one compiles and the others wait for it. An entry that is not what
    its record says is compiled again.
    """
    key = key_of(model.weights_sha256, compiler.name, compiler.version, gpu, options.to_plain())
    engine = cache_folder() / f"{model.path.stem}-{key}.engine"
    with only_one(engine):
        try:
            record = read_record(engine)
        except ModelError:
            for leftover in (engine, record_path(engine)):
                leftover.unlink(missing_ok=True)
        else:
            if record.weights_sha256 == model.weights_sha256:
                return engine
        timings = cache_folder() / f"{compiler.name}-{compiler.version}-{key_of(gpu)}.timings"
        build_engine(
            model,
            engine,
            compiler,
            options,
            overwrite=True,
            gpu_index=gpu_index,
            timing_cache=timings,
            progress=progress,
        )
    return engine
