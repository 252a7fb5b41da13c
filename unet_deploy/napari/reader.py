"""What napari asks when a file is opened: whether it is one of ours to read, and its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unet_deploy.errors import UnetDeployError
from unet_deploy.images import open_image
from unet_deploy.napari.layers import LayerData, file_layers

Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads a file; None for several at once, as one stack, and for what cannot be read here."""
    if not isinstance(path, str):
        return None
    try:
        open_image(Path(path)).close()
    except UnetDeployError:
        return None
    return read_layers


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the layers of a file, or of several. Raises ImageError and UsageError."""
    paths = [path] if isinstance(path, str) else path
    return [layer for each in paths for layer in file_layers(Path(each))]
