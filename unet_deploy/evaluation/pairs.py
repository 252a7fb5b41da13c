"""Annotated images: which files belong together, however they lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.layouts import layout_of
from unet_deploy.evaluation.pair import Pair, check_pages, read_image, read_pixels
from unet_deploy.images import open_image, open_labels
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

    data: a folder of any of `unet_deploy.evaluation.layouts.LAYOUTS`; or the image stack whose label stack is `masks`.
    marking: how masks are to be read.
    Raises DataError for a folder of no kind, a file without its pair or with two, or stacks of different length.
    """
    if masks is not None:
        return Found("image stack and label stack", _stack_pairs(data, masks, marking))
    layout = layout_of(data)
    return Found(layout.name, layout.pairs(data, marking), layout.held(data))


def check_no_data(outputs: Iterable[Path], data: Path, masks: Path | None, others: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output is annotated data or another input, or lies in a folder of images or masks.

    data, masks: as `find_data` takes them, and it raises as that.
    """
    found = find_data(data, masks)
    check_apart(outputs, [*found.files, *found.folders, *others])


def _stack_pairs(data: Path, masks: Path, marking: Marking) -> list[Pair]:
    with open_image(data) as images, open_labels(masks) as truths:
        pages = (images.info.pages, truths.info.pages)
    if pages[0] != pages[1]:
        raise DataError(f"{data} has {pages[0]} pages, but {masks} has {pages[1]}; they must pair up")
    return [Pair(f"{data.stem}[{page}]", data, masks, page, pages[0], marking) for page in range(pages[0])]
