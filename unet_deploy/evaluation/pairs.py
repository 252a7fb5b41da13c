"""Annotated images: which files belong together."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.names import pair_stems
from unet_deploy.evaluation.pair import Pair, check_pages, read_image, read_pixels
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES, open_image, open_labels
from unet_deploy.masks.apart import check_apart

__all__ = ["Pair", "check_no_data", "check_pages", "find_pairs", "read_image", "read_pixels"]

JPEG_SUFFIXES = (".jpg", ".jpeg")


def find_pairs(data: Path, masks: Path | None = None, marking: Marking = AS_MARKED) -> list[Pair]:
    """Pair the files of a folder with images/ and masks/, folders within them too, or the pages of two stacks.

    data: the folder, whose files are paired by their stems as `pair_stems` does, sorted by those of the images; or the
    image stack whose label stack is `masks`. marking: how masks are to be read.
    Raises DataError for a missing folder, a file without its pair or with two, or stacks of different length.
    """
    if masks is not None:
        return _stack_pairs(data, masks, marking)
    folders = {kind: data / kind for kind in ("images", "masks")}
    if not all(folder.is_dir() for folder in folders.values()):
        raise DataError(f"{data}: training data is a folder with images/ and masks/, or an image stack and --masks")
    images, truths = (_by_stem(folder) for folder in folders.values())
    if not images:
        raise DataError(f"{folders['images']}: no image in it")
    found = pair_stems(images, truths)
    for stem in found.values():
        if truths[stem].suffix.lower() in JPEG_SUFFIXES:
            raise DataError(f"{truths[stem]}: JPEG changes label numbers; save masks as PNG or TIFF")
    return [Pair(_name(stem), images[stem], truths[found[stem]], marking=marking) for stem in sorted(images)]


def _name(stem: str) -> str:
    """The name of a pair, as a person types it: file systems may keep é as two signs."""
    return unicodedata.normalize("NFC", stem)


def check_no_data(outputs: Iterable[Path], data: Path, masks: Path | None, others: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output is annotated data or another input, or lies in images/ or masks/.

    data, masks: as `find_pairs` takes them, and it raises as that.
    """
    files = [each for pair in find_pairs(data, masks) for each in (pair.image, pair.mask)]
    folders = [data / "images", data / "masks"] if masks is None else []
    check_apart(outputs, [*files, *folders, *others])


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures in a folder and those within it, by their paths without suffix; hidden ones are left out."""
    known = TIFF_SUFFIXES + RASTER_SUFFIXES
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)
        if path.suffix.lower() in known and not hidden:
            stem = inside.with_suffix("").as_posix()
            if stem in files:
                raise DataError(f"{path}: {files[stem].name} has the same stem; keep one of them")
            files[stem] = path
    return files


def _stack_pairs(data: Path, masks: Path, marking: Marking) -> list[Pair]:
    with open_image(data) as images, open_labels(masks) as truths:
        pages = (images.info.pages, truths.info.pages)
    if pages[0] != pages[1]:
        raise DataError(f"{data} has {pages[0]} pages, but {masks} has {pages[1]}; they must pair up")
    return [Pair(f"{data.stem}[{page}]", data, masks, page, pages[0], marking) for page in range(pages[0])]
