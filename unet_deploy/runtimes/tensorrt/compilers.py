"""TensorRT and TensorRT for RTX: one Python API in two modules. What differs between them is in this file.

TensorRT compiles for the GPU at hand, and is what Jetson has. TensorRT for RTX compiles ahead of time for a list of
architectures, on any machine, and finishes on the user's GPU when the engine is loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from unet_deploy.errors import DeviceError, ModelError, ResourceError, UsageError, VerificationError
from unet_deploy.model.contract import IMAGE, Pixels, Precision
from unet_deploy.runtimes.tensorrt.logger import make_logger
from unet_deploy.runtimes.tensorrt.record import version_numbers
from unet_deploy.system.files import replacing
from unet_deploy.system.interrupt import held_interrupt

Name = Literal["tensorrt", "tensorrt_rtx"]
Compatibility = Literal["none", "same", "ampere"]
Batched = tuple[int, int, int]
"""(tiles, height, width) of one submission."""

OLDEST = {"tensorrt": (10, 3), "tensorrt_rtx": (1, 2)}
"""The first with all that is used here: strong typing, and scratch memory of our own. 10.3 is JetPack 6.1's."""


_COMPATIBILITY = {"same": "SAME_COMPUTE_CAPABILITY", "ampere": "AMPERE_PLUS"}


@dataclass(frozen=True)
class Profile:
    """The submissions that an engine takes, and the one that it is tuned for."""

    least: Batched
    best: Batched
    most: Batched

    @classmethod
    def of(cls, batch: int, height: int, width: int) -> Profile:
        return cls(*[(batch, height, width)] * 3)

    @property
    def fixed(self) -> bool:
        return self.least == self.most


@dataclass(frozen=True)
class BuildOptions:
    """What to compile, and for what."""

    profile: Profile
    precision: Precision = "fp16"
    pixels: Pixels = "uint8"
    probabilities: bool = False
    targets: tuple[str, ...] = ()
    """Architectures to compile for ahead of time, ("sm86", "sm89"); none is the GPU at hand."""
    workspace: int | None = None
    """Bytes of scratch memory on the GPU."""
    optimization_level: int | None = None
    compatibility: Compatibility = "none"
    """Other GPUs that may run it: none, the same compute capability, or all from Ampere on."""
    version_compatible: bool = False

    def to_plain(self) -> dict[str, Any]:
        """As it is written down: JSON knows no tuples."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Plan:
    """What a compiler made."""

    data: bytes
    layers: dict[str, int]
    """Convolutions and their kin by the type they compute in, {"fp16": 23}."""


class Compiler:
    """One of the two. Raises DeviceError when it is not installed or too old."""

    def __init__(self, name: Name) -> None:
        self.name: Name = name
        extra = name.replace("_", "-")
        if find_spec(name) is None:
            raise DeviceError(f"{name} is not installed; run: pip install 'unet-deploy[{extra}]'")
        try:
            self.trt: Any = import_module(name)
        except Exception as error:  # a missing driver or library comes as any of several types
            raise DeviceError(f"{name} cannot be loaded ({_one_line(error)}); run: unet-deploy doctor") from error
        self.version = str(self.trt.__version__)
        if version_numbers(self.version) < OLDEST[name]:
            oldest = ".".join(map(str, OLDEST[name]))
            raise DeviceError(f"{name} {self.version} is too old; install {oldest} or later")

    @property
    def ahead_of_time(self) -> bool:
        """Whether it compiles for GPUs that are not here."""
        return self.name == "tensorrt_rtx"

    def check(self, options: BuildOptions) -> None:
        """Raise UsageError for options that this compiler does not have."""
        if not self.ahead_of_time:
            if options.targets:
                raise UsageError("--target: TensorRT compiles for the GPU at hand; use --compiler tensorrt_rtx")
            level = _COMPATIBILITY.get(options.compatibility, "NONE")
            if level not in self.trt.HardwareCompatibilityLevel.__members__:
                raise DeviceError(
                    f"--hardware-compatibility {options.compatibility}: TensorRT {self.version} does not have it"
                )
            return
        known = [name.lower() for name in self.trt.ComputeCapability.__members__ if name.startswith("SM")]
        for target in options.targets:
            if target not in known:
                raise DeviceError(f"--target {target}: {self.name} {self.version} knows {', '.join(sorted(known))}")
        if options.compatibility != "none" or options.version_compatible:
            raise UsageError(
                "--hardware-compatibility and --version-compatible are TensorRT's; "
                "TensorRT for RTX takes several architectures: --target sm86,sm89,sm120"
            )

    def build(
        self,
        model: onnx.ModelProto,
        options: BuildOptions,
        *,
        timing_cache: Path | None = None,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> Plan:
        """Compile a lowered model.

        timing_cache: a file of kernel timings to use again; it is made where it is not there.
        Raises ModelError with the parser's words, ResourceError, DeviceError, and VerificationError where the
        network does not have the precision that was asked for.
        """
        self.check(options)
        trt, log = self.trt, make_logger(self.trt)
        builder = trt.Builder(log)
        network = builder.create_network(self._network_flags())
        parser = trt.OnnxParser(network, log)
        if not parser.parse(model.SerializeToString()):
            raise ModelError(f"{self.name} {self.version} cannot compile this model: {_parser_says(parser)}")
        layers = self._layers(network, options)
        config = builder.create_builder_config()
        self._configure(config, options)
        if not options.profile.fixed:
            config.add_optimization_profile(_trt_profile(builder, model, options.profile))
        cache = self._use_timing_cache(config, timing_cache)
        with held_interrupt() as interrupted:
            config.progress_monitor = _monitor(trt, progress, interrupted)
            plan = builder.build_serialized_network(network, config)
            if interrupted():
                raise KeyboardInterrupt
        if plan is None:
            self._explain(log.said, options)
        if cache and timing_cache:
            with replacing(timing_cache, overwrite=True) as beside:
                beside.write_bytes(config.get_timing_cache().serialize())
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
        if options.targets:
            config.num_compute_capabilities = len(options.targets)
            for index, target in enumerate(options.targets):
                config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
        if options.precision == "fp32":
            config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not float32
        if options.compatibility != "none":
            level = getattr(trt.HardwareCompatibilityLevel, _COMPATIBILITY[options.compatibility])
            config.hardware_compatibility_level = level
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)

    def _layers(self, network: Any, options: BuildOptions) -> dict[str, int]:
        """Count the heavy layers by type. In a strongly typed network the type of a layer is what it computes in."""
        trt = self.trt
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
        if not found[options.precision] or (options.precision == "fp16" and set(found) != {"fp16"}):
            has = ", ".join(f"{count} in {kind}" for kind, count in found.items() if count) or "none"
            raise VerificationError(f"asked for {options.precision}, but the layers of the network are: {has}")
        return {kind: count for kind, count in found.items() if count}

    def _use_timing_cache(self, config: Any, file: Path | None) -> bool:
        """Kernel timings are TensorRT's alone: TensorRT for RTX times nothing when it compiles."""
        if file is None or self.ahead_of_time:
            return False
        cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
        return bool(config.set_timing_cache(cache, ignore_mismatch=False))

    def _explain(self, said: list[str], options: BuildOptions) -> None:
        short = [line for line in said if "memory" in line.lower() or "workspace" in line.lower()]
        text = (short or said or ["no reason given"])[0]
        tiles, height, width = options.profile.most
        if short:
            raise ResourceError(
                f"{self.name}: no room to compile {tiles} tiles of {height} x {width} pixels ({text}); "
                "take more --workspace, or a smaller --tile-size or --batch-size"
            )
        if "cuda" in text.lower():
            raise DeviceError(f"{self.name}: needs a GPU here ({text}); compile ahead of time with --target sm86,sm89")
        raise DeviceError(f"{self.name} {self.version} cannot compile this model ({text})")


