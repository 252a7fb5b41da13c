"""From what a person types to the images to segment and the files to make of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from unet_deploy.errors import ImageError, MissingPackageError, UsageError
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES, is_url, is_zarr
from unet_deploy.masks import Layout, is_mask_name, known_formats, origin_of
from unet_deploy.masks.apart import check_apart
from unet_deploy.segmentation.outputs import Outputs, beside, tiff_suffix

_OURS = (
    *(".mask.tif", ".overlay.png"),
    *(".curves.png", ".validation.png"),  # of a training
    *(f".{what}{end}" for what in ("probabilities", "instances") for end in (".tif", ".ome.tif", ".zarr")),
)
"""How the names of files end that a run or a training itself has chosen."""


def find_images(inputs: Iterable[str], notify: Callable[[str], None] | None = None) -> list[Path]:
    """The image files that files, folders and glob patterns name, in order, each once.

    Folders and patterns leave out what is no image, and what a run has made, by its name or as it says itself.
    notify: told of these. Raises UsageError for an empty name, and ImageError when an input names no image.
    """
    found: dict[Path, None] = {}
    ours: list[Path] = []
    for given in inputs:
        if not given:
            raise UsageError("one of the images has an empty name; name a file, a folder (. is this one) or a pattern")
        path = Path(given)
        if is_url(path) or (path.is_dir() and is_zarr(path)):
            images, missing = [path], ""
        elif path.is_dir():
            images = _without_ours(sorted(path.iterdir()), ours)
            kinds = " ".join(TIFF_SUFFIXES + RASTER_SUFFIXES)
            missing = f"{given}: no image in this folder; images end in {kinds}"
        elif path.exists():
            images, missing = [path], ""
        elif glob.has_magic(given):
            images = _without_ours(map(Path, sorted(glob.glob(given, recursive=True))), ours)
            missing = f"{given}: no image fits this pattern"
        else:
            images, missing = [], f"{given}: no such file or folder"
        if not images:
            raise ImageError(missing + ("; masks, overlays and numbers of a run are left out" if ours else ""))
        found.update(dict.fromkeys(images))
    if ours and notify:
        more = f" and {len(ours) - 1} more" if len(ours) > 1 else ""
        notify(f"note: left out, masks, overlays or numbers of a run: {ours[0].name}{more}")
    return list(found)


def _without_ours(paths: Iterable[Path], ours: list[Path]) -> list[Path]:
    """The images among some paths; what a run has made is added to `ours`."""
    images: list[Path] = []
    for path in filter(_is_input, paths):
        (ours if is_of_a_run(path) or _says_so(path) else images).append(path)
    return images


def _says_so(path: Path) -> bool:
    """Whether a file or folder says itself that a run has made it."""
    try:
        return is_mask_name(path) and origin_of(path) is not None
    except MissingPackageError:  # which the run says of the image that it is taken for
        return False


def is_of_a_run(path: Path) -> bool:
    """Whether a file has a name as a run gives it to what it writes beside an image."""
    return path.name.endswith(_OURS)


def name_outputs(
    images: Sequence[Path],
    output: Path | None,
    *,
    probabilities: bool = False,
    overlay: bool = False,
    objects: str | None = None,
    instances: str | None = None,
    shared: bool = False,
    layout: Layout = "auto",
) -> list[Outputs]:
    """The files to make of each image.

    objects, instances: a file, or for any number of images just what its name ends in.
    shared: whether several processes are to fill them.
    Raises UsageError when two outputs would be one file or a name says of another kind of file, and when any of them
    is, or lies in, any of the images.
    """
    masks = _name_masks(images, output)
    owners: dict[Path, Path] = {}
    for image, mask in zip(images, masks, strict=True):
        if mask in owners:
            raise UsageError(f"{mask}: both {owners[mask]} and {image} would be written here; segment them apart")
        owners[mask] = image
    named = [
        Outputs.beside(
            mask,
            probabilities=probabilities,
            overlay=overlay,
            objects=_named(objects, mask, "objects", len(masks)),
            instances=_named_mask(instances, mask, "instances", len(masks)),
            shared=shared,
            layout=layout,
        )
        for mask in masks
    ]
    check_apart([place for outputs in named for place in outputs.places], images)
    return named


def _name_masks(images: Sequence[Path], output: Path | None) -> list[Path]:
    """The mask of each image.

    One image and an output whose name is a mask's: that file. Otherwise `output` is a folder, or the image's own by
    default, of <stem>.mask.tif. Raises UsageError.
    """
    if output is None and any(map(is_url, images)):
        raise UsageError("an image by URL has no folder of ours beside it; give the mask with --output")
    if output is not None and is_mask_name(output):
        if len(images) > 1:
            raise UsageError(f"{output}: one mask file for {len(images)} images; give a folder")
        return [output]
    if output is not None and len(images) == 1 and output.suffix and not os.path.isdir(output):
        raise UsageError(f"{output}: {known_formats()}, or a folder")
    if output is not None and os.path.isfile(output):
        raise UsageError(f"{output}: is a file and no mask; give a folder")
    zarrs = set() if output is not None else set(filter(is_zarr, {image.parent for image in images}))
    if inner := next((image for image in images if image.parent in zarrs), None):
        raise UsageError(f"{inner}: lies in a Zarr, and no file belongs beside it; give the mask with --output")
    return [(image.parent if output is None else output) / f"{image.stem}.mask.tif" for image in images]


def _named(asked: str | None, mask: Path, what: str, images: int) -> Path | None:
    """The file that was asked for, or one beside the mask where only its type was, in one word."""
    if asked is None:
        return None
    path, kind = Path(asked), asked.removeprefix(".")
    if path.suffix or len(path.parts) > 1:
        if images > 1:
            raise UsageError(
                f"--{what} {asked}: one file for {images} images; give just {path.suffix[1:] or 'its type'}"
            )
        return path
    base, end = beside(mask), tiff_suffix(mask) if kind == "tif" else f".{kind}"
    return base.with_name(f"{base.name}.{what}{end}")


def _named_mask(asked: str | None, mask: Path, what: str, images: int) -> Path | None:
    """The same for a file of pixels. Raises UsageError where its name is not that of a mask."""
    path = _named(asked, mask, what, images)
    if path and not is_mask_name(path):
        raise UsageError(f"--{what} {asked}: {known_formats()}")
    return path


def _is_input(path: Path) -> bool:
    if path.suffix == ".zarr":
        return path.is_dir()
    known = path.suffix.lower() in TIFF_SUFFIXES + RASTER_SUFFIXES
    return known and path.is_file() and not path.name.startswith(".")
