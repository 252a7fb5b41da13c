"""What a file is, and what this machine can run."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from unet_deploy import __version__
from unet_deploy.card import ModelCard
from unet_deploy.console import bytes_text
from unet_deploy.errors import ImageError, UnetDeployError
from unet_deploy.images import ImageInfo, open_image
from unet_deploy.machine import usable_cores, usable_memory
from unet_deploy.models import open_model, shipped_models

Rows = list[tuple[str, str]]


def describe(file: Path) -> Rows:
    """What a model or image file is. Raises ModelError or ImageError."""
    if file.suffix == ".onnx" or (not file.exists() and str(file) in shipped_models()):
        with open_model(file) as runtime:
            return describe_model(runtime.card)
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
        ("made by", card.command or "not recorded"),
    ]
    return rows + [(name, f"{value:.4g}") for name, value in card.metrics.items()]


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
    return rows + ([("note", info.note)] if info.note else [])


def diagnose() -> Rows:
    """What this machine has, and what `segment` will choose."""
    memory = usable_memory()
    rows = [
        ("unet-deploy", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("processors", f"{usable_cores()} usable"),
        ("memory", f"{bytes_text(memory)} free" if memory else "unknown"),
        ("NVIDIA GPU", _gpu()),
    ]
    rows += [(name, _installed(name, extra)) for name, extra in _PACKAGES.items()]
    rows.append(("shipped models", ", ".join(shipped_models()) or "none"))
    rows.append(("segment uses", _choice()))
    return rows


_PACKAGES = {
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "torch": "train",
    "onnx": "train",
}


def _installed(package: str, extra: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"not installed; pip install 'unet-deploy[{extra}]'"


def _gpu() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return "none: nvidia-smi is not installed"
    query = [command, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return "; ".join(answer.stdout.split("\n")).strip("; ") or f"none: {answer.stderr.strip() or answer.stdout.strip()}"


def _choice() -> str:
    try:
        with open_model() as runtime:
            return f"{runtime.name}, model {runtime.card.name}"
    except UnetDeployError as error:
        return f"nothing: {error}"
