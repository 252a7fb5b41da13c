"""A model or an engine becomes a runtime: compiled, kept, loaded and, where it is not proved yet, said to be so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unet_deploy.errors import DeviceError, UnetDeployError
from unet_deploy.model.changed import read_to_run
from unet_deploy.runtimes import DEFAULT_TILE, scaled_side
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.proved import keep_agreement, kept_agreement
from unet_deploy.runtimes.request import Opened, Request, graph_precision
from unet_deploy.runtimes.tensorrt.record import EngineRecord, read_record, set_accuracy
from unet_deploy.system.cache import key_of
from unet_deploy.system.gpu import find_gpu
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import legal_side


def open_compiled(path: Path, request: Request, progress: Progress | None = None) -> Opened:
    """The model's engine for this GPU by the compiler that `request.runtime` names, kept or compiled now.

    Raises ModelError, DeviceError, ResourceError, UsageError, and VerificationError for an engine that failed before.
    """
    from unet_deploy.runtimes.cuda.device import CudaDevice
    from unet_deploy.runtimes.tensorrt.cache import cached_engine
    from unet_deploy.runtimes.tensorrt.compilers import find_compiler
    from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile

    model = read_to_run(path, request.change)
    compiler, gpu = find_compiler(request.runtime), find_gpu(request.gpu_index)
    side = legal_side(request.tile_size or scaled_side(DEFAULT_TILE, request.scale, model.card), model.card)
    largest = (request.batch_size, side, side)
    options = BuildOptions(
        Profile((1, model.card.base, model.card.base), largest, largest),
        precision=graph_precision(request, model.quantized),
        pixels=request.pixels,
        probabilities=request.probabilities,
    )
    device = CudaDevice(gpu.index)
    try:
        with device.active():
            engine = cached_engine(model, options, compiler, gpu, progress=progress)
    finally:
        device.close()
    return open_engine_file(engine, request)


def open_engine_file(engine: Path, request: Request) -> Opened:
    """An engine that is there, once its record says that it fits this machine.

    Raises ModelError, DeviceError, UsageError, and VerificationError for one that failed its proof.
    """
    if request.device == "cpu":
        raise DeviceError(f"{engine}: an engine runs on an NVIDIA GPU; for a CPU give the .onnx model")
    record = read_record(engine)  # what is wrong with the file is said even where nothing could run it
    gpu = find_gpu(request.gpu_index)
    from unet_deploy.runtimes.tensorrt.engine import open_engine

    accuracy = record.accuracy or kept_agreement(key_of(record.plan_sha256))
    if accuracy:
        accuracy.require(str(engine))
    runtime = open_engine(engine, record, gpu, probabilities=request.probabilities, tile_size=request.tile_size)
    return Opened(runtime, None if accuracy else partial(_keep, engine, record))


def _keep(engine: Path, record: EngineRecord, agreement: Agreement) -> None:
    """Write an agreement into the engine's record, or into the cache where the folder is not ours to write to."""
    try:
        set_accuracy(engine, agreement)
    except UnetDeployError:
        keep_agreement(key_of(record.plan_sha256), agreement)
