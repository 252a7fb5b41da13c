"""The ways in which annotated images lie in a folder: each tells whether a folder is of its kind, and pairs its files.

A new way is a file of its own and a row of `LAYOUTS`; the first that fits a folder is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation import beside, cellpose, folders, nnunet, zarr_labels
from unet_deploy.evaluation.pair import Pair
from unet_deploy.images import is_url


@dataclass(frozen=True)
class Layout:
    """One way in which annotated images lie in a folder."""

    name: str
    """For people."""
    fits: Callable[[Path], bool]
    """Whether a folder is of this kind, as far as names tell."""
    pairs: Callable[[Path, Marking], list[Pair]]
    """Pairs its files, sorted by the names of the images. Raises DataError for what has no pair, or two."""
    held: Callable[[Path], tuple[Path, ...]]
    """The folders of it that hold images or masks, in which no output may lie."""


LAYOUTS = (
    Layout(folders.NAME, folders.fits, folders.pair_files, folders.held),
    Layout(nnunet.NAME, nnunet.fits, nnunet.pair_files, nnunet.held),
    Layout(zarr_labels.NAME, zarr_labels.fits, zarr_labels.pair_files, zarr_labels.held),
    Layout(cellpose.NAME, cellpose.fits, cellpose.pair_files, cellpose.held),
    Layout(beside.NAME, beside.fits, beside.pair_files, beside.held),
)


def layout_of(data: Path) -> Layout:
    """The first layout that fits a folder. Raises DataError where none does."""
    for layout in LAYOUTS:
        if data.is_dir() and layout.fits(data):
            return layout
    if not (data.exists() or is_url(data)):
        raise DataError(f"{data}: no such file or folder")
    known = ", with ".join(layout.name for layout in LAYOUTS)
    raise DataError(f"{data}: training data is a folder with {known}, or an image stack and --masks")
