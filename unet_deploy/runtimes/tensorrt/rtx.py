"""TensorRT for RTX, where it differs from TensorRT.

It compiles ahead of time for a list of architectures, on any machine, and finishes on the user's GPU when the engine is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from unet_deploy.errors import DeviceError, UnetDeployError, UsageError
from unet_deploy.runtimes.ring import Shape
from unet_deploy.runtimes.tensorrt.compiler import Compiler, RunsOn
from unet_deploy.runtimes.tensorrt.library import Name
from unet_deploy.runtimes.tensorrt.options import BuildOptions, capability_of
from unet_deploy.runtimes.tensorrt.program import TensorRtProgram
from unet_deploy.system.cache import cache_folder, key_of
from unet_deploy.system.files import replacing
from unet_deploy.system.gpu import Gpu

if TYPE_CHECKING:
    from unet_deploy.runtimes.cuda.device import CudaMemory


class RtxCompiler(Compiler):
    """The compiler of TensorRT for RTX. Raises DeviceError when it is not installed or too old."""

    name: ClassVar[Name] = "tensorrt_rtx"
    without_gpu: ClassVar[str] = "name what to compile for: --target sm86,sm89"
    takes: ClassVar[str] = "under a minute"

    def with_timings(self, file: Path | None) -> Self:
        """Itself: kernels are timed on the user's GPU, and none when it compiles."""
        return self

    def check(self, options: BuildOptions) -> None:
        known = [name.lower() for name in self.trt.ComputeCapability.__members__ if name.startswith("SM")]
        for target in options.targets:
            if target not in known:
                raise DeviceError(f"--target {target}: {self.name} {self.version} knows {', '.join(sorted(known))}")
        if options.compatibility != "none" or options.version_compatible:
            raise UsageError(
                "--hardware-compatibility and --version-compatible are TensorRT's; "
                "TensorRT for RTX takes several architectures: --target sm86,sm89,sm120"
            )

    def runs_on(self, options: BuildOptions, gpu: Gpu | None) -> RunsOn:
        if options.targets:
            return RunsOn("", tuple(map(capability_of, options.targets)))
        return super().runs_on(options, gpu)

    def _widen(self, config: Any, options: BuildOptions) -> None:
        if options.targets:
            config.num_compute_capabilities = len(options.targets)
            for index, target in enumerate(options.targets):
                config.set_compute_capability(getattr(self.trt.ComputeCapability, target.upper()), index)


class RtxProgram(TensorRtProgram):
    """An engine that is finished for this GPU when it is loaded; what was finished is kept for the next start."""

    @property
    def _kernels(self) -> Path:
        return cache_folder() / f"{key_of(self._record.plan_sha256, self._gpu.name)}.kernels"

    def _make_context(self, trt: Any, strategy: Any) -> Any:
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        if self.fixed:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._compiled = config.create_runtime_cache()
        if self._kernels.is_file():  # refused by itself where it was made for another GPU, driver or version
            self._compiled.deserialize(self._kernels.read_bytes())
        config.set_runtime_cache(self._compiled)
        return self._engine.create_execution_context(config)

    def launch(self, slot: int, shapes: Mapping[str, Shape], blocks: Mapping[str, CudaMemory]) -> None:
        self._enqueue(shapes, blocks)  # which captures a graph by itself where shapes are fixed

    def close(self) -> None:
        self._keep_kernels()
        super().close()

    def _keep_kernels(self) -> None:
        """Write down what was compiled for this GPU, so that the next start need not: up to half a minute."""
        with suppress(UnetDeployError, OSError, TypeError):  # only speed is lost
            kernels = bytes(self._compiled.serialize())
            if not self._kernels.is_file() or self._kernels.read_bytes() != kernels:
                self._kernels.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self._kernels, overwrite=True) as beside:
                    beside.write_bytes(kernels)
