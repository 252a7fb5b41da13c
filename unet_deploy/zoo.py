"""Which model file to use, and what runs it on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict
from weakref import WeakKeyDictionary

from typing_extensions import Unpack

from unet_deploy.errors import (
    DeviceError,
    MissingPackageError,
    ModelError,
    UsageError,
    VerificationError,
)
from unet_deploy.model.change import AS_IT_IS, Change
from unet_deploy.model.contract import Pixels
from unet_deploy.model.metadata import peek_card
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.request import Opened, Opener, Request
from unet_deploy.runtimes.table import LAPTOP
from unet_deploy.stream.proof import Instead, Proof, Unproved
from unet_deploy.system.arguments import path as path_of
from unet_deploy.system.extras import is_here

if TYPE_CHECKING:
    from unet_deploy.model.card import ModelCard
    from unet_deploy.runtimes.table import Row
    from unet_deploy.runtimes.tensorrt.record import EngineRecord
    from unet_deploy.system.progress import Progress

__all__ = [
    "DEFAULT_MODEL",
    "Request",
    "card_of",
    "default_runtime",
    "find_model",
    "find_reference",
    "open_model",
    "shipped_models",
]

DEFAULT_MODEL = "nuclei"

_OPENED: WeakKeyDictionary[Runtime, tuple[Path, Request]] = WeakKeyDictionary()


def find_model(model: str | Path | None = None) -> Path:
    """The file of a model: a path, or the name of a shipped one (by default `nuclei`), whatever else is called so.

    Raises ModelError.
    """
    given, shipped = path_of(model or DEFAULT_MODEL, "model"), shipped_models()
    if str(given) in shipped:
        return shipped[str(given)]
    if not given.is_file():
        if given.suffix or given.exists():
            raise ModelError(f"{given}: no such model file")
        raise ModelError(f"{given}: neither a file nor a shipped model; shipped: {', '.join(shipped) or 'none'}")
    return given


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


class Asked(TypedDict, total=False):
    """The fields of a Request, by name."""

    device: str
    runtime: str
    precision: str | None
    probabilities: bool
    pixels: Pixels
    tile_size: int | None
    batch_size: int
    scale: float
    threshold: float | None


def open_model(
    model: str | Path | None = None,
    request: Request | None = None,
    *,
    notify: Callable[[str], None] | None = None,
    progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> Runtime:
    """Load a model or an engine, by path or shipped name, on the best runtime of this machine.

    request: how it is to be run; its fields can be given by name as well:
    device: auto, cpu, cuda or cuda:N (an NVIDIA GPU), gpu or gpu:N (any other), npu; auto falls back from these to the
    CPU and says so, a device that is named never does.
    runtime: auto, coreml, directml, onnxruntime, openvino, tensorrt, tensorrt_rtx or webgpu; auto is the first of the
    table that is installed.
    precision: fp32, fp16 (on a GPU), bf16 (OpenVINO) or int8 (a quantized model); by default fp32 on a CPU, fp16 on a
    GPU or NPU, and int8 of a model that was quantized and proved. All but fp32, and all that is computed on another
    device than the CPU, is compared with fp32 on a CPU on its first image; auto goes on where that fails.
    auto is bf16 on a CPU that computes it itself, once it agreed with fp32 on tiles of an image and was faster; what
    came of that is kept. Until then, and where it does not, fp32; on a GPU as by default.
    probabilities: whether it answers with class probabilities as well as with labels.
    pixels: the widest pixels that will come, which makes a GPU's bus faster: uint8, uint16 or float32.
    tile_size: largest side of a tile as it is read, in pixels of the image. batch_size: tiles in one submission, on a
    GPU.
    scale: pixels of the network for a pixel of the image: the image is resampled on its way in, and the answer on its
    way out, so that it lies on the image's own grid. threshold: the probability above which a pixel is not background,
    by default the card's. Both but 1 and 0.5 take the package onnx.
    notify: called with a line on what was chosen instead, and why. progress: told how compiling for a GPU goes.
    Use it as a context manager and pass it to `segment` to load once for many images. Raises ModelError,
    DeviceError and UsageError.

    >>> with open_model("nuclei", device="cpu") as model:
    ...     model.card.classes, model.limits.batch
    (('background', 'nucleus'), 1)
    """
    request, path = replace(request or Request(), **asked), find_model(model)
    runtime = _open_best(path, request, notify or (lambda line: None), progress)
    _OPENED[runtime] = path, request
    return runtime


def opened_from(runtime: Runtime) -> tuple[Path, Request] | None:
    """The file that `open_model` opened as this runtime, and how; None for a runtime of any other kind."""
    return _OPENED.get(runtime)


def _open_best(path: Path, request: Request, notify: Callable[[str], None], progress: Progress | None) -> Runtime:
    from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES

    if path.suffix in ENGINE_SUFFIXES:
        return _open_engine(path, request.unproved)
    if request.kind == "cpu":
        return _open_on_cpu(path, request, notify)
    if request.kind == "cuda":
        return _open_on_gpu(path, request.unproved, progress)
    if request.kind != "auto":
        rows = request.rows_or_raise(request.kind)
        return _open_first(rows, path, request.unproved, request.device)
    return _open_anywhere(path, request, notify, progress)


def _open_anywhere(path: Path, request: Request, notify: Callable[[str], None], progress: Progress | None) -> Runtime:
    """On an NVIDIA GPU where there is one, else on what a laptop has, else on the processor."""
    reasons = []
    if request.rows("cuda") and _has_gpu():
        try:
            return _open_on_gpu(path, request.unproved, progress)
        except (DeviceError, MissingPackageError) as error:
            if request.runtime not in ("auto", "onnxruntime"):
                raise
            reasons.append(str(error))
    rows = [row for device in LAPTOP for row in request.rows(device) if row.installed]
    return _open_on_laptop(rows, path, request, notify, reasons)


def _open_on_laptop(
    rows: Sequence[Row], path: Path, request: Request, notify: Callable[[str], None], reasons: Sequence[str]
) -> Runtime:
    """The first of these runtimes whose device is here and works, else the processor's.

    reasons: why others did not, which is said. One that turns out wrong or slow on the first image gives way to the
    next, and is not tried again.
    """
    for at, row in enumerate(rows):

        def instead(why: str, rest: Sequence[Row] = rows[at + 1 :]) -> Runtime:
            return _open_on_laptop(rest, path, request, notify, [why])

        try:
            if runtime := _open_on_trial(row, path, request.unproved, instead):
                if reasons:
                    notify(f"note: using {runtime.name}: {'; '.join(reasons)}")
                return runtime
        except (DeviceError, MissingPackageError, ModelError) as error:
            reasons = [*reasons, str(error)]
    runtime = _open_on_cpu(path, request, notify)  # says what is wrong where it is the model
    if reasons:
        notify(f"note: using the CPU: {'; '.join(reasons)}")
    return runtime


def _open_on_trial(row: Row, path: Path, request: Request, instead: Callable[[str], Runtime]) -> Runtime | None:
    """A runtime that nobody asked for by name; None where its device is not here, or was tried and not taken."""
    from unet_deploy.runtimes.choice import keep_choice, kept_choice
    from unet_deploy.runtimes.cpu import fingerprint_of
    from unet_deploy.system.cache import key_of

    devices = row.devices()
    if not devices:
        return None
    facts = (row.name, row.device, *devices, row.version(), request.precision, request.probabilities)
    key = key_of(fingerprint_of(path, request.change), *facts)
    choice = kept_choice(key)
    if choice and not choice.taken:
        return None
    ready = _ready(row, path, request, None)
    if choice:
        return ready.runtime
    ready = replace(ready, keep=ready.keep or (lambda agreement: None))  # it was proved, but not timed
    return _unproved(ready, lambda: path, request.change, Instead(instead, partial(keep_choice, key)))


def _has_gpu() -> bool:
    from unet_deploy.system.gpu import find_gpus

    with suppress(DeviceError):
        return bool(find_gpus())
    return False


def _open_on_cpu(path: Path, request: Request, notify: Callable[[str], None]) -> Runtime:
    """The first runtime that is installed and can be loaded; the last says what is missing where none is."""
    *rows, row = request.rows_or_raise("cpu")
    for other in (other for other in rows if other.installed):
        try:
            other.load()
        except DeviceError as error:
            notify(f"note: using {row.title}: {error}")
        else:
            row = other
            break
    card = peek_card(path) if request.precision == "auto" else None
    if card is None or card.precision != "fp32":
        return _open(row, path, request.unproved)
    return _open_by_proof(row, path, request, card)


def _open_by_proof(row: Row, path: Path, request: Request, card: ModelCard) -> Runtime:
    """A model of float32 layers, in bfloat16 where that may be taken: by what is known of it, or is shown later."""
    from unet_deploy.runtimes.choice import Choice, keep_choice, kept_choice
    from unet_deploy.runtimes.cpu import fingerprint_of
    from unet_deploy.stream.precision import ByProof
    from unet_deploy.system.cache import key_of
    from unet_deploy.system.machine import processor_name

    opener: Opener = row.load()
    key = key_of(fingerprint_of(path, request.change), row.name, row.version(), processor_name(), "auto")
    against = _against_bf16(row, request, card)
    choice = Choice(against=against) if against else kept_choice(key)

    def open_one(precision: str, *, probabilities: bool = request.probabilities) -> Runtime:
        wanted = replace(request, runtime=row.name, precision=precision, probabilities=probabilities)
        return opener(path, wanted, None).runtime

    return ByProof(open_one, lambda: open_one("fp32", probabilities=True), choice, partial(keep_choice, key))


def _against_bf16(row: Row, request: Request, card: ModelCard) -> str:
    """Why it need not be tried; empty where it should be."""
    from unet_deploy.system.machine import bf16_pays

    if "bf16" not in row.precisions:
        return f"{row.title} has no bfloat16 on a CPU"
    if not bf16_pays():
        return "this processor has no bfloat16"
    if request.rounds_greys(card):
        return "the model takes grey values as they are, and bfloat16 has 8 bits for each"
    return ""


def _open_on_gpu(path: Path, request: Request, progress: Progress | None) -> Runtime:
    """The first runtime that works. Raises DeviceError, with the reason of each, where none does."""
    from unet_deploy.system.gpu import find_gpu

    rows, gpu = request.rows_or_raise("cuda"), find_gpu(request.gpu_index)
    return _open_first(rows, path, request, gpu.name, progress)


def _open_first(
    rows: Sequence[Row], path: Path, request: Request, where: str, progress: Progress | None = None
) -> Runtime:
    """The first runtime that works on the device called `where`. Raises DeviceError, with the reason of each."""
    if request.runtime != "auto":
        return _open(rows[0], path, request, progress)
    reasons = []
    for row in (row for row in rows if row.fits):
        if not row.installed:
            reasons.append(f"{row.name} is not installed")
            continue
        try:
            return _open(row, path, request, progress)
        except (DeviceError, MissingPackageError) as error:
            reasons.append(str(error))
    raise DeviceError(f"no runtime works on {where}: {'; '.join(reasons)}")


def _open(row: Row, path: Path, request: Request, progress: Progress | None = None) -> Runtime:
    return _unproved(_ready(row, path, request, progress), lambda: path, request.change)


def _ready(row: Row, path: Path, request: Request, progress: Progress | None) -> Opened:
    device = row.device if request.device == "auto" and row.device in LAPTOP else request.device
    opener: Opener = row.load()
    return opener(path, replace(request, runtime=row.name, device=device), progress)


def _open_engine(path: Path, request: Request) -> Runtime:
    from unet_deploy.runtimes.tensorrt.opening import open_engine_file
    from unet_deploy.runtimes.tensorrt.record import read_record

    if request.change != AS_IT_IS:
        asked = "--threshold" if request.threshold is not None else "--scale"
        raise UsageError(f"{path}: {asked} is settled when an engine is made; give the .onnx model")
    return _unproved(open_engine_file(path, request), lambda: find_reference(path, read_record(path)), AS_IT_IS)


def _unproved(opened: Opened, reference: Callable[[], Path], change: Change, instead: Instead | None = None) -> Runtime:
    """The runtime, with what it has still to show against the model that `reference` finds, changed alike."""
    if opened.keep is None:
        return opened.runtime

    def open_reference() -> Runtime:
        from unet_deploy.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(reference(), probabilities=True, change=change)

    return Unproved(opened.runtime, Proof(open_reference, opened.keep, instead))


def default_runtime() -> str:
    """What auto takes on this machine, in words; nothing is compiled to know. Raises DeviceError."""
    with suppress(DeviceError):
        return _default_on_gpu()
    with suppress(DeviceError):
        return _default_on_laptop()
    from unet_deploy.stream.precision import foresee_precision

    with open_model(device="cpu", precision="auto") as ready:
        found = foresee_precision(ready)
        return f"{ready.name}, or {found.why}" if found.why and not found.precision else ready.name


def _default_on_gpu() -> str:
    """Raises DeviceError where there is no GPU, or nothing that runs on it."""
    from unet_deploy.runtimes.cuda import binding
    from unet_deploy.system.gpu import find_gpus

    name = find_gpus()[0].name
    if not (binding.is_installed() and is_here("onnx")):
        raise DeviceError(f"{name}: onnx, and cuda.bindings or pycuda, are not installed")
    compiler = next((row.name for row in Request().rows("cuda") if row.compiles and row.installed), None)
    if compiler:
        return f"{compiler} on {name}"
    from unet_deploy.runtimes.onnx_program import check_cuda_provider

    return f"ONNX Runtime {check_cuda_provider()} on {name}"


def _default_on_laptop() -> str:
    """Raises DeviceError where there is none of its devices."""
    for row in (row for device in LAPTOP for row in Request().rows(device) if row.installed):
        if here := row.devices():
            return f"{row.title} on {here[0]}, where it is proved"
    raise DeviceError("no GPU or NPU of a laptop is here")


def find_reference(engine: Path, record: EngineRecord) -> Path:
    """The model that an engine was made of, by its weights. Raises VerificationError where it is not found."""
    from unet_deploy.model.changed import read_to_run

    def candidates() -> Iterator[Path]:
        yield engine.parent / Path(record.model).name
        yield Path(record.model)
        yield from shipped_models().values()

    for path in candidates():
        if path.is_file():
            with suppress(ModelError):
                if read_to_run(path).weights_sha256 == record.weights_sha256:
                    return path
    raise VerificationError(
        f"{engine}: was never compared with its model, and {Path(record.model).name} is not at hand; "
        f"run: unet-deploy verify {engine} --reference MODEL.onnx IMAGE"
    )
