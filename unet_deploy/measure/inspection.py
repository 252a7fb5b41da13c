"""What a file is, and what this machine can run: facts, which the command line words."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from unet_deploy._version import __version__
from unet_deploy.errors import DeviceError, ImageError, UnetDeployError, reason
from unet_deploy.images import ImageInfo, is_url, is_zarr, url_of
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks import origin_of
from unet_deploy.masks.origin import Origin
from unet_deploy.model.card import ModelCard
from unet_deploy.model.unreadable import WEIGHTS_SUFFIXES, no_network
from unet_deploy.runtimes.cuda.binding import BINDINGS, choice
from unet_deploy.runtimes.table import TABLE
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, EngineRecord, read_record
from unet_deploy.system.extras import is_here
from unet_deploy.system.gpu import Gpu, find_gpus
from unet_deploy.system.machine import usable_cores, usable_memory
from unet_deploy.zoo import card_of, default_runtime, find_model, shipped_models

# -- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EngineFile:
    """A TensorRT engine, and what its record says of it."""

    path: Path
    size: int
    """Bytes on disk."""
    record: EngineRecord


@dataclass(frozen=True)
class ImageFile:
    """An image, or a mask, which is one of class indices."""

    info: ImageInfo
    size: int | None
    """Bytes on disk; None behind a URL, where they are not counted."""
    classes: Mapping[int, str] | None = None
    """Label values and their names where it says that it is a mask, as OME-Zarr labels do."""
    origin: Origin | None = None
    """What it was made of, where it is of a run of ours and says so."""


def describe(path: Path, reading: Reading = AS_SAID) -> ModelCard | EngineFile | ImageFile:
    """Say what a file, an OME-Zarr folder, a URL or a shipped model's name stands for.

    reading: how an image is read.
    Raises ModelError, ImageError, and UsageError where the package that reads it is missing.
    """
    if path.suffix == ".onnx" or str(path) in shipped_models():
        return card_of(find_model(path))
    if path.suffix in ENGINE_SUFFIXES:
        record = read_record(path)  # says what is wrong where there is no such file
        return EngineFile(path, path.stat().st_size, record)
    if path.suffix.lower() in WEIGHTS_SUFFIXES:
        raise no_network(path)
    if path.is_dir() and not is_zarr(path):
        raise ImageError(f"{path}: is a folder; name a file in it")
    if not is_url(path) and not path.exists():
        raise ImageError(f"{path}: no such file")
    with reading.open(path) as source:
        info = source.info
    return ImageFile(info, _size(path), _classes(path) if is_zarr(path) else None, origin_of(path))


def _size(path: Path) -> int | None:
    if is_url(path):
        return None
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _classes(path: Path) -> dict[int, str] | None:
    """What the metadata of an OME-Zarr say of its labels; None where it has none."""
    import zarr

    from unet_deploy.images.ome_zarr import ome_metadata
    from unet_deploy.images.zarr_store import open_node

    node = open_node(url_of(path) if is_url(path) else path)
    label = ome_metadata(node).get("image-label") if isinstance(node, zarr.Group) else None
    if label is None:
        return None
    named = label.get("properties") or ()
    return {each["label-value"]: str(each["class"]) for each in named if "label-value" in each and "class" in each}


# -- the machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    """An optional package on this machine."""

    name: str
    extra: str
    """The extra of unet-deploy that brings it."""
    version: str | None = None
    """Its version; None where it is not installed, or cannot be loaded."""
    providers: tuple[str, ...] = ()
    """What it can run on, where it says so."""
    problem: str = ""
    """Why it cannot be loaded though it is installed."""
    only_for: str = ""
    """The system that it is for, where this is another."""

    @property
    def trouble(self) -> str:
        """Why it cannot be used, as the end of a sentence; empty where it can."""
        if self.problem:
            return f"is installed, but cannot be loaded: {self.problem}"
        if self.only_for:
            return f"is for {self.only_for} alone"
        return "is not installed" if self.version is None else ""


@dataclass(frozen=True)
class Diagnosis:
    """What this machine has, and what `segment` takes of it."""

    version: str
    python: str
    platform: str
    cores: int
    memory: int | None
    """Bytes that are free; None where the system does not tell."""
    gpus: tuple[Gpu, ...]
    no_gpu: str
    """Why there is no GPU; empty where there is one."""
    binding: str
    """Which package speaks with CUDA's driver, and why; empty where there is neither one nor a GPU."""
    packages: tuple[Package, ...]
    """Every runtime, and every other optional package."""
    shipped_models: tuple[str, ...]
    default_runtime: str
    """What `segment` uses unless it is told otherwise; empty where nothing runs."""
    no_runtime: str
    """Why nothing runs; empty where something does."""


