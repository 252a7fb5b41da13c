"""U-Net segmentation of images of any size.

>>> import numpy as np, tifffile, unet_deploy
>>> image = np.zeros((300, 400), np.uint8)
>>> mask = unet_deploy.segment(image)  # (H, W) array -> (H, W) uint8 class indices
>>> mask.shape, mask.dtype
((300, 400), dtype('uint8'))

>>> tifffile.imwrite("big.tif", image)
>>> report = unet_deploy.segment_file("big.tif", "mask.tif")  # file -> file, never whole in memory
>>> len(report.plan), tifffile.imread("mask.tif").shape
(1, (300, 400))

>>> with unet_deploy.open_model("nuclei") as model:  # load once, segment many
...     masks = [unet_deploy.segment(image, model=model) for image in (image, image.T)]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from unet_deploy._version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from unet_deploy.errors import (
        ChangedError,
        DataError,
        DeviceError,
        ImageError,
        MissingPackageError,
        ModelError,
        ResourceError,
        UnetDeployError,
        UsageError,
        VerificationError,
    )
    from unet_deploy.model.card import ModelCard
    from unet_deploy.segmentation.options import ObjectRules, Options
    from unet_deploy.segmentation.outputs import Outputs
    from unet_deploy.segmentation.report import Report
    from unet_deploy.segmentation.run import segment_file
    from unet_deploy.segmentation.scaling import Scaling
    from unet_deploy.suggestion.run import Suggestion, Wanted, suggest
    from unet_deploy.zoo import open_model

__all__ = [
    "ChangedError",
    "DataError",
    "DeviceError",
    "ImageError",
    "MissingPackageError",
    "ModelCard",
    "ModelError",
    "ObjectRules",
    "Options",
    "Outputs",
    "Report",
    "ResourceError",
    "Scaling",
    "Suggestion",
    "UnetDeployError",
    "UsageError",
    "VerificationError",
    "Wanted",
    "__version__",
    "open_model",
    "segment",
    "segment_file",
    "suggest",
]

_HOMES = {
    "ModelCard": "model.card",
    "ObjectRules": "segmentation.options",
    "Options": "segmentation.options",
    "Outputs": "segmentation.outputs",
    "Report": "segmentation.run",
    "Scaling": "segmentation.scaling",
    "Suggestion": "suggestion.run",
    "Wanted": "suggestion.run",
    "open_model": "zoo",
    "segment_file": "segmentation.run",
    "suggest": "suggestion.run",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `unet-deploy --help` must not wait for NumPy.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"unet_deploy.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = found if isinstance(found, type) else _speaking_python(found)
    return globals()[name]


def _speaking_python(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors name parameters and not options of the command line."""

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        from unet_deploy.errors import UnetDeployError, in_python

        try:
            return function(*args, **named)
        except UnetDeployError as error:
            error.args = tuple(in_python(each) if isinstance(each, str) else each for each in error.args)
            raise

    return call


_FOR_FILES = ("overlay", "level", "roi", "max_memory", "skip_background", "objects", "resume", "overwrite")
"""What `segment` takes of a file alone."""


@_speaking_python
def segment(image: Any, output: str | Path | None = None, **how: Any) -> Any:
    """Segment an array in memory, or an image file into a mask file.

    image: an array (H, W), (C, H, W), (H, W, C) or (pages, C, H, W) of grey values, of NumPy or of what becomes such
    (Dask, Zarr, PyTorch, Pillow): see `segmentation.run.segment`, which takes model, device, tile_size, probabilities,
    tta and progress, and returns labels, with `probabilities` those too. channel: which of several, from 0, for a model
    that takes one. channel_axis: where they are; None for what the image says, as Pillow's and xarray's do, else last
    where that axis of three is 1 to 4 long and the first is longer, and otherwise first, or after the pages.
    scale, diameter or pixel_size, each a number, the latter two or "auto": at which scale the image is taken, as
    `Scaling` says; or scaling, one of those. threshold: the probability above which a pixel is not background.
    Or a file: see `segment_file`, which takes model, device, compute and progress, and returns a Report. Here the
    fields of `Options` are given by their names; `probabilities` and `overlay` write files beside the mask.
    output: the mask to write, of a file.
    Raises UnetDeployError.

    >>> import numpy as np, tifffile
    >>> tifffile.imwrite("cells.tif", np.zeros((120, 150), np.uint8))
    >>> report = segment("cells.tif", "cells.mask.tif", overlay=True, roi=(0, 0, 100, 100))
    >>> [path.name for path in report.outputs]
    ['cells.mask.tif', 'cells.mask.overlay.png']
    """
    from unet_deploy.errors import UsageError
    from unet_deploy.images.array import Channels
    from unet_deploy.segmentation import run
    from unet_deploy.segmentation.scaling import AS_THE_CARD_SAYS, Scaling
    from unet_deploy.system.arguments import kind_of

    scaling = Scaling(*(how.pop(name, None) for name in ("scale", "diameter", "pixel_size")))
    if scaling != AS_THE_CARD_SAYS and how.get("scaling") is not None:
        raise UsageError(
            "scaling: says at which scale the image is taken, as scale, diameter or pixel_size do; give one"
        )
    how["scaling"] = how.get("scaling") or scaling
    if not isinstance(how["scaling"], Scaling):
        raise UsageError(f"scaling: give a Scaling, not {kind_of(how['scaling'])}; or scale=, diameter=, pixel_size=")
    if isinstance(image, (str, os.PathLike)):
        if how.pop("channel_axis", None) is not None:
            raise UsageError("segment(file): channel_axis: is for arrays; files say where their channels are")
        return run.segment_path(image, output, **how)
    given = [name for name in _FOR_FILES if how.get(name) is not None and how[name] is not False]
    if output is not None or given:
        raise UsageError(f"segment(array): {', '.join(given) or 'output'}: is for image files; give a path as image")
    channels = Channels(how.pop("channel", None), how.pop("channel_axis", None))
    how = {name: value for name, value in how.items() if name not in _FOR_FILES}
    return run.segment(image, channels=channels, **how)
