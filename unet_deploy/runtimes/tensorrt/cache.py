"""Engines and proofs kept under the user's cache folder, so that a model is compiled once for a GPU."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.errors import ModelError
from unet_deploy.runtimes.agreement import Accuracy
from unet_deploy.runtimes.tensorrt.record import read_record, record_path
from unet_deploy.system.files import file_errors, replacing, wait_for_lock

if TYPE_CHECKING:
    from unet_deploy.model.onnx_file import ModelFile
    from unet_deploy.runtimes.tensorrt.compiler import Compiler
    from unet_deploy.runtimes.tensorrt.options import BuildOptions
    from unet_deploy.system.gpu import Gpu
    from unet_deploy.system.progress import Progress


def cache_folder() -> Path:
    """$UNET_DEPLOY_CACHE, or unet-deploy under the user's cache folder."""
    given = os.environ.get("UNET_DEPLOY_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unet-deploy"


def key_of(*parts: object) -> str:
    """A name for what all these parts decide."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


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
    with _only_one(engine):
        if not _is_engine_of(engine, model):
            timings = cache_folder() / f"{compiler.name}-{compiler.version}-{key_of(here)}.timings"
            timed = compiler.with_timings(timings)
            build_engine(model, engine, options, timed, gpu=gpu, overwrite=True, progress=progress)
    return engine


def _is_engine_of(engine: Path, model: ModelFile) -> bool:
    """Whether this engine is whole and of this model; what else stands in its place is removed."""
    with suppress(ModelError):
        if read_record(engine).weights_sha256 == model.weights_sha256:
            return True
    for leftover in (engine, record_path(engine)):
        leftover.unlink(missing_ok=True)
    return False


def kept_accuracy(key: str) -> Accuracy | None:
    """What `keep_accuracy` wrote down under this key; None where there is nothing that can be read."""
    with suppress(OSError, ValueError, TypeError):
        return Accuracy(**json.loads((cache_folder() / f"proof-{key}.json").read_text()))
    return None


def keep_accuracy(key: str, accuracy: Accuracy) -> None:
    """Write down that a runtime was proved, so that it is not proved again."""
    path = cache_folder() / f"proof-{key}.json"
    with _only_one(path), replacing(path, overwrite=True) as beside:
        beside.write_text(json.dumps(asdict(accuracy)))


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock on `path` among processes. It ends with the process, so a killed one leaves none behind."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("w")
    with lock:
        wait_for_lock(lock)
        yield
