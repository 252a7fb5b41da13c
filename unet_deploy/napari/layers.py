"""A file as layers of napari: an image as one a channel, a mask as labels, probabilities as one a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import address
from unet_deploy.images import ImageSource
from unet_deploy.images.reading import AS_SAID
from unet_deploy.masks import origin_of
from unet_deploy.masks.origin import Origin
from unet_deploy.napari.lazy import LazyArray
from unet_deploy.napari.levels import Levels, opened_data
from unet_deploy.napari.placed import axes_of, said_to_napari
from unet_deploy.system.colours import class_colour
from unet_deploy.system.extras import importing
from unet_deploy.viewing.contrast import WHITE, Shade, is_picture, measured_shades
from unet_deploy.viewing.cut import grey_tile, label_tile
from unet_deploy.viewing.layer import GreyLayer, LabelLayer, ProbabilityLayer
from unet_deploy.viewing.planes import as_channels
from unet_deploy.viewing.table import read_table

LayerData = tuple[Any, dict[str, Any], str]
"""Data, arguments and kind of a layer, as napari takes them."""

LOADED = 1 << 26
"""Labels up to which a mask is loaded, so that it can be corrected by hand; of a larger one what is shown is read."""

_TABLES = (".objects.csv", ".objects.parquet")
"""How the names of tables end that `segment` gives them, beside NAME.instances.tif."""


def file_layers(path: Path) -> list[LayerData]:
    """Open a file: a mask or probabilities where it says that it is one of ours, and an image otherwise.

    Files stay open as long as their layers are there. Raises ImageError and MissingPackageError.
    """
    origin = origin_of(path)
    if origin is None:
        return image_layers(path)
    with AS_SAID.open_labels(path) as source:
        is_float = source.info.dtype.kind == "f"
    return probability_layers(path, origin.classes) if is_float else [mask_layer(path, origin)]


def image_layers(path: Path) -> list[LayerData]:
    """Open an image. A picture is one layer; of other images each channel is one. Raises as `file_layers`."""
    layer = GreyLayer(lambda: AS_SAID.open(path), kept_as=repr(AS_SAID))
    levels = Levels.of(layer, grey_tile, repr(AS_SAID))
    said = said_to_napari(axes_of(layer.info))
    name = _name_of(path)
    if is_picture(layer):
        arrays = levels.arrays(None)
        return [(_data(arrays), {"name": name, "rgb": True, **opened_data(arrays), **said}, "image")]
    found = []
    shades = measured_shades(layer, layer.info.pages // 2)
    for shade, called in zip(shades, _channel_names(name, layer.info.channel_names, len(shades)), strict=True):
        arrays = levels.arrays(shade.channel)
        found.append((_data(arrays), {"name": called, **opened_data(arrays), **_shown(shade), **said}, "image"))
    return found


def mask_layer(path: Path, origin: Origin | None = None) -> LayerData:
    """Open labels. Those that are classes have the colours of classes and their names as features, others a table.

    Raises as `file_layers`, and UsageError for a file that has no labels.
    """
    layer = LabelLayer(lambda: AS_SAID.open_labels(path), kept_as="labels")
    arrays = Levels.of(layer, label_tile, "labels").arrays()
    data = np.asarray(arrays[0]) if arrays[0].size <= LOADED else _data(arrays)
    how: dict[str, Any] = {} if isinstance(data, np.ndarray) else opened_data(arrays)
    classes = origin.classes if origin else ()
    numbers_objects = layer.info.dtype.itemsize > 1
    looks: dict[str, Any] = {"features": _table_beside(path)} if numbers_objects else class_looks(classes)
    return data, {"name": _name_of(path), **how, **looks, **said_to_napari(axes_of(layer.info))}, "labels"


def probability_layers(path: Path, classes: Sequence[str]) -> list[LayerData]:
    """Open probabilities: a layer in the colour of its class for each but the background. Raises as `mask_layer`."""

    def opening() -> ImageSource:
        return as_channels(AS_SAID.open_labels(path), len(classes))

    layer = ProbabilityLayer(opening, kept_as="probabilities")
    levels = Levels.of(layer, label_tile, "probabilities")
    found = []
    for number in range(min(1, layer.info.channels - 1), layer.info.channels):
        arrays = levels.arrays(number)
        called = classes[number] if number < len(classes) else str(number)
        shade = Shade(number, 0, 1, class_colour(number))
        how = {"name": f"{_name_of(path)}: {called}", **opened_data(arrays), **_shown(shade)}
        found.append((_data(arrays), how | said_to_napari(axes_of(layer.info)), "image"))
    return found


def class_looks(classes: Sequence[str]) -> dict[str, Any]:
    """Return the colours of classes, and as features their names where they are known, the background first."""
    with importing("napari", "napari"):
        from napari.utils.colormaps import DirectLabelColormap

    clear = (0.0, 0.0, 0.0, 0.0)
    colours: dict[int | None, tuple[float, ...]] = {
        label: (*(part / 255 for part in class_colour(label)), 1.0) for label in range(1, 256)
    }
    looks: dict[str, Any] = {"colormap": DirectLabelColormap(color_dict={None: clear, 0: clear} | colours)}
    if classes:
        looks["features"] = {"index": np.arange(len(classes)), "class": list(classes)}
    return looks


def table_features(path: Path) -> dict[str, np.ndarray]:
    """Return a table of objects as the features of labels, found by the numbers of objects. Raises UsageError."""
    columns = dict(read_table(path).columns)
    return {"index": columns.pop("id").astype(np.int64), **columns}


def _table_beside(mask: Path) -> dict[str, np.ndarray]:
    """The table that `segment` names when it names this file; nothing where it is not there."""
    stem = mask.name.removesuffix(".ome.tif").removesuffix(mask.suffix).removesuffix(".instances")
    beside = [mask.with_name(f"{stem}{end}") for end in _TABLES]
    found = next((path for path in beside if path.is_file()), None)
    return table_features(found) if found else {}


def _shown(shade: Shade) -> dict[str, Any]:
    """Between which values a channel is shown, and in which colour."""
    with importing("napari", "napari"):
        from napari.utils.colormaps import Colormap

    limits = {"contrast_limits": (shade.low, max(shade.high, np.nextafter(shade.low, np.inf)))}
    if shade.colour == WHITE:
        return {**limits, "colormap": "gray"}
    red, green, blue = (part / 255 for part in shade.colour)
    colour = Colormap([[0, 0, 0, 1], [red, green, blue, 1]], name=f"to {shade.colour}")
    return {**limits, "colormap": colour, "blending": "additive"}


def _data(arrays: list[LazyArray]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]


def _name_of(path: Path) -> str:
    return address(path.name)


def _channel_names(image: str, names: Sequence[str], channels: int) -> list[str]:
    if channels == 1:
        return [image]
    called = names or tuple(map(str, range(channels)))
    return [f"{image}: {name or number}" for number, name in enumerate(called)]
