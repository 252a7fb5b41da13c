"""Which model file to use, and what runs it on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.errors import DeviceError, ModelError, UnetDeployError, UsageError, VerificationError
from unet_deploy.model.contract import Pixels
from unet_deploy.runtimes import DEFAULT_TILE, Runtime

if TYPE_CHECKING:
    from unet_deploy.model.card import ModelCard
    from unet_deploy.model.contract import Precision
    from unet_deploy.model.lower import Model
    from unet_deploy.runtimes.agreement import Accuracy
    from unet_deploy.runtimes.tensorrt.record import EngineRecord
    from unet_deploy.stream.proof import Proof
    from unet_deploy.system.gpu import Gpu

DEFAULT_MODEL = "nuclei"
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_ON_GPU = ("tensorrt", "tensorrt_rtx", "onnxruntime")
"""What auto tries on a GPU, the fastest first."""


def find_model(model: str | Path | None = None) -> Path:
    """The file of a model: a path, or the name of a shipped one (by default `nuclei`). Raises ModelError."""
    given = Path(model or DEFAULT_MODEL)
    if given.suffix or given.exists():
        if not given.is_file():
            raise ModelError(f"{given}: no such model file")
        return given
    shipped = shipped_models()
    if given.name not in shipped:
        raise ModelError(f"{given}: neither a file nor a shipped model; shipped: {', '.join(shipped) or 'none'}")
    return shipped[given.name]


def card_of(model: Path) -> ModelCard:
    """The card of a model file or an engine. Raises ModelError."""
    from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, read_record

    if model.suffix in ENGINE_SUFFIXES:
        return read_record(model).card
    with open_model(model, device="cpu") as ready:
        return ready.card


def shipped_models() -> dict[str, Path]:
    """Shipped model files by name."""
    package = Path(__file__).parent
    folder = package / "engines"
    if not folder.is_dir():  # a checkout keeps them beside the package, a wheel inside it
        folder = package.parent / "engines"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


@dataclass(frozen=True)
class Wish:
    """How a model is to be run; None and auto leave the choice to us."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    runtime: str = "auto"
    precision: str | None = None
    """fp32, fp16 on a GPU, bf16 on a CPU, int8 of a quantized model; by default int8, fp32 on a CPU, fp16 on a GPU."""
    probabilities: bool = False
    pixels: Pixels = "float32"
    """The widest pixels that will come."""
    tile_size: int | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
            raise UsageError(f"--device {self.device}: there are auto, cpu, cuda and cuda:N")
        if self.runtime not in ("auto", *RUNTIMES):
            raise UsageError(f"--runtime {self.runtime}: there are auto, {', '.join(RUNTIMES)}")
        if self.precision not in (None, *PRECISIONS):
            raise UsageError(f"--precision {self.precision}: there are {', '.join(PRECISIONS)}")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: take at least 1")

    @property
    def gpu_index(self) -> int:
        return int(self.device.partition(":")[2] or 0)


def open_model(
    model: str | Path | None = None,
    *,
    probabilities: bool = False,
    device: str = "auto",
    runtime: str = "auto",
    precision: str | None = None,
    tile_size: int | None = None,
    batch_size: int = 1,
    pixels: Pixels = "float32",
    tell: Callable[[str], None] | None = None,
) -> Runtime:
    """Load a model or an engine, by path or shipped name, on the best runtime of this machine.

    probabilities: let it answer with class probabilities as well as with labels.
    device: auto, cpu, cuda or cuda:N; auto falls back from a GPU to the CPU and says so, cuda never does.
    runtime: auto, onnxruntime, openvino, tensorrt or tensorrt_rtx; auto is the fastest that is installed.
    precision: fp32, fp16 (on a GPU), bf16 (OpenVINO) or int8 (a quantized model); by default fp32 on a CPU, fp16 on a
    GPU, and int8 of a model that was quantized and proved. All but fp32 are compared with it on their first image.
    pixels: the widest pixels that will come, which makes a GPU's bus faster: uint8, uint16 or float32.
    tell: called with a line on what was chosen instead, and why.
    Use it as a context manager and pass it to `segment` to load once for many images. Raises ModelError,
    DeviceError and UsageError.
    """
    from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES

    wish = Wish(device, runtime, precision, probabilities, pixels, tile_size, batch_size)
    path = find_model(model)
    if path.suffix in ENGINE_SUFFIXES:
        return _open_engine_file(path, wish)
    for_cpu = runtime == "openvino" or precision == "bf16"
    if device == "cpu" or (device == "auto" and (for_cpu or not _has_gpu())):
        return _open_on_cpu(path, wish)
    try:
        return _open_on_gpu(path, wish)
    except DeviceError as error:
        if device != "auto" or runtime not in ("auto", "onnxruntime"):
            raise
        if tell:
            tell(f"note: using the CPU: {error}")
    return _open_on_cpu(path, wish)


