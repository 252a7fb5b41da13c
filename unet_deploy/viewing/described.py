"""What a page must know of a scene, as plain JSON values."""

from __future__ import annotations

from typing import Any

from unet_deploy.images.orientation import upright_order
from unet_deploy.system.colours import hex_colour
from unet_deploy.viewing.paint import class_colours
from unet_deploy.viewing.scene import Scene, ShownFile, ShownImage
from unet_deploy.viewing.zoom import TILE


def describe_scene(scene: Scene) -> list[dict[str, Any]]:
    """Say of each file, from below to above, what it is called, how large it is, and what its numbers are."""
    return [_described(file) for file in scene.files]


def describe_progress(scene: Scene) -> list[dict[str, Any]]:
    """Say of each file how much of its overview is made, 0 to 1, and what ended its making; 1 where none is made."""
    found = []
    for file in scene.files:
        overview = file.layer.overview
        failed = overview.failed if overview else None
        found.append({"share": overview.share if overview else 1.0, "failed": str(failed) if failed else ""})
    return found


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
        names = info.channel_names or tuple(str(channel) for channel in range(info.channels))
        return common | {"kind": "image", "channels": names}
    colours = [hex_colour((red, green, blue)) for red, green, blue in class_colours().tolist()]
    return common | {"kind": "mask", "objects": file.numbers_objects, "colours": colours}
