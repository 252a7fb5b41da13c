"""TensorRT engines on the ring."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from unet_deploy.errors import DeviceError, UnetDeployError, UsageError
from unet_deploy.model.contract import IMAGE
from unet_deploy.runtimes import Identity, Limits, OutOfMemoryError
from unet_deploy.runtimes.cuda import CudaDevice, CudaGraph, CudaMemory, CudaStream
from unet_deploy.runtimes.ring import Shape
from unet_deploy.runtimes.streamed import SLOTS, StreamedRuntime, buffer_ports, output_shapes
from unet_deploy.runtimes.tensorrt.logger import make_logger
from unet_deploy.runtimes.tensorrt.record import EngineRecord, check_runs_here, read_record, write_record
from unet_deploy.system.cache import cache_folder, key_of
from unet_deploy.system.files import replacing
from unet_deploy.system.gpu import Gpu


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

    tile_size: largest side, within the engine's own. Raises DeviceError and UsageError.
    """
    trt = _load(record.compiler)
    check_runs_here(record, engine, str(trt.__version__), gpu)
    if probabilities and not record.options["probabilities"]:
        raise DeviceError(
            f"{engine}: answers with labels alone; build it again with --output probabilities: "
            f"{record.rebuild_command(engine)} --output probabilities"
        )
    limits = _limits(record.limits, tile_size, engine)
    cuda = CudaDevice(gpu.index)
    return StreamedRuntime(
        Identity(record.card, f"{record.compiler} {record.compiler_version} on {gpu.name}", record.weights_sha256),
        cuda,
        lambda limits: TensorRtProgram(cuda, trt, engine, record, gpu, limits),
        limits,
        pixels=record.options["pixels"],
        probabilities=record.options["probabilities"],
        slots=slots,
    )


def _limits(limits: Limits, tile_size: int | None, engine: Path) -> Limits:
    if tile_size is None:
        return limits
    low, high = limits.least, limits.most
    if not max(low) <= tile_size <= min(high):
        raise UsageError(
            f"--tile-size {tile_size}: {engine.name} takes {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels; "
            "leave it out"
        )
    return limits if limits.fixed else replace(limits, most=(tile_size, tile_size))


def _load(compiler: str) -> Any:
    try:
        return import_module(compiler)
    except Exception as error:  # a missing driver or library comes as any of several types
        extra = compiler.replace("_", "-")
        raise DeviceError(f"{compiler} cannot be loaded ({error}); run: pip install 'unet-deploy[{extra}]'") from error


