"""Annotated images: which files belong together, and what a mask says is true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet_deploy.errors import DataError
from unet_deploy.evaluation.objects import connected_objects
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES, ImageInfo, open_image, open_labels
from unet_deploy.images.array import ArraySource
from unet_deploy.images.orientation import upright
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.masks.apart import check_apart
from unet_deploy.system.machine import usable_cores

MaskKind = Literal["auto", "binary", "classes", "instances"]
"""What the integers of a mask number: docs/training.md."""

JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Pair:
    """Where one image and its mask lie: files, and the page in each."""

    name: str
    image: Path
    mask: Path
    page: int = 0
    pages: int = 1
    """How many pages either file has."""


def find_pairs(data: Path, masks: Path | None = None) -> list[Pair]:
    """Pair the files of a folder with images/ and masks/ by their stems, sorted, or the pages of two stacks.

    data: the folder, or the image stack whose label stack is `masks`.

    Raises DataError for a missing folder, a file without its pair, or stacks of different length.
    """
    if masks is not None:
        return _stack_pairs(data, masks)
    folders = {kind: data / kind for kind in ("images", "masks")}
    if not all(folder.is_dir() for folder in folders.values()):
        raise DataError(f"{data}: training data is a folder with images/ and masks/, or an image stack and --masks")
    images, truths = (_by_stem(folder) for folder in folders.values())
    for stem in sorted(images.keys() ^ truths.keys()):
        there, missing = (images[stem], "masks") if stem in images else (truths[stem], "images")
        raise DataError(f"{there}: has no file named {stem}.* in {folders[missing]}; add it or take this one away")
    if not images:
        raise DataError(f"{folders['images']}: no image in it")
    for mask in truths.values():
        if mask.suffix.lower() in JPEG_SUFFIXES:
            raise DataError(f"{mask}: JPEG changes label numbers; save masks as PNG or TIFF")
    return [Pair(stem, images[stem], truths[stem]) for stem in sorted(images)]


def check_no_data(outputs: Iterable[Path], data: Path, masks: Path | None, others: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output is annotated data or another input, or lies in images/ or masks/.

    data, masks: as `find_pairs` takes them, and it raises as that.
    """
    files = [each for pair in find_pairs(data, masks) for each in (pair.image, pair.mask)]
    folders = [data / "images", data / "masks"] if masks is None else []
    check_apart(outputs, [*files, *folders, *others])


def _by_stem(folder: Path) -> dict[str, Path]:
    known = TIFF_SUFFIXES + RASTER_SUFFIXES
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in known and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(f"{path}: {files[path.stem].name} has the same stem; keep one of them")
            files[path.stem] = path
    return files


def _stack_pairs(data: Path, masks: Path) -> list[Pair]:
    with open_image(data) as images, open_labels(masks) as truths:
        pages = (images.info.pages, truths.info.pages)
    if pages[0] != pages[1]:
        raise DataError(f"{data} has {pages[0]} pages, but {masks} has {pages[1]}; they must pair up")
    return [Pair(f"{data.stem}[{page}]", data, masks, page, pages[0]) for page in range(pages[0])]


@dataclass(frozen=True)
class Truth:
    """What a mask says of an image."""

    labels: np.ndarray
    """(H, W) uint8, class indices."""
    objects: np.ndarray
    """(H, W) int32, numbered objects, 0 the background."""

    def part(self, inside: tuple[slice, slice]) -> Truth:
        """What it says of some rows and columns."""
        return Truth(self.labels[inside], self.objects[inside])


