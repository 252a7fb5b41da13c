"""Images with what was drawn on them beside, or one file for all of them.

    slide.tif  slide.geojson             QuPath, or our own outlines; slide.ome.zarr too
    cell.tif   cell_RoiSet.zip           Fiji; or cell.zip, cell.roi, and of an only image RoiSet.zip
    a.png      a.json                    LabelMe
    a.png      b.png  annotations.json   COCO, of all images by the names in it

Images may lie in images/, folders within it too, and drawings in annotations/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from unet_deploy.annotations.coco import files_listed, lists
from unet_deploy.annotations.drawn import is_drawing, kind_of, no_drawing
from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.folders import (
    by_stem,
    is_hidden,
    is_image_zarr,
    is_picture,
    pictures_and_zarrs,
    typed,
)
from unet_deploy.evaluation.names import key_of
from unet_deploy.evaluation.pair import Pair
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES
from unet_deploy.segmentation.inputs import is_of_a_run

NAME = "drawings beside images (QuPath, ImageJ, LabelMe, COCO)"

_ENDING = re.compile(r"[ _-](roiset|rois?|annotations?)$")
"""What the name of a drawing may have beyond that of its image."""
_ROI_SET = "roiset"
"""What Fiji calls regions that nobody named."""
_MEANT = (".geojson", ".roi", ".json")
"""How names end of what is looked into for drawings where an image has none; a .zip may be of anything."""


def fits(data: Path) -> bool:
    """Whether a folder holds drawings, or what is to be one by its name; a .zip of another name by what is in it."""
    images = _images(data)
    by_key = _by_key(images)
    drawings = list(_drawings(data))
    if any(_is_meant(stem, path) or _named(stem, by_key) for stem, path in drawings):
        return bool(images)
    return bool(images) and any(_holds_drawings(path) for _, path in drawings)


def _is_meant(stem: str, path: Path) -> bool:
    """Whether a file is to be a drawing by its name, of whatever image."""
    return path.suffix.lower() in _MEANT or key_of(stem) == _ROI_SET


def held(data: Path) -> tuple[Path, ...]:
    """The folders of images and drawings, or the one that holds both."""
    folders = tuple(folder for folder in (data / "images", data / "annotations") if folder.is_dir())
    return folders if data / "images" in folders else (data,)


def pair_files(data: Path, marking: Marking) -> list[Pair]:
    """Pair the images of a folder with what was drawn on them; masks and overlays of our own runs are left out.

    Raises DataError for an image without a drawing or with two, and a drawing of no image or of several.
    """
    images = _images(data)
    found, alone = _claimed(images, _drawings(data))
    for stem, drawing in alone:
        _claim_more(found, images, stem, drawing)
    missing = [stem for stem in images if stem not in found]
    if missing and not found:
        for stem, drawing in alone:
            if _is_meant(stem, drawing):
                raise no_drawing(drawing)
    if missing:
        more = f" (nor have {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{images[missing[0]]}: {_missing(missing[0])}{more}; annotate it, or take it away")
    return [Pair(typed(stem), images[stem], found[stem], marking=marking) for stem in sorted(images)]


def pair_one(image: Path, marking: Marking) -> Pair:
    """Pair an image with what was drawn on it in its folder.

    Raises DataError where that is nothing, or two files, or where a file that may hold it cannot be read.
    """
    drawing = drawing_of(image)
    if drawing is None:
        for _, other in _drawings_beside(image.parent):
            kind_of(other)  # one that cannot be read may be the one that is missing
        raise DataError(f"{image}: {_missing(image.stem)}; annotate it, or give its label stack with --masks")
    return Pair(typed(image.stem), image, drawing, marking=marking)


def drawing_of(image: Path, folder: Path | None = None) -> Path | None:
    """What was drawn on an image, in this folder, or else where `pair_files` looks; None for nothing.

    Raises DataError for two files.
    """
    image = image.absolute()
    root = None if folder else next((each for each in image.parents if each.name == "images"), None)
    stem = image.relative_to(root).with_suffix("").as_posix() if root else image.stem
    drawings = _drawings_around(image, root) if root else _drawings_beside(folder or image.parent)
    found, alone = _claimed({stem: image}, drawings)
    for _, drawing in alone:
        unnamed = key_of(drawing.stem) == _ROI_SET and len(_images(drawing.parent)) == 1
        if unnamed or (drawing.suffix.lower() == ".json" and _lists(drawing, image)):
            _claim(found, {stem: image}, stem, drawing)
    return found.get(stem)


def images_in(data: Path) -> list[Path]:
    """The images of a folder for drawings that holds them in images/; none of one that holds some itself, or masks/."""
    if not (data / "images").is_dir() or (data / "masks").is_dir() or any(_images_beside(data)):
        return []
    return list(_images(data).values())


# -- what lies there -------------------------------------------------------------------------------------------------


def _images(data: Path) -> dict[str, Path]:
    """The images of a folder by their stems."""
    folder = data / "images"
    there = pictures_and_zarrs(folder) if folder.is_dir() else _images_beside(data)
    return by_stem(folder if folder.is_dir() else data, there)


def _images_beside(data: Path) -> Iterator[Path]:
    """Those that lie in the folder itself, where masks may lie beside them."""
    for path in data.iterdir():
        ours = is_of_a_run(path) or (path.suffix == ".zarr" and path.stem.endswith(".mask"))
        if not ours and (is_picture(data, path) or is_image_zarr(data, path)):
            yield path


def _drawings(data: Path) -> Iterator[tuple[str, Path]]:
    """All files that may be drawings, with their stems below the folder that holds them."""
    if (data / "images").is_dir():
        for folder in (data / "images", data / "annotations"):
            yield from _drawings_beside(folder, folder.rglob("*"))
    yield from _drawings_beside(data)


def _drawings_around(image: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Those that may be of an image in images/, the root, or in a folder within it, for which that is not searched."""
    annotations, within = root.parent / "annotations", image.parent.relative_to(root)
    yield from _drawings_beside(root, image.parent.iterdir())
    for folder in dict.fromkeys((annotations, annotations / within)):
        if folder.is_dir():
            yield from _drawings_beside(annotations, folder.iterdir())
    yield from _drawings_beside(root.parent)


