"""What a file is, and what this machine can run."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from unet_deploy._version import __version__
from unet_deploy.cli.console import bytes_text
from unet_deploy.errors import DeviceError, ImageError, UnetDeployError
from unet_deploy.images import ImageInfo, open_image
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, EngineRecord, read_record
from unet_deploy.system.gpu import find_gpus
from unet_deploy.system.machine import usable_cores, usable_memory
from unet_deploy.zoo import default_runtime, open_model, shipped_models

Rows = list[tuple[str, str]]


def describe(file: Path) -> Rows:
    """What a model or image file is. Raises ModelError or ImageError."""
    if file.suffix == ".onnx" or (not file.exists() and str(file) in shipped_models()):
        with open_model(file, device="cpu") as runtime:
            return describe_model(runtime.card)
    if file.suffix in ENGINE_SUFFIXES:
        return describe_engine(read_record(file), file)
    if not file.is_file():
        raise ImageError(f"{file}: no such file")
    with open_image(file) as source:
        return describe_image(source.info, file.stat().st_size)


def describe_model(card: ModelCard) -> Rows:
    """A card for people."""
    grey = card.normalization
    if grey.method == "fixed":
        normalization = f"(grey - {grey.offset:g}) * {grey.scale:g}"
    else:
        normalization = f"percentiles {grey.low:g} to {grey.high:g} of the whole page become 0 to 1"
    rows = [
        ("model", card.name),
        ("channels", str(card.channels)),
        ("classes", ", ".join(f"{index} {name}" for index, name in enumerate(card.classes))),
        ("margin", f"{card.margin} pixels a side"),
        ("input sides", f"{card.base} + k x {card.stride} pixels"),
        ("normalization", normalization),
        ("pixel size", f"{card.pixel_size_um:g} um" if card.pixel_size_um else "not recorded"),
        ("trained on", card.trained_on or "not recorded"),
        ("license", card.license or "not recorded"),
        ("split", card.split or "not recorded"),
        ("seed", "not recorded" if card.seed is None else str(card.seed)),
        ("made by", card.command or "not recorded"),
    ]
    rows += [(name, f"{value:.4g}") for name, value in card.metrics.items()]
    rows.append(("evaluated on", card.evaluated_on or "not recorded"))
    return rows + [(name, f"{value:.4g}") for name, value in card.evaluation.items()]


def describe_engine(record: EngineRecord, engine: Path) -> Rows:
    """An engine's record for people."""
    limits, options = record.limits, record.options
    sides = " to ".join(f"{high} x {wide}" for high, wide in dict.fromkeys((limits.least, limits.most)))
    accuracy = record.accuracy
    proved = "unverified: the first use on a GPU compares it with its model" if accuracy is None else str(accuracy)
    return [
        ("engine", f"{engine.name}, {bytes_text(engine.stat().st_size)}"),
        ("model", f"{record.card.name} ({record.model}), weights {record.weights_sha256[:12]}"),
        ("compiler", f"{record.compiler} {record.compiler_version}"),
        ("runs on", f"{record.gpu or 'any GPU'} of compute capability {', '.join(record.capabilities)}"),
        (
            "precision",
            f"{options.precision}; layers: {', '.join(f'{n} {kind}' for kind, n in record.layers.items())}",
        ),
        ("tiles", f"{limits.batch} of {sides} pixels, {options.pixels}"),
        ("returns", "labels and probabilities" if options.probabilities else "labels"),
        ("accuracy", proved),
    ]


def describe_image(info: ImageInfo, size: int) -> Rows:
    """An image's shape and what else is known of it."""
    pixels = info.pages * info.channels * info.height * info.width
    rows = [
        ("image", info.name),
        ("pages", str(info.pages)),
        ("channels", str(info.channels)),
        ("height x width", f"{info.height} x {info.width} pixels"),
        ("pixels", f"{info.dtype}, {bytes_text(pixels * info.dtype.itemsize)} decoded, {bytes_text(size)} on disk"),
        ("pixel size", f"{info.pixel_size_um:.4g} um" if info.pixel_size_um else "not recorded"),
    ]
    if info.levels:
        rows.append(("levels", ", ".join(f"{height} x {width}" for height, width in info.levels)))
    return rows + ([("note", info.note)] if info.note else [])


def diagnose() -> Rows:
    """What this machine has, and what `segment` will choose."""
    memory = usable_memory()
    rows = [
        ("unet-deploy", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("processors", f"{usable_cores()} usable"),
        ("memory", f"{bytes_text(memory)} free" if memory else "unknown"),
    ]
    rows += _gpus()
    rows += [(name, _installed(name, package, extra)) for name, package, extra in _PACKAGES]
    rows.append(("shipped models", ", ".join(shipped_models()) or "none"))
    rows.append(("segment uses", _choice()))
    return rows


_PACKAGES = (
    ("onnxruntime", "onnxruntime", "cpu"),
    ("onnx", "onnx", "tensorrt"),
    ("tensorrt", "tensorrt", "tensorrt"),
    ("tensorrt_rtx", "tensorrt_rtx", "tensorrt-rtx"),
    ("pycuda", "pycuda.driver", "gpu"),
    ("torch", "torch", "train"),
)
"""Name, module that is really imported, and the extra that brings it."""


def _gpus() -> Rows:
    try:
        gpus = find_gpus()
    except DeviceError as error:
        return [("GPU", str(error))]
    return [
        (f"cuda:{gpu.index}", f"{gpu.name}, compute capability {gpu.capability}, driver for CUDA {gpu.driver}")
        for gpu in gpus
    ]


def _installed(name: str, module: str, extra: str) -> str:
    """Whether it can be imported, in a process of its own: a broken CUDA library may end the one that loads it."""
    if find_spec(name) is None:
        return f"not installed; pip install 'unet-deploy[{extra}]'"
    script = (
        f"import {module} as m, {name} as top; print(getattr(top, '__version__', getattr(top, 'VERSION_TEXT', '')))"
    )
    if name == "onnxruntime":
        script += "; print(*(p.removesuffix('ExecutionProvider') for p in m.get_available_providers()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    if answer.returncode:
        said = [line for line in answer.stderr.splitlines() if line.strip()]
        return f"installed, but cannot be loaded: {said[-1][:200] if said else f'it ended with {answer.returncode}'}"
    version, _, providers = answer.stdout.strip().partition("\n")
    return f"{version}, for {providers}" if providers else version


def _choice() -> str:
    try:
        return default_runtime()
    except UnetDeployError as error:
        return f"nothing: {error}"
