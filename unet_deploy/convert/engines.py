"""An engine for use: compiled out of sight, compared with its model where that was asked for, and only then named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_deploy.errors import DeviceError
from unet_deploy.images import check_fits
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks.apart import check_apart
from unet_deploy.masks.unfinished import lock
from unet_deploy.measure.verify import verify_against
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import Pixels
from unet_deploy.model.onnx_file import ModelFile
from unet_deploy.runtimes import narrow
from unet_deploy.runtimes.tensorrt.build import build_engine
from unet_deploy.runtimes.tensorrt.compiler import Compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, EngineRecord, read_record, record_path
from unet_deploy.system.files import check_ends, check_free, file_errors, open_own, own_folder
from unet_deploy.system.kernel import remove_folder_of
from unet_deploy.system.progress import Progress


@dataclass(frozen=True)
class ProofImage:
    """An image that a new engine is compared with its model on."""

    path: Path
    limit_ppm: float | None = None
    """Of a million labels, how many may differ from the model's; by default what its card says."""
    reading: Reading = AS_SAID
    """How it is read."""

    def check(self, card: ModelCard, pixels: Pixels) -> None:
        """Raise ImageError or UsageError, as the comparison after the build would, for an image that does not fit."""
        with self.reading.open(self.path) as source:
            check_fits(source.info, card)
            narrow(np.zeros(0, source.info.dtype), pixels, str(self.path))


def make_engine(
    model: ModelFile,
    output: Path,
    options: BuildOptions,
    compiler: Compiler,
    *,
    proof: ProofImage | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
) -> EngineRecord:
    """Compile a model to OUTPUT and its record OUTPUT.json.

    An engine that is there stays until there is a better one: the new one is compiled and compared in a folder beside
    it, and takes its name at the end.
    proof: what to compare it on; without, and where no GPU here runs it, it is unverified until its first use.
    notify: told in one line why an engine that was to be compared could not be.
    Raises what `build_engine` raises, ImageError, and VerificationError for an engine that does not answer as its
    model does.
    """
    check_ends(output, "engines", ENGINE_SUFFIXES)
    timings = [compiler.timing_cache] if compiler.timing_cache else []
    check_apart([output, record_path(output), *timings], [model.path, *([proof.path] if proof else [])])
    check_free(output, overwrite=overwrite)
    check_free(record_path(output), overwrite=overwrite)
    if proof:
        proof.check(model.card, options.pixels)
    with _workshop(output) as place:
        built = place / output.name
        build_engine(model, built, options, compiler, progress=progress)
        if proof:
            _prove(built, output, model.path, proof, notify)
        with file_errors(output):
            os.replace(record_path(built), record_path(output))
            os.replace(built, output)
    return read_record(output)


@contextmanager
def _workshop(output: Path) -> Iterator[Path]:
    """A hidden folder beside an engine to compile it in; what a killed build has left there goes first.

    Raises UsageError where another process is at it.
    """
    place = output.with_name(f".{output.name}.part")
    with file_errors(output):
        own_folder(place)
        file = open_own(place / "lock")
    with closing(file):
        lock(file, output)
        try:
            for left in set(place.iterdir()) - {place / "lock"}:
                left.unlink()
            yield place
        finally:
            remove_folder_of(file, place)


def _prove(built: Path, output: Path, model: Path, proof: ProofImage, notify: Callable[[str], None] | None) -> None:
    """Compare an engine that was just built, and write the result into its record. Raises VerificationError."""
    try:
        agreement = verify_against(str(built), model, proof.path, limit_ppm=proof.limit_ppm, reading=proof.reading)
        agreement.require(str(output))
    except DeviceError as error:
        if notify:
            notify(f"note: unverified: {error}")