def read_truths(pairs: Sequence[Pair], classes: Sequence[str], kind: MaskKind = "auto") -> list[Truth]:
    """Read all masks. Raises DataError for masks that hold no labels."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        masks = list(pool.map(_read_mask, pairs))
    kind = _decide_kind(masks, len(classes)) if kind == "auto" else kind
    if kind == "binary":
        masks, kind = _as_classes(masks, pairs), "classes"
    return [_truth(mask, pair, kind, len(classes)) for mask, pair in zip(masks, pairs, strict=True)]


def read_pixels(pair: Pair, reading: Reading = AS_SAID) -> np.ndarray:
    """Read the image of a pair, (C, H, W). Raises as `read_image`."""
    image = read_image(pair, reading)
    return image.crop(0, image.info.region)


def read_image(pair: Pair, reading: Reading = AS_SAID) -> ArraySource:
    """Read the image of a pair into memory, upright, as one of a page.

    Its mask is brought upright too, as either file says that it lies. Raises ImageError, and DataError for stray pages.
    """
    with reading.open(pair.image) as source:
        _check_pages(source.info, pair)
        whole = source.info.region
        pixels, valid = source.crop(pair.page, whole), source.crop_valid(pair.page, whole)
        pixels = np.ascontiguousarray(upright(pixels, source.info.orientation))
        valid = None if valid is None else upright(valid, source.info.orientation)
        return ArraySource(pixels, name=str(pair.image), nodata=source.nodata, valid=valid)


def check_size(pair: Pair, image: np.ndarray, truth: Truth) -> None:
    """Raise DataError unless an image (C, H, W) and its mask are of one size."""
    if image.shape[1:] != truth.labels.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (image.shape[1:], truth.labels.shape)]
        raise DataError(f"{pair.mask}: is {sizes[1]} pixels, but its image {pair.image} is {sizes[0]}")


def leave_out(truth: Truth, data: np.ndarray | None) -> Truth:
    """Return a truth that is background where `data`, bool (H, W), is False: nobody can be wrong there."""
    if data is None:
        return truth
    return Truth(np.where(data, truth.labels, 0).astype(np.uint8), np.where(data, truth.objects, 0))


def absent_class(labels: Iterable[np.ndarray], classes: Sequence[str]) -> str | None:
    """Name the first class that no pixel is of; None where all occur."""
    counts = count_pixels(labels, len(classes))
    return next((name for name, count in zip(classes, counts, strict=True) if count == 0), None)


def count_pixels(labels: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """Count the pixels of each class: (classes,) int64."""
    counts = np.zeros(classes, np.int64)
    for each in labels:
        counts += np.bincount(each.reshape(-1), minlength=classes)
    return counts


def _read_mask(pair: Pair) -> np.ndarray:
    with open_labels(pair.mask) as source:
        info = source.info
        _check_pages(info, pair)
        if info.channels != 1:
            raise DataError(f"{pair.mask}: a mask has one channel of label numbers, this has {info.channels}")
        if info.dtype.kind not in "bui":
            raise DataError(f"{pair.mask}: mask pixels are {info.dtype}; save label numbers as integers")
        mask = upright(source.crop(pair.page, info.region)[0], info.orientation)
    if mask.dtype.kind == "i" and mask.min() < 0:
        raise DataError(f"{pair.mask}: label numbers below 0; number objects or classes from 0")
    return mask


def _check_pages(info: ImageInfo, pair: Pair) -> None:
    if info.pages != pair.pages:
        raise DataError(f"{info.name}: has {info.pages} pages; save each as a file, or give two stacks with --masks")


def _decide_kind(masks: Sequence[np.ndarray], classes: int) -> MaskKind:
    """Tell a kind from the values of all masks: two are foreground and background, more are numbers of something.

    More than two values are classes where more than two classes are named, and numbered objects elsewhere.
    """
    values: set[int] = set()
    for mask in masks:
        values.update(np.unique(mask).tolist())
        if len(values) > 2:
            return "classes" if classes > 2 else "instances"
    return "binary" if classes == 2 else "classes"


def _as_classes(masks: Sequence[np.ndarray], pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Bring masks of two values, 0 and 255 or 1 and 2, to 0 and 1: the higher one is the foreground."""
    values = np.unique(np.concatenate([np.unique(mask) for mask in masks]))
    if len(values) > 2:
        raise DataError(f"{pairs[0].mask.parent}: {len(values)} values in masks that should hold two; see --mask-kind")
    return [(mask > (values[0] if len(values) == 2 else 0)).astype(np.uint8) for mask in masks]


def _truth(mask: np.ndarray, pair: Pair, kind: MaskKind, classes: int) -> Truth:
    if kind == "instances":
        objects = np.unique(mask, return_inverse=True)[1].reshape(mask.shape) + (0 if (mask == 0).any() else 1)
        return Truth((mask > 0).astype(np.uint8), objects.astype(np.int32))
    if mask.max() >= classes:
        raise DataError(f"{pair.mask}: label {mask.max()}, but only {classes} classes are named; name all, from 0")
    labels = mask.astype(np.uint8)
    return Truth(labels, connected_objects(labels > 0))
