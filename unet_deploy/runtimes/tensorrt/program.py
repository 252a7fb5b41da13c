"""A TensorRT engine as a program of the ring."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_deploy.errors import DeviceError, UnetDeployError
from unet_deploy.model.contract import IMAGE
from unet_deploy.runtimes import Limits, OutOfMemoryError
from unet_deploy.runtimes.ring import Shape
from unet_deploy.runtimes.streamed import buffer_ports, output_shapes
from unet_deploy.runtimes.tensorrt.logger import make_logger
from unet_deploy.runtimes.tensorrt.record import EngineRecord, read_record, write_record
from unet_deploy.system.gpu import Gpu

if TYPE_CHECKING:
    from unet_deploy.runtimes.cuda.device import CudaDevice, CudaMemory, CudaStream
    from unet_deploy.runtimes.cuda.graph import CudaGraph


class TensorRtProgram:
    """A deserialised engine with one execution context, whose scratch memory is taken once.

    Submissions run one after another on one stream. Where shapes are fixed, each slot's launch is a CUDA graph.
    """

    def __init__(
        self, device: CudaDevice, trt: Any, engine: Path, record: EngineRecord, gpu: Gpu, limits: Limits
    ) -> None:
        self.fixed = record.limits.fixed
        self._record, self._gpu = record, gpu
        options = record.options
        self.inputs, self.outputs = buffer_ports(
            record.card, limits, options.pixels, probabilities=options.probabilities
        )
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        if options.version_compatible:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            raise self._refused(f"{engine}: {record.compiler} cannot load it")
        if record.inspected is None:
            _keep_layers(engine, record, inspect(trt, self._engine))
        self._context = self._make_context(trt, trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if self._context is None:
            raise self._refused("the engine gives no execution context")
        self._shapes: dict[str, Shape] = {}
        self._scratch: CudaMemory | None = None
        if size := self._take_shapes({name: port.most for name, port in self.inputs.items()}):
            self._scratch = device.memory(size)
        self._scratch_size = size
        self.stream: CudaStream = device.stream()
        self._graphs: dict[int, CudaGraph | None] = {}

    def _make_context(self, trt: Any, strategy: Any) -> Any:
        """An execution context whose scratch memory is ours to give; None where there is none to be had."""
        return self._engine.create_execution_context(strategy)

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

    def output_shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return output_shapes(self._record.card, inputs[IMAGE], probabilities=self._record.options.probabilities)

    def launch(self, slot: int, shapes: Mapping[str, Shape], blocks: Mapping[str, CudaMemory]) -> None:
        if not self.fixed:
            self._enqueue(shapes, blocks)
            return
        if slot not in self._graphs:  # the first run does what a capture must not: it may allocate and load
            self._enqueue(shapes, blocks)
            self._graphs[slot] = None
            return
        graph = self._graphs[slot]
        if graph is None:
            from unet_deploy.runtimes.cuda.graph import CudaGraph  # a binding, which compiling does not need

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
        for graph in self._graphs.values():
            if graph:
                graph.close()
        self._graphs = {}
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
