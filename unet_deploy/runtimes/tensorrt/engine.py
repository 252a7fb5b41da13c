"""An engine file becomes a runtime, once its record says that it fits this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.runtimes import Identity, Limits
from unet_deploy.runtimes.cuda.device import CudaDevice
from unet_deploy.runtimes.streamed import SLOTS, StreamedRuntime
from unet_deploy.runtimes.tensorrt.library import Name, load
from unet_deploy.runtimes.tensorrt.program import TensorRtProgram
from unet_deploy.runtimes.tensorrt.record import EngineRecord, check_runs_here
from unet_deploy.runtimes.tensorrt.rtx import RtxProgram
from unet_deploy.system.gpu import Gpu

_PROGRAMS: dict[Name, type[TensorRtProgram]] = {"tensorrt": TensorRtProgram, "tensorrt_rtx": RtxProgram}


def open_engine(
    engine: Path,
    record: EngineRecord,
    gpu: Gpu,
    *,
    probabilities: bool = False,
    tile_size: int | None = None,
    slots: int = SLOTS,
) -> StreamedRuntime:
    """Load an engine, once its record says that it fits this machine.

    tile_size: largest side of a tile in pixels, within the engine's own.
    Whether it answers as its model does is for the caller to ask. Raises DeviceError and UsageError.
    """
    trt = load(record.compiler)
    check_runs_here(record, engine, str(trt.__version__), gpu)
    options = record.options
    if probabilities and not options.probabilities:
        wanted = replace(record, options=replace(options, probabilities=True))
        raise DeviceError(
            f"{engine}: answers with labels alone; build it again with --output probabilities: "
            f"{wanted.rebuild_command(engine)}"
        )
    limits = _lowered(record.limits, tile_size, engine)
    program, cuda = _PROGRAMS[record.compiler], CudaDevice(gpu.index)
    return StreamedRuntime(
        Identity(record.card, f"{record.compiler} {record.compiler_version} on {gpu.name}", record.weights_sha256),
        cuda,
        lambda limits: program(cuda, trt, engine, record, gpu, limits),
        limits,
        pixels=options.pixels,
        probabilities=options.probabilities,
        slots=slots,
    )


def _lowered(limits: Limits, tile_size: int | None, engine: Path) -> Limits:
    """The engine's limits, with no tile larger than was asked for."""
    if tile_size is None:
        return limits
    low, high = limits.least, limits.most
    if not max(low) <= tile_size <= min(high):
        raise UsageError(
            f"--tile-size {tile_size}: {engine.name} takes {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels; "
            "leave it out"
        )
    return limits if limits.fixed else replace(limits, most=(tile_size, tile_size))