def find_compiler(name: str = "auto", *, targets: bool = False) -> Compiler:
    """The compiler by name; auto is TensorRT, or TensorRT for RTX where that is installed or targets are given."""
    if name not in ("auto", *get_args(Name)):
        raise UsageError(f"--compiler {name}: there are {', '.join(get_args(Name))} and auto")
    if name in get_args(Name):
        return Compiler(name)  # type: ignore[arg-type]
    order: tuple[Name, ...] = ("tensorrt_rtx",) if targets else ("tensorrt", "tensorrt_rtx")
    installed = [each for each in order if find_spec(each)]
    if not installed:
        extras = " or ".join(f"'unet-deploy[{each.replace('_', '-')}]'" for each in order)
        raise DeviceError(f"no compiler for engines is installed; run: pip install {extras}")
    return Compiler(installed[0])


def _trt_profile(builder: Any, model: onnx.ModelProto, profile: Profile) -> Any:
    """The range of shapes of every input: the image as the profile says, the others by its batch."""
    made = builder.create_optimization_profile()
    for port in model.graph.input:
        dims = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        shapes = []
        for tiles, height, width in (profile.least, profile.best, profile.most):
            shapes.append((tiles, dims[1], height, width, *dims[4:]) if port.name == IMAGE else (tiles, *dims[1:]))
        made.set_shape(port.name, *shapes)
    return made


def _parser_says(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        return "the parser gives no reason"
    node = f"node {errors[0].node_name()!r} ({errors[0].node_operator()}): " if errors[0].node_name() else ""
    return node + _one_line(errors[0].desc())


def _monitor(trt: Any, progress: Callable[[int, int, str], None] | None, interrupted: Callable[[], bool]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Shows the outermost phase as the bar and the innermost as its title; ends the build on Ctrl-C.

        The compiler calls it from several threads.
        """

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.outer = ""
            self.steps = 1

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.outer, self.steps = phase, max(1, steps)
            self._tell(0, phase)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase == self.outer:
                self._tell(step + 1, phase)
            return not interrupted()

        def phase_finish(self, phase: str) -> None:
            if phase == self.outer:
                self._tell(self.steps, phase)

        def _tell(self, step: int, title: str) -> None:
            if progress:
                progress(step, self.steps, title)

    return Monitor()


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
