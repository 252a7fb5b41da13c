"""ONNX Runtime's CUDA provider on the ring: our pinned buffers, our streams, its kernels."""

from __future__ import annotations

from pathlib import Path

from unet_deploy.model.changed import read_to_run
from unet_deploy.model.lower import lower
from unet_deploy.runtimes import DEFAULT_TILE, Identity, Limits, scaled_side
from unet_deploy.runtimes.onnx_program import CUDA_PROVIDER, OnnxProgram, Place, check_cuda_provider
from unet_deploy.runtimes.proved import opened
from unet_deploy.runtimes.request import Opened, Request, graph_precision
from unet_deploy.runtimes.streamed import StreamedRuntime
from unet_deploy.system.cache import key_of
from unet_deploy.system.gpu import find_gpu
from unet_deploy.system.progress import Progress


def open_on_cuda(path: Path, request: Request, _: Progress | None = None) -> Opened:
    """Open a model as the table's row says, to be proved. Raises ModelError and DeviceError."""
    version, gpu = check_cuda_provider(), find_gpu(request.gpu_index)
    # After the check: the wrong ONNX Runtime is said before a driver that is not there.
    from unet_deploy.runtimes.cuda.device import (
        CudaDevice,
    )  # after the check: the wrong ONNX Runtime is said before a driver

    model = read_to_run(path, request.change)
    card, precision = model.card, graph_precision(request, model.quantized)
    pixels, probabilities = request.pixels, request.probabilities
    graph = lower(model, precision=precision, pixels=pixels, probabilities=probabilities).SerializeToString()
    cuda = CudaDevice(gpu.index)

    def open_program(limits: Limits) -> OnnxProgram:
        stream = cuda.stream()
        settings = {
            "device_id": str(gpu.index),
            "user_compute_stream": str(stream.handle),
            "use_tf32": "0",  # 10 bits of mantissa are not float32
            "arena_extend_strategy": "kSameAsRequested",  # doubling would take what the slots need
            "cudnn_conv_algo_search": "HEURISTIC",  # an image has up to four shapes of tiles; a search is for each
        }
        place = Place(CUDA_PROVIDER, settings, "cuda", gpu.index)
        return OnnxProgram(path, graph, stream, place, limits, pixels=pixels, probabilities=probabilities)

    side = request.tile_size or scaled_side(DEFAULT_TILE, request.scale, card)
    runtime = StreamedRuntime(
        Identity(card, f"ONNX Runtime {version} {precision} on {gpu.name}", model.weights_sha256),
        cuda,
        open_program,
        Limits(request.batch_size, (card.base, card.base), (side, side), hard=True),
        pixels=pixels,
        probabilities=probabilities,
    )
    facts = (version, gpu.name, precision, pixels, probabilities)
    return opened(runtime, key_of(model.weights_sha256, "onnxruntime", *facts))
