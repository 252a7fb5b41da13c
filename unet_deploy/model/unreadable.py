"""What to say of a file that was to be a network and is none."""

from __future__ import annotations

from pathlib import Path

from unet_deploy.errors import ModelError

WEIGHTS_SUFFIXES = frozenset({".pt", ".pth", ".ckpt"})
"""Files of PyTorch: numbers without the network that they belong to."""


def no_network(path: Path, why: str = "") -> ModelError:
    """Return the error for a file that cannot be read as ONNX, with what to do. why: what its reader said.

    >>> str(no_network(Path("weights.pt")))
    'weights.pt: holds weights alone; make a model file of them with: unet-deploy export weights.pt -o weights.onnx'
    >>> str(no_network(Path("w.checkpoint.pt"))).partition("with: ")[2]
    'unet-deploy export w.pt -o w.onnx'
    """
    if path.suffix.lower() in WEIGHTS_SUFFIXES:
        weights = path.with_name(path.name.replace(".checkpoint.", "."))  # what a training keeps beside a checkpoint
        made = f"unet-deploy export {weights} -o {weights.stem}.onnx"
        return ModelError(f"{path}: holds weights alone; make a model file of them with: {made}")
    said = f" ({why})" if why else ""
    return ModelError(f"{path}: is no ONNX file, or not all of it is there{said}; copy it or export it again")
