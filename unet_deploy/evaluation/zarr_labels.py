"""OME-Zarr images that hold their masks: one image, or a folder of them.

DATA.zarr/             or DATA/a.zarr/, DATA/b.zarr/ ...
    0/ 1/ ...          the image
    labels/cells/      its mask, the only one or the one that is named
"""

from __future__ import annotations

from pathlib import Path

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation import beside
from unet_deploy.evaluation.folders import typed
from unet_deploy.evaluation.pair import Pair, count_pages
from unet_deploy.images import is_zarr_folder, open_image
from unet_deploy.system.extras import require

NAME = "OME-Zarr images that hold labels/"


def fits(data: Path) -> bool:
    """Whether a folder is a Zarr, or holds any with labels, or else without a drawing beside."""
    if is_zarr_folder(data):
        return True
    images = _images_in(data)
    return bool(images) and (any(map(_holds_labels, images)) or not beside.fits(data))


def is_drawn_on(data: Path) -> bool:
    """Whether something is drawn beside an image that holds no labels. Raises DataError for two drawings."""
    return is_zarr_folder(data) and not _holds_labels(data) and beside.drawing_of(data) is not None


def held(data: Path) -> tuple[Path, ...]:
    """No folder beside the images, in which nothing can be written anyway."""
    return ()


def pair_files(data: Path, marking: Marking, labels: str | None = None) -> list[Pair]:
    """Pair images with their labels, page by page where they have several.

    labels: which of several. Raises DataError for an image without labels or with several, ImageError, and UsageError
    without the zarr package.
    """
    require("zarr", "zarr")
    images = [data] if is_zarr_folder(data) else _images_in(data)
    return [pair for image in images for pair in _pairs(image, marking, labels)]


def _images_in(data: Path) -> list[Path]:
    return sorted(each for each in data.iterdir() if is_zarr_folder(each) and not each.name.startswith("."))


def _holds_labels(image: Path) -> bool:
    return (image / "labels").is_dir()


def _pairs(image: Path, marking: Marking, labels: str | None) -> list[Pair]:
    mask = image / "labels" / _chosen(image, labels)
    pages = count_pages(image, mask)
    name = typed(image.name.removesuffix(".zarr").removesuffix(".ome"))
    names = [f"{name}[{page}]" for page in range(pages)] if pages > 1 else [name]
    return [Pair(each, image, mask, page, pages, marking) for page, each in enumerate(names)]


def _chosen(image: Path, labels: str | None) -> str:
    """The name of the labels that are the mask of an image. Raises DataError unless one is meant."""
    from unet_deploy.images.zarr_labels import label_names

    names = label_names(image)
    if labels is None and names and (drawing := beside.drawing_of(image)):
        raise DataError(
            f"{image}: holds labels {names[0]}, and {drawing} is drawn on it; choose the labels with "
            f"--masks {names[0]}, or take either away"
        )
    if labels is not None:
        if labels not in names:
            raise DataError(f"{image}: has no labels {labels!r}; it has {', '.join(names) or 'none'}")
        return labels
    if not names:
        open_image(image).close()  # what is no image says what to give in its place
        raise DataError(
            f"{image}: has no mask in labels/; draw one there, or in {image.stem}.geojson beside it, or give a label "
            "stack with --masks"
        )
    if len(names) > 1:
        raise DataError(
            f"{image}: has labels {', '.join(names)}; choose one with --masks {names[0]}, or take others away"
        )
    return names[0]
