"""Annotated images: which files belong together, however they lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.evaluation import beside, zarr_labels
from unet_deploy.evaluation.folders import is_picture
from unet_deploy.evaluation.layouts import layout_of
from unet_deploy.evaluation.pair import Pair, check_pages, count_pages, read_image, read_pixels
from unet_deploy.masks.apart import check_apart

__all__ = ["Found", "Pair", "check_no_data", "check_pages", "find_data", "find_pairs", "read_image", "read_pixels"]


@dataclass(frozen=True)
class Found:
    """What a data set was found to be."""

    layout: str
    """How its files lie, for people."""
    pairs: list[Pair]
    folders: tuple[Path, ...] = ()
    """Those that hold images or masks, in which no output may lie."""

    @property
    def files(self) -> list[Path]:
        """All that is read of it."""
        return [file for pair in self.pairs for file in pair.files]


def find_pairs(data: Path, masks: Path | None = None, marking: Marking = AS_MARKED) -> list[Pair]:
    """Pair images with their masks, sorted by the names of the images. As `find_data`, and raises as that."""
    return find_data(data, masks, marking).pairs


def find_data(data: Path, masks: Path | None = None, marking: Marking = AS_MARKED) -> Found:
    """Find out how annotated images lie, and pair them with their masks.

    data: a folder of any of `unet_deploy.evaluation.layouts.LAYOUTS`; an image with what was drawn on it beside; or the
    image stack whose label stack is `masks`.
    masks: of OME-Zarr images also the name of those of their labels that are meant. marking: how masks are to be read.
    Raises DataError for a folder of no kind, a file without its pair or with two, or stacks of different length.
    """
    if masks is not None and _names_labels(data, masks):
        return Found(zarr_labels.NAME, zarr_labels.pair_files(data, marking, str(masks)))
    if masks is not None:
        return Found("image stack and label stack", _stack_pairs(data, masks, marking))
    if (data.is_file() and is_picture(data.parent, data)) or zarr_labels.is_drawn_on(data):
        return Found(beside.NAME, [beside.pair_one(data, marking)])
    layout = layout_of(data)
    return Found(layout.name, layout.pairs(data, marking), layout.held(data))


def _names_labels(data: Path, masks: Path) -> bool:
    """Whether a mask is no file, but the name of labels in images."""
    return len(masks.parts) == 1 and not masks.exists() and data.is_dir() and zarr_labels.fits(data)


def check_no_data(outputs: Iterable[Path], data: Path, masks: Path | None, others: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output is annotated data or another input, or lies in a folder of images or masks.

    data, masks: as `find_data` takes them, and it raises as that.
    """
    found = find_data(data, masks)
    check_apart(outputs, [*found.files, *found.folders, *others])


def _stack_pairs(data: Path, masks: Path, marking: Marking) -> list[Pair]:
    pages = count_pages(data, masks)
    return [Pair(f"{data.stem}[{page}]", data, masks, page, pages, marking) for page in range(pages)]
