"""Which labels an OME-Zarr image holds, by the list beside them."""

from __future__ import annotations

from pathlib import Path

import zarr

from unet_deploy.errors import ImageError, reason
from unet_deploy.images import is_zarr_folder
from unet_deploy.images.ome_zarr import ome_metadata
from unet_deploy.images.zarr_store import open_node

FOLDER = "labels"


def label_names(image: Path) -> tuple[str, ...]:
    """Return what an image's labels are called, in the order of their list; of folders, where there is no list.

    Raises ImageError for a list that cannot be read, and for labels in it that are not there.
    """
    folder = image / FOLDER
    if not is_zarr_folder(folder):
        return tuple(sorted(each.name for each in folder.glob("*") if is_zarr_folder(each)))
    try:
        node = open_node(folder)
        listed = ome_metadata(node).get("labels") if isinstance(node, zarr.Group) else None
    except Exception as error:  # of zarr, for whatever metadata
        raise ImageError(f"{folder}: its Zarr metadata are not readable ({reason(error)}); save it again") from error
    if listed is None:
        return tuple(sorted(each.name for each in folder.iterdir() if is_zarr_folder(each)))
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ImageError(f"{folder}: its list of labels is no list of names; save it again")
    for name in listed:
        if not is_zarr_folder(folder / name) or ".." in Path(name).parts:
            raise ImageError(f"{folder}: labels {name!r} of its list are missing; copy it again")
    return tuple(listed)