_PACKAGES = (
    *(
        (name, name, extra)
        for name, extra in sorted({row.package: row.extra for row in TABLE if not row.wheel}.items())
    ),
    *((each.package, f"{each.package}.driver", each.extra) for each in BINDINGS),
    ("onnx", "onnx", "onnx"),
    ("pyarrow", "pyarrow", "objects"),
    ("pyproj", "pyproj", "geo"),
    ("roifile", "roifile", "imagej"),
    ("zarr", "zarr", "zarr"),
    ("fsspec", "fsspec", "zarr"),
    ("distributed", "distributed", "distributed"),
    ("starlette", "starlette", "view"),
    ("uvicorn", "uvicorn", "view"),
    ("napari", "napari", "napari"),
    ("magicgui", "magicgui", "napari"),
    ("torch", "torch", "train"),
    ("matplotlib", "matplotlib", "train"),
    ("skimage", "skimage", "train"),
    ("tensorboard", "tensorboard", "tensorboard"),
)
"""Name, module that is really imported, and the extra that brings it."""


def diagnose() -> Diagnosis:
    """Look at the machine. Each package is loaded in a process of its own, several at a time."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        packages = tuple(pool.map(lambda package: _look_at(*package), _PACKAGES))
    gpus, no_gpu = _gpus()
    default_runtime, no_runtime = _default_runtime()
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cores=usable_cores(),
        memory=usable_memory(),
        gpus=gpus,
        no_gpu=no_gpu,
        binding=_binding(packages, gpus),
        packages=(*packages, *_providers(packages)),
        shipped_models=tuple(shipped_models()),
        default_runtime=default_runtime,
        no_runtime=no_runtime,
    )


def _providers(packages: tuple[Package, ...]) -> list[Package]:
    """The runtimes that are a part of ONNX Runtime: which wheel of it is here decides which of them are."""
    inside = {each.name: each for each in packages}
    found = []
    for row in (row for row in TABLE if row.provider):
        whole = inside[row.package]
        here = row.provider.removesuffix(_PROVIDER) in whole.providers
        elsewhere = "" if row.fits else _SYSTEMS[row.system]
        found.append(Package(row.name, row.extra, whole.version if here else None, only_for=elsewhere))
    return found


_PROVIDER = "ExecutionProvider"
_SYSTEMS = {"darwin": "macOS", "win32": "Windows"}


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    try:
        return tuple(find_gpus()), ""
    except DeviceError as error:
        return (), str(error)


def _binding(packages: tuple[Package, ...], gpus: tuple[Gpu, ...]) -> str:
    problems = {each.name: each.trouble for each in packages if each.trouble}
    if not gpus and all(each.package in problems for each in BINDINGS):
        return ""
    return choice(problems)


def _default_runtime() -> tuple[str, str]:
    try:
        return default_runtime(), ""
    except UnetDeployError as error:
        return "", str(error)


def _look_at(name: str, module: str, extra: str) -> Package:
    """Import a package in a process of its own: a broken CUDA library may end the one that loads it."""
    if not is_here(name):
        return Package(name, extra)
    lines = ["from unet_deploy.runtimes.untold import untold", "with untold():"]
    lines += [f"    import {module} as m, {name} as top"]
    lines += ["    print(getattr(top, '__version__', getattr(top, 'VERSION_TEXT', '')))"]
    if name == "onnxruntime":
        lines += [f"    print(*(p.removesuffix('{_PROVIDER}') for p in m.get_available_providers()))"]
    if name == "openvino":
        lines += ["    print(*m.Core().available_devices)"]
    try:
        answer = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Package(name, extra, problem="it did not load in 120 seconds")
    if answer.returncode:
        said = [line for line in answer.stderr.splitlines() if line.strip()]
        return Package(name, extra, problem=reason(said[-1]) if said else f"it ended with {answer.returncode}")
    version, _, providers = answer.stdout.strip().partition("\n")
    return Package(name, extra, version, tuple(providers.split()))
