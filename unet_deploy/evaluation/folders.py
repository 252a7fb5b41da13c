"""Annotated images in two folders, images/ and masks/: files of the same stem, in folders within them too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.names import pair_stems
from unet_deploy.evaluation.pair import Pair
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES, is_zarr_folder

NAME = "images/ and masks/"

_JPEG_SUFFIXES = (".jpg", ".jpeg")


def fits(data: Path) -> bool:
    """Whether a folder holds both folders."""
    return all(folder.is_dir() for folder in held(data))


def held(data: Path) -> tuple[Path, ...]:
    """The two folders."""
    return data / "images", data / "masks"


def pair_files(data: Path, marking: Marking) -> list[Pair]:
    """Pair files as `pair_stems` does. Raises DataError as that, and for JPEG masks."""
    images, masks = (by_stem(folder, pictures(folder, folder.rglob("*"))) for folder in held(data))
    if not images:
        raise DataError(f"{data / 'images'}: no image in it")
    found = pair_stems(images, masks)
    for stem in found.values():
        check_lossless(masks[stem])
    return [Pair(typed(stem), images[stem], masks[found[stem]], marking=marking) for stem in sorted(images)]


def typed(stem: str) -> str:
    """The name of a pair, as a person types it: file systems may keep é as two signs."""
    return unicodedata.normalize("NFC", stem)


def check_lossless(mask: Path) -> None:
    """Raise DataError for a mask whose numbers are not what was saved."""
    if mask.suffix.lower() in _JPEG_SUFFIXES:
        raise DataError(f"{mask}: JPEG changes label numbers; save masks as PNG or TIFF")


def pictures(folder: Path, paths: Iterable[Path]) -> Iterator[Path]:
    """The pictures among what lies in a folder."""
    return (path for path in paths if is_picture(folder, path))


def pictures_and_zarrs(folder: Path) -> Iterator[Path]:
    """All pictures and Zarrs of a folder and of those within it, but none within a Zarr."""
    for path in sorted(folder.iterdir()):
        if is_picture(folder, path) or is_image_zarr(folder, path):
            yield path
        elif path.is_dir() and not is_hidden(folder, path):
            yield from pictures_and_zarrs(path)


def by_stem(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """What lies in a folder by its paths there without suffix. Raises DataError for two of one stem."""
    files: dict[str, Path] = {}
    for path in sorted(paths):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise DataError(f"{path}: {files[stem].name} has the same stem; keep one of them")
        files[stem] = path
    return files


def is_picture(folder: Path, path: Path) -> bool:
    """Whether what lies in a folder has the name of a picture; none that is hidden, or lies in what is, has."""
    return path.suffix.lower() in TIFF_SUFFIXES + RASTER_SUFFIXES and not is_hidden(folder, path)


def is_image_zarr(folder: Path, path: Path) -> bool:
    """Whether what lies in a folder is a Zarr ; none that is hidden is."""
    return is_zarr_folder(path) and not is_hidden(folder, path)


def is_hidden(folder: Path, path: Path) -> bool:
    """Whether what lies in a folder is hidden, or lies in what is."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