def choice() -> str:
    """What auto takes on this machine, in words; nothing is compiled to know. Raises DeviceError."""
    from unet_deploy.system.gpu import find_gpus

    with suppress(DeviceError):
        name = find_gpus()[0].name
        if find_spec("pycuda") and find_spec("onnx"):
            for runtime in ("tensorrt", "tensorrt_rtx"):
                if find_spec(runtime):
                    return f"{runtime} on {name}"
            from unet_deploy.runtimes.onnx_program import check_cuda_provider

            return f"ONNX Runtime {check_cuda_provider()} on {name}"
    with open_model(device="cpu") as ready:
        return ready.name


def _has_gpu() -> bool:
    from unet_deploy.system.gpu import find_gpus

    with suppress(DeviceError):
        return bool(find_gpus())
    return False


def _open_on_cpu(path: Path, wish: Wish) -> Runtime:
    if wish.runtime not in ("auto", "onnxruntime", "openvino"):
        raise DeviceError(f"--runtime {wish.runtime}: runs on an NVIDIA GPU, and --device {wish.device} is none")
    if wish.precision == "fp16":
        raise UsageError("--precision fp16: is no faster than fp32 on a CPU; take bf16, or --device cuda")
    if wish.runtime == "openvino" or wish.precision == "bf16" or (wish.runtime == "auto" and find_spec("openvino")):
        ready = _open_openvino(path, wish)
    else:
        from unet_deploy.runtimes.onnxruntime import OnnxRuntime

        ready = OnnxRuntime(path, probabilities=wish.probabilities, tile_size=wish.tile_size)
    has = ready.card.precision
    if wish.precision and (wish.precision == "int8") != (has == "int8"):
        ready.close()
        remedy = "make it with: unet-deploy quantize" if has == "fp32" else "give the model that it was made from"
        raise UsageError(f"--precision {wish.precision}: {path} is of {has} layers; {remedy}")
    return ready


def _open_openvino(path: Path, wish: Wish) -> Runtime:
    """OpenVINO, which is faster than ONNX Runtime at every precision and takes less memory."""
    from unet_deploy.runtimes.openvino import OpenVinoRuntime, version

    if wish.runtime == "onnxruntime":
        raise UsageError("--precision bf16: ONNX Runtime does not have it on a CPU; leave --runtime out")
    proof = None
    if wish.precision == "bf16":
        from unet_deploy.runtimes.tensorrt.cache import key_of
        from unet_deploy.system.machine import processor_name

        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        proof = _remembered_proof(path, key_of(digest, "openvino", version(), processor_name(), "bf16"))
    return OpenVinoRuntime(
        path,
        precision="bf16" if wish.precision == "bf16" else "fp32",
        pixels=wish.pixels,
        probabilities=wish.probabilities,
        tile_size=wish.tile_size,
        proof=proof,
    )


def _remembered_proof(path: Path, key: str) -> Proof | None:
    """What is still to be shown against the model: nothing, once it was kept under this key."""
    from unet_deploy.runtimes.tensorrt.cache import keep_accuracy, kept_accuracy
    from unet_deploy.stream.proof import Proof

    kept = kept_accuracy(key)
    return None if kept and kept.holds else Proof(partial(_reference, path), partial(keep_accuracy, key))


def _open_on_gpu(path: Path, wish: Wish) -> Runtime:
    from unet_deploy.system.gpu import find_gpu

    if wish.precision == "bf16" or wish.runtime == "openvino":
        raise UsageError("bf16 and OpenVINO are for CPUs; take --device cpu, or --precision fp16")
    gpu = find_gpu(wish.gpu_index)
    reasons = []
    for runtime in _ON_GPU if wish.runtime == "auto" else (wish.runtime,):
        try:
            if wish.runtime == "auto" and not find_spec(runtime):
                raise DeviceError(f"{runtime} is not installed")
            if runtime == "onnxruntime":
                return _open_onnx_on_cuda(path, wish, gpu)
            return _compile_and_open(path, wish, gpu, runtime)
        except DeviceError as error:
            if wish.runtime != "auto":
                raise
            reasons.append(str(error))
    raise DeviceError(f"no runtime works on {gpu.name}: {'; '.join(reasons)}")


