"""What a page must know of a scene, as plain JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from unet_deploy.images.orientation import upright_order
from unet_deploy.system.colours import hex_colour
from unet_deploy.viewing.contrast import is_picture
from unet_deploy.viewing.difference import COLOURS
from unet_deploy.viewing.paint import class_colours
from unet_deploy.viewing.scene import Scene
from unet_deploy.viewing.shown import (
    FIRST_THRESHOLD,
    ShownDifference,
    ShownFile,
    ShownImage,
    ShownMask,
    ShownProbabilities,
)
from unet_deploy.viewing.table import Order
from unet_deploy.viewing.zoom import TILE

_PICTURE = ("red", "green", "blue")


def describe_scene(scene: Scene) -> list[dict[str, Any]]:
    """Say of each file, from below to above, what it is called, how large it is, and what its numbers are.

    What two masks differ in comes after them all, where it can be shown.
    """
    files = [_described(file) for file in scene.files]
    return files if scene.difference is None else [*files, _described_difference(scene.difference)]


def describe_progress(scene: Scene) -> list[dict[str, Any]]:
    """Say of each file of which page an overview is made, how much of it, 0 to 1, and what ended its making.

    Where none is made the page is null, and all of it is there.
    """
    found = []
    for file in scene.files:
        overview = file.layer.overview
        failed = overview.failed if overview else None
        page, share = (overview.page, overview.share) if overview else (None, 1.0)
        found.append({"page": page, "share": share, "failed": str(failed) if failed else ""})
    return found


def describe_table(scene: Scene) -> dict[str, Any]:
    """Say what the table is called, what its columns are, and how many rows there are; of none, nothing."""
    if scene.table is None:
        return {}
    if not scene.table.is_read:
        return {"name": scene.table.name, "ready": False}
    table = scene.table.read()
    return {"name": scene.table.name, "ready": True, "columns": table.names, "count": len(table)}


def _described(file: ShownFile) -> dict[str, Any]:
    info, zooms = file.layer.info, file.layer.zooms
    sides = None
    if info.sizes.y_um and info.sizes.x_um:
        sides = upright_order((info.sizes.y_um, info.sizes.x_um), info.orientation)
    common = {
        "name": file.name,
        "height": zooms.height,
        "width": zooms.width,
        "tile": TILE,
        "lastZoom": zooms.last,
        "pages": [info.steps(page) for page in range(info.pages)] if info.page_axes else info.pages,
        "dtype": str(info.dtype),
        "micrometres": sides,
        "note": info.note,
    }
    if isinstance(file, ShownImage):
        named = _PICTURE if is_picture(file.layer) else tuple(str(channel) for channel in range(info.channels))
        names = info.channel_names or named
        return common | {"kind": "image", "channels": names}
    common |= {"objects": isinstance(file, ShownMask) and file.numbers_objects, "classes": file.classes}
    common |= {"colours": _hex(class_colours())}
    if isinstance(file, ShownProbabilities):
        return common | {"kind": "probabilities", "threshold": FIRST_THRESHOLD}
    return common | {"kind": "mask"}


def _described_difference(difference: ShownDifference) -> dict[str, Any]:
    """As a file, which the page lays over the others when it is asked for."""
    by_class = ("other class in each",) if difference.by_class else ()
    names = (f"only in {difference.first.name}", f"only in {difference.second.name}")
    return _described(difference.first) | {
        "kind": "difference",
        "name": "what differs",
        "objects": False,
        "classes": ("neither", "in both", *names, *by_class),
        "colours": _hex(COLOURS),
    }


def _hex(colours: np.ndarray) -> list[str]:
    return [hex_colour((red, green, blue)) for red, green, blue in colours.tolist()]


def described_rows(scene: Scene, order: Order, first: int) -> list[dict[str, Any]]:
    """Say of some rows their numbers in the file and their cells. Raises UsageError."""
    numbers, rows = scene.objects().rows(order, first)
    return [{"row": number, "cells": cells} for number, cells in zip(numbers.tolist(), rows, strict=True)]


def described_row(scene: Scene, order: Order, row: int) -> dict[str, Any]:
    """Say of a row which it is in an order, its cells, and where its object lies as it is shown. Raises UsageError."""
    table = scene.objects()
    page, box = scene.place(row)
    rank = table.rank(order, row)
    (cells,) = table.rows(order, rank, 1)[1]
    return {"row": row, "rank": rank, "cells": cells, "page": page, "box": asdict(box)}


def plain(value: Any) -> Any:
    """Return values with those numbers that JSON has not as words.

    >>> plain([1, float("nan"), {"a": (2.5, float("inf"))}])
    [1, 'nan', {'a': [2.5, 'inf']}]
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not abs(value) < float("inf") else value
