"""The compiler of TensorRT: from a lowered model to a plan, for the GPU at hand. It is what Jetson has.

What TensorRT for RTX does otherwise is in rtx.py, as methods that it overrides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from unet_deploy.errors import (
    DeviceError,
    ModelError,
    ResourceError,
    UnetDeployError,
    UsageError,
    VerificationError,
    reason,
)
from unet_deploy.model.contract import IMAGE, Precision
from unet_deploy.runtimes.tensorrt.library import Name, load
from unet_deploy.runtimes.tensorrt.logger import make_logger
from unet_deploy.runtimes.tensorrt.monitor import make_monitor
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.system.files import replacing
from unet_deploy.system.gpu import Gpu, find_gpu
from unet_deploy.system.interrupt import held_interrupt
from unet_deploy.system.progress import Progress

if TYPE_CHECKING:
    import onnx

_COMPATIBILITY = {"same": "SAME_COMPUTE_CAPABILITY", "ampere": "AMPERE_PLUS"}
"""What TensorRT calls the GPUs, other than the one at hand, that may run an engine."""


@dataclass(frozen=True)
class Plan:
    """What a compiler made."""

    data: bytes
    layers: dict[str, int]
    """Convolutions and their kin by the type they compute in, {"fp16": 23}."""


@dataclass(frozen=True)
class RunsOn:
    """The GPUs that an engine runs on."""

    gpu: str
    """Name of the one that it was compiled for, empty where it was compiled ahead of time."""
    capabilities: tuple[str, ...]
    """Compute capabilities, ("8.6",)."""


class Compiler:
    """TensorRT. Raises DeviceError when it is not installed or too old."""

    name: ClassVar[Name] = "tensorrt"
    without_gpu: ClassVar[str] = "to compile ahead of time take --compiler tensorrt_rtx --target sm86,sm89"
    """The remedy where there is no GPU to compile for."""
    takes: ClassVar[str] = "some minutes"
    """How long it compiles a model, in words."""
    timing_cache: Path | None = None

    def __init__(self) -> None:
        self.trt: Any = load(self.name)
        self.version = str(self.trt.__version__)

    def with_timings(self, file: Path | None) -> Self:
        """The same compiler with a file of kernel timings to use again; it is made where it is not there."""
        other = copy(self)
        other.timing_cache = file
        return other

    def check(self, options: BuildOptions) -> None:
        """Raise UsageError or DeviceError for options that this compiler does not have."""
        if options.targets:
            raise UsageError("--target: TensorRT compiles for the GPU at hand; use --compiler tensorrt_rtx")
        level = _COMPATIBILITY.get(options.compatibility, "NONE")
        if level not in self.trt.HardwareCompatibilityLevel.__members__:
            raise DeviceError(
                f"--hardware-compatibility {options.compatibility}: TensorRT {self.version} does not have it"
            )

    def runs_on(self, options: BuildOptions, gpu: Gpu | None) -> RunsOn:
        """What an engine with these options will run on; gpu is the one at hand, by default the first.

        Raises DeviceError where there is none to compile for.
        """
        try:
            here = gpu or find_gpu()
        except DeviceError as error:
            raise DeviceError(
                f"{self.name} compiles for the GPU at hand, but there is {error}; {self.without_gpu}"
            ) from error
        return RunsOn(here.name, (here.capability,))

    def build(self, model: onnx.ModelProto, options: BuildOptions, *, progress: Progress | None = None) -> Plan:
        """Compile a lowered model.

        Raises ModelError with the parser's words, ResourceError, DeviceError, VerificationError where the network
        does not have the precision that was asked for, and KeyboardInterrupt once the compiler has let go.
        """
        self.check(options)
        log = make_logger(self.trt)
        builder = self.trt.Builder(log)
        network = builder.create_network(self._network_flags())
        parser = self.trt.OnnxParser(network, log)
        if not parser.parse(model.SerializeToString()):
            raise ModelError(f"{self.name} {self.version} cannot compile this model: {_parser_says(parser)}")
        layers = count_layers(self.trt, network)
        check_precision(layers, options.precision)
        config = builder.create_builder_config()
        self._configure(config, options)
        if not options.profile.fixed:
            config.add_optimization_profile(_trt_profile(builder, model, options.profile))
        with self._timings(config), held_interrupt() as interrupted:
            config.progress_monitor = make_monitor(self.trt, progress, interrupted)
            plan = builder.build_serialized_network(network, config)
            if interrupted():
                raise KeyboardInterrupt
            if plan is None:
                raise self._refusal(log.said, options)
        return Plan(bytes(plan), layers)

    def _network_flags(self) -> int:
        # From TensorRT 11 on every network is strongly typed, and the flag may be gone.
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def _configure(self, config: Any, options: BuildOptions) -> None:
        trt = self.trt
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the engine could not tell its precision
        if options.precision == "fp32":
            config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not float32
        self._widen(config, options)

    def _widen(self, config: Any, options: BuildOptions) -> None:
        """Let other GPUs and versions run the engine."""
        if options.compatibility != "none":
            level = getattr(self.trt.HardwareCompatibilityLevel, _COMPATIBILITY[options.compatibility])
            config.hardware_compatibility_level = level
        if options.version_compatible:
            config.set_flag(self.trt.BuilderFlag.VERSION_COMPATIBLE)

    @contextmanager
    def _timings(self, config: Any) -> Iterator[None]:
        """Use the kernel timings again, and write them down with the new ones once the build is done."""
        file = self.timing_cache
        if file is None:
            yield
            return
        cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
        used = config.set_timing_cache(cache, ignore_mismatch=False)
        yield
        if used:
            with replacing(file, overwrite=True) as beside:
                beside.write_bytes(config.get_timing_cache().serialize())

    def _refusal(self, said: list[str], options: BuildOptions) -> UnetDeployError:
        """The error for a build that gave no plan, from what the compiler said meanwhile."""
        short = [line for line in said if "memory" in line.lower() or "workspace" in line.lower()]
        text = (short or said or ["no reason given"])[0]
        tiles, height, width = options.profile.max
        if short:
            return ResourceError(
                f"{self.name}: no room to compile {tiles} tiles of {height} x {width} pixels ({text}); "
                "take more --workspace, or a smaller --tile-size or --batch-size"
            )
        if "cuda" in text.lower():
            return DeviceError(f"{self.name}: needs a GPU here ({text}); {self.without_gpu}")
        return DeviceError(f"{self.name} {self.version} cannot compile this model ({text})")


def count_layers(trt: Any, network: Any) -> dict[str, int]:
    """The heavy layers of a network by type. In a strongly typed one the type of a layer is what it computes in."""
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    names = {trt.float32: "fp32", trt.float16: "fp16", trt.bfloat16: "bf16"}
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(at).name: layer for layer in layers for at in range(layer.num_outputs)}
    found: Counter[str] = Counter()
    for layer in layers:
        if layer.type in heavy:
            maker = makers.get(layer.get_input(0).name)
            quantized = maker is not None and maker.type == trt.LayerType.DEQUANTIZE
            found["int8" if quantized else names.get(layer.get_output(0).dtype, "other")] += 1
    return dict(found)


def check_precision(layers: dict[str, int], precision: Precision) -> None:
    """Raise VerificationError unless heavy layers compute in this precision, and for fp16 all of them."""
    if precision not in layers or (precision == "fp16" and set(layers) != {"fp16"}):
        has = ", ".join(f"{count} in {kind}" for kind, count in layers.items()) or "none"
        raise VerificationError(f"asked for {precision}, but the layers of the network are: {has}")


def _trt_profile(builder: Any, model: onnx.ModelProto, profile: Profile) -> Any:
    """The range of shapes of every input: the image as the profile says, the others by its batch."""
    made = builder.create_optimization_profile()
    for port in model.graph.input:
        dims = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        shapes = []
        for tiles, height, width in (profile.min, profile.opt, profile.max):
            shapes.append((tiles, dims[1], height, width, *dims[4:]) if port.name == IMAGE else (tiles, *dims[1:]))
        made.set_shape(port.name, *shapes)
    return made


def _parser_says(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        return "the parser gives no reason"
    node = f"node {errors[0].node_name()!r} ({errors[0].node_operator()}): " if errors[0].node_name() else ""
    return node + reason(errors[0].desc())