def _open_onnx_on_cuda(path: Path, wish: Wish, gpu: Gpu) -> Runtime:
    from unet_deploy.runtimes.onnx_program import check_cuda_provider

    version = check_cuda_provider()
    from unet_deploy.model.lower import read_model
    from unet_deploy.runtimes.onnxruntime_cuda import open_onnx_on_cuda
    from unet_deploy.runtimes.tensorrt.cache import key_of

    model = read_model(path)
    precision = _gpu_precision(wish, model)
    facts = (version, gpu.name, precision, wish.pixels, wish.probabilities)
    key = key_of(model.weights_sha256, "onnxruntime", *facts)
    return open_onnx_on_cuda(
        model,
        gpu,
        precision=precision,
        pixels=wish.pixels,
        probabilities=wish.probabilities,
        tile_size=wish.tile_size,
        batch_size=wish.batch_size,
        proof=_remembered_proof(path, key),
    )


def _gpu_precision(wish: Wish, model: Model) -> Precision:
    """What was asked for; by default 8 bits of a quantized model and half precision of any other."""
    if wish.precision is None:
        return "int8" if model.quantized else "fp16"
    return wish.precision  # type: ignore[return-value]


def _compile_and_open(path: Path, wish: Wish, gpu: Gpu, compiler_name: str) -> Runtime:
    """The model's engine for this GPU, out of the cache or compiled now."""
    from unet_deploy.cli.progress import progress_bar
    from unet_deploy.model.lower import read_model
    from unet_deploy.runtimes.cuda import CudaDevice
    from unet_deploy.runtimes.tensorrt.cache import cached_engine
    from unet_deploy.runtimes.tensorrt.compilers import BuildOptions, Profile, find_compiler
    from unet_deploy.tiling import legal_side

    model, compiler = read_model(path), find_compiler(compiler_name)
    card = model.card
    side = legal_side(wish.tile_size or DEFAULT_TILE, card)
    least = (1, card.base, card.base)
    options = BuildOptions(
        Profile(least, (wish.batch_size, side, side), (wish.batch_size, side, side)),
        precision=_gpu_precision(wish, model),
        pixels=wish.pixels,
        probabilities=wish.probabilities,
    )
    device = CudaDevice(gpu.index)
    try:
        with progress_bar(f"compiling {path.name} for {gpu.name}", "steps") as progress, device.active():
            facts = f"{gpu.name} {gpu.capability}"
            engine = cached_engine(model, compiler, options, facts, gpu_index=gpu.index, progress=progress)
    finally:
        device.close()
    return _open_engine_file(engine, wish, reference=path)


def _open_engine_file(path: Path, wish: Wish, reference: Path | None = None) -> Runtime:
    from unet_deploy.runtimes.tensorrt.cache import keep_accuracy, key_of
    from unet_deploy.runtimes.tensorrt.record import read_record, set_accuracy
    from unet_deploy.stream.proof import Proof
    from unet_deploy.system.gpu import find_gpu

    if wish.device == "cpu":
        raise DeviceError(f"{path}: an engine runs on an NVIDIA GPU; for a CPU give the .onnx model")
    record = read_record(path)  # what is wrong with the file is said even where nothing could run it
    gpu = find_gpu(wish.gpu_index)
    from unet_deploy.runtimes.tensorrt.program import open_engine

    def open_reference() -> Runtime:
        return _reference(reference or find_reference(path, record))

    def keep(accuracy: Accuracy) -> None:
        try:
            set_accuracy(path, accuracy)
        except UnetDeployError:  # a folder that is not ours to write to
            keep_accuracy(key_of(record.plan_sha256), accuracy)

    return open_engine(
        path,
        record,
        gpu,
        probabilities=wish.probabilities,
        tile_size=wish.tile_size,
        proof=Proof(open_reference, keep),
    )


def find_reference(engine: Path, record: EngineRecord) -> Path:
    """The model that an engine was made of, by its weights. Raises VerificationError where it is not found."""
    from unet_deploy.model.lower import read_model

    def candidates() -> Iterator[Path]:
        yield engine.parent / Path(record.model).name
        yield Path(record.model)
        yield from shipped_models().values()

    for path in candidates():
        if path.is_file():
            with suppress(ModelError):
                if read_model(path).weights_sha256 == record.weights_sha256:
                    return path
    raise VerificationError(
        f"{engine}: was never compared with its model, and {Path(record.model).name} is not at hand; "
        f"run: unet-deploy verify {engine} --reference MODEL.onnx IMAGE"
    )


def _reference(path: Path) -> Runtime:
    from unet_deploy.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime(path, probabilities=True)
