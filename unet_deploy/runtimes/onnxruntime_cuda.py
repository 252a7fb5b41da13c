"""ONNX Runtime's CUDA provider on the ring: our pinned buffers, our streams, its kernels."""

from __future__ import annotations

from collections.abc import Callable

from unet_deploy.model.contract import Pixels, Precision
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import ModelFile
from unet_deploy.runtimes import DEFAULT_TILE, Limits
from unet_deploy.runtimes.cuda import CudaDevice
from unet_deploy.runtimes.onnx_program import CUDA_PROVIDER, OnnxProgram, check_cuda_provider
from unet_deploy.runtimes.ring import Marks
from unet_deploy.runtimes.streamed import SLOTS, StreamedRuntime
from unet_deploy.stream.proof import Proof
from unet_deploy.system.gpu import Gpu


def open_onnx_on_cuda(
    model: ModelFile,
    gpu: Gpu,
    *,
    precision: Precision = "fp16",
    pixels: Pixels = "float32",
    probabilities: bool = False,
    tile_size: int | None = None,
    batch_size: int = 1,
    slots: int = SLOTS,
    proof: Proof | None = None,
    watch: Callable[[Marks], None] | None = None,
) -> StreamedRuntime:
    """A model on an NVIDIA GPU. Raises DeviceError where the provider cannot be loaded: never a silent CPU."""
    version = check_cuda_provider()
    lowered = lower(model, precision=precision, pixels=pixels, probabilities=probabilities).SerializeToString()
    card, side = model.card, tile_size or DEFAULT_TILE
    cuda = CudaDevice(gpu.index)

    def open_program(limits: Limits) -> OnnxProgram:
        stream = cuda.stream()
        options = {
            "device_id": str(gpu.index),
            "user_compute_stream": str(stream.handle),
            "use_tf32": "0",  # 10 bits of mantissa are not float32
            "arena_extend_strategy": "kSameAsRequested",  # doubling would take what the slots need
            "cudnn_conv_algo_search": "HEURISTIC",  # an image has up to four shapes of tiles; a search is for each
        }
        provider = (CUDA_PROVIDER, options)
        return OnnxProgram(
            model.path, lowered, stream, provider, "cuda", gpu.index, limits, pixels=pixels, probabilities=probabilities
        )

    return StreamedRuntime(
        card,
        f"ONNX Runtime {version} {precision} on {gpu.name}",
        cuda,
        open_program,
        Limits(batch_size, (card.base, card.base), (side, side), hard=True),
        pixels=pixels,
        probabilities=probabilities,
        slots=slots,
        weights_sha256=model.weights_sha256,
        proof=proof,
        watch=watch,
    )
