"""Engines and proofs kept under the user's cache folder, so that a model is compiled once for a GPU."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.errors import ModelError
from unet_deploy.runtimes.agreement import Accuracy
from unet_deploy.runtimes.tensorrt.record import build_engine, read_record, record_path
from unet_deploy.system.files import file_errors, replacing, wait_for_lock

if TYPE_CHECKING:
    from unet_deploy.model.onnx_file import ModelFile
    from unet_deploy.runtimes.tensorrt.compilers import BuildOptions, Compiler


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
    model: ModelFile,
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
    with _only_one(engine):
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
