"""U-Net segmentation of images of any size.

>>> import unet_deploy
>>> mask = unet_deploy.segment(image)                    # (H, W) array -> (H, W) uint8 class indices
>>> unet_deploy.segment("big.tif", "mask.tif")           # file -> file, never whole in memory
>>> with unet_deploy.open_model("model.onnx") as model:  # load once, segment many
...     masks = [unet_deploy.segment(image, model=model) for image in images]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unet_deploy._version import __version__

__all__ = ["ModelCard", "__version__", "open_model", "segment"]

if TYPE_CHECKING:
    from unet_deploy.model.card import ModelCard
    from unet_deploy.segmentation.run import segment
    from unet_deploy.zoo import open_model

_HOMES = {"ModelCard": "model.card", "open_model": "zoo", "segment": "segmentation.run"}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `unet-deploy --help` must not wait for NumPy.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"unet_deploy.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