def _drawings_beside(folder: Path, paths: Iterable[Path] | None = None) -> Iterator[tuple[str, Path]]:
    """The drawings among some paths in a folder, or among what lies in it itself."""
    for path in sorted(folder.iterdir() if paths is None else paths):
        if is_drawing(path) and path.is_file() and not is_hidden(folder, path):
            yield path.relative_to(folder).with_suffix("").as_posix(), path


def _holds_drawings(path: Path) -> bool:
    """Whether a .zip or .json holds drawings."""
    try:
        return kind_of(path) is not None
    except DataError:
        return False


def _lists(path: Path, image: Path) -> bool:
    """Whether a .json is COCO's and has an entry for an image."""
    return _holds_drawings(path) and kind_of(path) == "coco" and lists(path, image)


# -- what belongs together -------------------------------------------------------------------------------------------


def _by_key(images: Mapping[str, Path]) -> dict[str, list[str]]:
    by_key = defaultdict(list)
    for stem in images:
        by_key[key_of(stem)].append(stem)
    return by_key


def _named(stem: str, by_key: Mapping[str, list[str]]) -> list[str]:
    """The stems of the images that a drawing is of by its name: theirs, with an ending or with the image's suffix.

    >>> [_named(stem, {"cell": ["cell"]}) for stem in ("Cell", "cell_RoiSet", "cell.ome.tif", "cell2")]
    [['cell'], ['cell'], ['cell'], []]
    """
    key = key_of(stem)
    suffix = Path(key).suffix
    bare = key.removesuffix(suffix) if suffix in (*TIFF_SUFFIXES, *RASTER_SUFFIXES, ".zarr") else key
    keys = (key, _ENDING.sub("", key).removesuffix(".ome"), bare.removesuffix(".ome"))
    return next((by_key[each] for each in keys if each in by_key), [])


def _claimed(
    images: Mapping[str, Path], drawings: Iterable[tuple[str, Path]]
) -> tuple[dict[str, Path], list[tuple[str, Path]]]:
    """The drawing of each image that has one by its name, and the drawings that have no image by theirs."""
    by_key, found, alone = _by_key(images), dict[str, Path](), []
    for stem, drawing in drawings:
        named = _named(stem, by_key)
        if len(named) > 1:
            raise DataError(f"{drawing}: may be of {images[named[0]]} or {images[named[1]]}; rename one of them")
        if named:
            _claim(found, images, named[0], drawing)
        else:
            alone.append((stem, drawing))
    return found, alone


def _claim(found: dict[str, Path], images: Mapping[str, Path], stem: str, drawing: Path) -> None:
    if stem in found:
        raise DataError(f"{drawing}: is drawn on {images[stem]}, as {found[stem]} is; keep one of them")
    found[stem] = drawing


def _claim_more(found: dict[str, Path], images: Mapping[str, Path], stem: str, drawing: Path) -> None:
    """Give a drawing that no image has the name of to those that it says itself. Raises DataError for none."""
    kind = kind_of(drawing)
    if kind == "coco":
        listed, files = [each for each, image in images.items() if lists(drawing, image)], len(files_listed(drawing))
        if len(listed) != files:
            remedy = (
                "add the others, or take them out of it"
                if len(listed) < files
                else "list each with its folder in file_name, or take the others away"
            )
            raise DataError(f"{drawing}: lists {files} images, but {len(listed)} of their names are here; {remedy}")
        for each in listed:
            _claim(found, images, each, drawing)
    elif kind and len(images) == 1 and key_of(stem) == _ROI_SET:
        _claim(found, images, next(iter(images)), drawing)
    elif kind:
        name = Path(next(iter(images))).name
        raise DataError(
            f"{drawing}: no image is named {stem}.*; name it after its image, as in {name}{drawing.suffix}, or take it "
            "away"
        )


def _missing(stem: str) -> str:
    """Say that an image has no drawing."""
    name = Path(stem).name
    return f"has no annotation beside it, such as {name}.geojson, {name}_RoiSet.zip or {name}.json"
