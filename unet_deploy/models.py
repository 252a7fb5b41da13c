"""Which model file to use, and what opens it."""

from __future__ import annotations

from pathlib import Path

from unet_deploy.errors import ModelError
from unet_deploy.runtimes import Runtime

DEFAULT_MODEL = "nuclei"


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


def shipped_models() -> dict[str, Path]:
    """Shipped model files by name."""
    package = Path(__file__).parent
    folder = package / "engines"
    if not folder.is_dir():  # a checkout keeps them beside the package, a wheel inside it
        folder = package.parent / "engines"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def open_model(model: str | Path | None = None, *, probabilities: bool = False) -> Runtime:
    """Load a model, by path or shipped name, on the best runtime of this machine.

    probabilities: let it answer with class probabilities as well as with labels.
    Use it as a context manager and pass it to `segment` to load once for many images. Raises ModelError and
    DeviceError.
    """
    from unet_deploy.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime(find_model(model), probabilities=probabilities)
