"""Masks beside their images in one folder, as Cellpose saves them and reads them for its own training.

    a.tif                             the image
    a_cp_masks.png                    its mask; a_masks.tif, a_mask.png or a_labels.tif are masks too
    a_seg.npy                         what Cellpose's window keeps, looked at only where there is no mask
    a_flows.tif, a_cp_output.png ...  what else Cellpose makes: no images

The names are those of `get_image_files`, `get_label_files` and `save_masks` in cellpose/io.py, version 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.folders import by_stem, check_lossless, is_picture, pictures, typed
from unet_deploy.evaluation.names import key_of, key_of_image, names_a_mask
from unet_deploy.evaluation.pair import Pair
from unet_deploy.segmentation.inputs import is_of_a_run

NAME = "masks beside images (Cellpose)"

_KEPT = "_seg.npy"
"""How the file of Cellpose's window ends."""

_MADE = re.compile(r"_(cp_output|outlines|flows(_[012])?|cellprob|dp)(_cp_masks)?$")
"""How the names of pictures end, in small letters, that Cellpose makes beside an image and its mask."""


def fits(data: Path) -> bool:
    """Whether any file of a folder is named as a mask beside an image is."""
    return any(
        path.name.endswith(_KEPT) or (is_picture(data, path) and names_a_mask(path.stem)) for path in data.iterdir()
    )


def held(data: Path) -> tuple[Path, ...]:
    """The folder itself."""
    return (data,)


def pair_files(data: Path, marking: Marking) -> list[Pair]:
    """Pair the images of a folder with the masks beside them; what runs of ours and Cellpose made else is left out.

    Raises DataError for an image without mask or with two, and a mask without image.
    """
    there = (path for path in pictures(data, data.iterdir()) if not is_of_a_run(path))
    kept = _without_made(by_stem(data, there))
    masks = _masks_among(kept)
    images = {stem: path for stem, path in kept.items() if stem not in masks}
    if not images:
        raise DataError(f"{data}: no image beside its masks; put each image where its mask is")
    found = _masks_of(images, masks)
    window = {key_of(path.name.removesuffix(_KEPT)): path for path in data.glob(f"*{_KEPT}")}
    pairs = []
    for stem, image in sorted(images.items()):
        mask = found.get(stem) or window.get(key_of(stem))
        if mask is None:
            raise DataError(
                f"{image}: has no mask beside it, such as {stem}_cp_masks.png or {stem}_masks.tif; "
                "add it or take this one away"
            )
        check_lossless(mask)
        pairs.append(Pair(typed(stem), image, mask, marking=marking))
    return pairs


def _without_made(there: Mapping[str, Path]) -> dict[str, Path]:
    """Pictures but those that Cellpose made of another one of them."""
    keys = set(map(key_of, there))
    return {
        stem: path
        for stem, path in there.items()
        if not (_MADE.search(key_of(stem)) and _MADE.sub("", key_of(stem)) in keys)
    }


def _masks_among(there: Mapping[str, Path]) -> dict[str, Path]:
    """The pictures that are masks by their names, unless one of them has a mask of its own."""
    named = [stem for stem in there if names_a_mask(stem)]
    of = set(map(key_of_image, named))
    return {stem: there[stem] for stem in named if key_of(stem) not in of}


def _masks_of(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, Path]:
    """The mask of each image that has one, by its stem. Raises DataError for a mask of no image, and two of one."""
    stems = {key_of(stem): stem for stem in images}
    for stem, path in images.items():
        if (other := stems[key_of(stem)]) != stem:
            raise DataError(f"{path}: {images[other].name} has the same name but for its case; rename one of them")
    found: dict[str, Path] = {}
    for stem, mask in masks.items():
        image = stems.get(key_of_image(stem))
        if image is None:
            raise DataError(f"{mask}: its image is not beside it; add it or take the mask away")
        if image in found:
            raise DataError(f"{mask}: is a mask of {images[image]}, as {found[image]} is; keep one of them")
        found[image] = mask
    return found