class TensorRtProgram:
    """A deserialised engine with one execution context, whose scratch memory is taken once.

    Submissions run one after another on one stream. Where shapes are fixed, each slot's launch is a CUDA graph:
    TensorRT for RTX captures it by itself, TensorRT is captured here.
    """

    def __init__(
        self, device: CudaDevice, trt: Any, engine: Path, record: EngineRecord, gpu: Gpu, limits: Limits
    ) -> None:
        self.fixed = record.limits.fixed
        self._card, self._probabilities = record.card, record.options["probabilities"]
        self.inputs, self.outputs = buffer_ports(
            record.card, limits, record.options["pixels"], probabilities=self._probabilities
        )
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        if record.options["version_compatible"]:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            raise self._refused(f"{engine}: {record.compiler} cannot load it")
        if record.inspected is None:
            _keep_layers(engine, record, inspect(trt, self._engine))
        self._just_in_time = record.compiler == "tensorrt_rtx"
        self._kernels = cache_folder() / f"{key_of(record.plan_sha256, gpu.name)}.kernels"
        self._context = self._make_context(trt)
        self._shapes: dict[str, Shape] = {}
        self._scratch: CudaMemory | None = None
        if size := self._take_shapes({name: port.most for name, port in self.inputs.items()}):
            self._scratch = device.memory(size)
        self._scratch_size = size
        self.stream: CudaStream = device.stream()
        self._graphs: dict[int, CudaGraph | None] | None = {} if self.fixed and not self._just_in_time else None

    def _refused(self, what: str) -> DeviceError:
        said = f" ({self._logger.said[0]})" if self._logger.said else ""
        return DeviceError(f"{what}{said}; look at: unet-deploy doctor")

    def _take_shapes(self, shapes: Mapping[str, Shape]) -> int:
        """Tell the context the shapes of its inputs; returns the bytes of scratch memory that they take."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._refused(f"the engine refuses {name} of shape {shape}")
        self._shapes = dict(shapes)
        return int(self._context.update_device_memory_size_for_shapes())

    def _make_context(self, trt: Any) -> Any:
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._just_in_time:
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            if self.fixed:
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._compiled = config.create_runtime_cache()
            if self._kernels.is_file():  # refused by itself where it was made for another GPU, driver or version
                self._compiled.deserialize(self._kernels.read_bytes())
            config.set_runtime_cache(self._compiled)
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self._refused("the engine gives no execution context")
        return context

    def _keep_kernels(self) -> None:
        """Write down what was compiled for this GPU, so that the next start need not: up to half a minute."""
        with suppress(UnetDeployError, OSError, TypeError):  # only speed is lost
            kernels = bytes(self._compiled.serialize())
            if not self._kernels.is_file() or self._kernels.read_bytes() != kernels:
                self._kernels.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self._kernels, overwrite=True) as beside:
                    beside.write_bytes(kernels)

    def output_shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return output_shapes(self._card, inputs[IMAGE], probabilities=self._probabilities)

    def launch(self, slot: int, shapes: Mapping[str, Shape], blocks: Mapping[str, CudaMemory]) -> None:
        if self._graphs is None:
            self._enqueue(shapes, blocks)
            return
        if slot not in self._graphs:  # the first run does what a capture must not: it may allocate and load
            self._enqueue(shapes, blocks)
            self._graphs[slot] = None
            return
        graph = self._graphs[slot]
        if graph is None:
            # A launched graph keeps the addresses of its capture; a slot always comes with the same blocks.
            graph = self._graphs[slot] = CudaGraph(self.stream, lambda: self._enqueue(shapes, blocks))
        graph.launch()

    def _enqueue(self, shapes: Mapping[str, Shape], blocks: Mapping[str, CudaMemory]) -> None:
        if dict(shapes) != self._shapes and self._take_shapes(shapes) > self._scratch_size:
            raise OutOfMemoryError(f"no room for the scratch memory of {shapes[IMAGE]}")
        if self._scratch:
            self._context.set_device_memory(self._scratch.address, self._scratch_size)
        for name, block in blocks.items():
            self._context.set_tensor_address(name, block.address)
        if not self._context.execute_async_v3(self.stream.handle):
            raise self._refused("the engine cannot be run")

    def close(self) -> None:
        for graph in (self._graphs or {}).values():
            if graph:
                graph.close()
        self._graphs = {}
        if self._just_in_time:
            self._keep_kernels()
        # TensorRT frees in this order without complaint: context, engine, runtime.
        del self._context, self._engine, self._runtime
        if self._scratch:
            self._scratch.free()
            self._scratch = None


def inspect(trt: Any, engine: Any) -> dict[str, int]:
    """Layers by the type of their first output, as the engine's inspector tells; empty where it tells nothing."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    found: Counter[str] = Counter()
    with suppress(ValueError, AttributeError, KeyError, TypeError):  # the text is for people, and no API
        for layer in json.loads(text)["Layers"]:
            if outputs := layer.get("Outputs"):
                found[str(outputs[0]["Format/Datatype"])] += 1
    return dict(found)


def _keep_layers(engine: Path, record: EngineRecord, layers: dict[str, int]) -> None:
    """Add the layers to the record where it is still this engine's and its folder can be written to."""
    with suppress(UnetDeployError, OSError):
        now = read_record(engine)
        if now.plan_sha256 == record.plan_sha256:
            write_record(engine, replace(now, inspected=layers))
