"""Pictures out: `open_mask` is the door, and there is one file for each kind of file behind it.

What a mask is (`MaskForm`) and what becomes of one that is not finished or is there already (`Keep`) travel as values.
`format_of` alone says which kind of file a name stands for; whoever wants to know more of it asks the `MaskFormat`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.images import TIFF_SUFFIXES, ImageInfo, is_url, is_zarr
from unet_deploy.system.extras import require
from unet_deploy.system.marks import bears
from unet_deploy.tiling import Region

if TYPE_CHECKING:
    from unet_deploy.images.ome_zarr import Axis
    from unet_deploy.masks.origin import Origin


_UINT8 = np.dtype(np.uint8)

Layout = Literal["auto", "strips", "tiles"]
"""How a TIFF lies on the disk: in strips, which every program opens; in tiles with a pyramid; or as fits its size."""


@dataclass(frozen=True)
class MaskForm:
    """What a mask is, before it has pixels: (pages, planes, height, width) of a dtype."""

    image: ImageInfo
    """The image that it is of, whose pages, height and width it has."""
    planes: int = 1
    """For each page of the image: 1 for labels and for numbers of objects, one a class for probabilities."""
    dtype: np.dtype[Any] = _UINT8
    region: Region | None = None
    """What will be written of each page; the rest is 0. None for the whole."""
    classes: tuple[str, ...] = ()
    """Their names in the order of labels or planes, the background first; empty where numbers are no classes."""
    axes: Sequence[Axis] | None = None
    """Those of an OME-Zarr image; None where its pages are z."""
    nodata: int | None = None
    """The number of pixels that are no data, as the file is to say; None where it says none."""
    layout: Layout = "auto"
    """Of a TIFF."""
    origin: Origin | None = None
    """What the file says that it was made of; None where it says nothing."""

    @property
    def written(self) -> Region:
        """What will be written of each page."""
        return self.region or Region(0, 0, self.image.height, self.image.width)

    @property
    def is_labels(self) -> bool:
        """Whether its numbers are labels: only integers are."""
        return self.dtype.kind in "ui"


@dataclass(frozen=True)
class Keep:
    """What becomes of a mask that is not finished, and of one that is there."""

    key: Mapping[str, Any] | None = None
    """What must be the same for a later run to go on, by names that a person understands. None: nothing is kept."""
    resume: bool = False
    """Whether to go on from what an unfinished run of the same key left."""
    overwrite: bool = False
    """Whether a mask that is there is replaced, and what an unfinished run left thrown away."""

    job: str = ""
    """The mark that the files of this job carry, and no others; empty where that is not known."""

    def replaces(self, path: Path) -> bool:
        """Whether a file that is there is replaced: a run that goes on may have given names to some before it ended.

        Only what carries the mark of the job is such a file.
        """
        return self.overwrite or (self.resume and (not self.job or bears(path, self.job)))


class MaskWriter(ABC):
    """What fills a mask region by region, each pixel once, in any order. Of some formats several may fill one mask."""

    @abstractmethod
    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        """Take (planes, h, w) for a region inside the image; what is in finished blocks is left as it is."""

    @abstractmethod
    def has(self, page: int, region: Region) -> bool:
        """Whether all blocks that a region touches are finished, by this run or an earlier one."""


class MaskSink(MaskWriter):
    """A mask that is made: the writer that gives it its name.

    It is a context manager. What was not committed when it closes is not under the file's name; where there is a key,
    it is kept for a run that goes on.
    """

    resumed: bool
    """Whether it goes on from where an earlier run ended."""

    tree: Path | None = None
    """The folder that writers of other processes (`MaskFormat.writer`) may fill; None where only this one can write."""

    @abstractmethod
    def read(self, page: int, region: Region) -> np.ndarray:
        """The pixels of a region that it has, (planes, h, w)."""

    @abstractmethod
    def commit(self) -> None:
        """Finish the file; only now its name exists. What a later run would go on from goes with `close`."""

    def keep(self) -> None:
        """After `commit`: let a later run go on all the same, because another file of this one is not finished.

        A sink that keeps nothing has nothing to do.
        """

    def give_up(self) -> None:
        """Let `close` leave nothing, because no later run could finish the file either.

        A sink that keeps nothing has nothing to do.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; closing twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class MaskFormat(ABC):
    """A kind of file that masks are written to. Its methods take the name as it was given, and open nothing."""

    block: int
    """Side in pixels of the blocks that are written whole."""
    shared: bool
    """Whether several processes may fill one mask."""
    spooled: bool
    """Whether finished blocks are on the disk twice, in a spool and in the file, until the run ends."""
    mapped: bool
    """Whether a mask says on which map it lies where its image does."""

    @abstractmethod
    def open(self, path: Path, form: MaskForm, keep: Keep) -> MaskSink:
        """A sink for a new mask. Raises UsageError, UnetDeployError and ResourceError."""

    def writer(self, tree: Path, path: Path, region: Region | None = None) -> MaskWriter:
        """A writer for another process, of a mask that grows in the `tree` of a sink.

        Raises UsageError where the format is not shared, and UnetDeployError where the folder cannot be written.
        """
        raise UsageError(f"{path}: only one process can write such a mask; give a name that ends in .zarr")

    @abstractmethod
    def check(self, path: Path, form: MaskForm, keep: Keep) -> None:
        """Raise what `open` would of a name that cannot be had, without a trace."""

    def place(self, path: Path) -> Path:
        """The file or folder that a mask of this name is. Raises UsageError where it has no room there."""
        return path

    def origin(self, path: Path) -> Origin | None:
        """What a finished mask says that it was made of; None where it says nothing, or is none of ours."""
        return None

    @abstractmethod
    def is_finished(self, path: Path) -> bool:
        """Whether a mask is there, whole."""

    @abstractmethod
    def unfinished(self, path: Path) -> Path:
        """Where the finished blocks of a mask wait that is not whole."""

    @abstractmethod
    def unfinished_key(self, path: Path) -> dict[str, Any]:
        """The key of the unfinished run of a mask; empty where there is none that this version could go on from."""

    @abstractmethod
    def sweep(self, path: Path, key: Mapping[str, Any]) -> None:
        """End what a run left that was killed after its mask, which is there and whole, got its name.

        key: what its key says at least. What another process is at stays, and what a later run may go on from, and
        what is none of ours; nothing is raised.
        """

    def waiting_bytes(self, form: MaskForm) -> int:
        """The most that blocks hold in memory which are not full yet, when tiles come row by row.

        That is a row of blocks: to the left of the tile those that it began, to the right those of the row above.
        """
        return (-(-form.image.width // self.block) + 2) * self.block**2 * form.planes * form.dtype.itemsize

    def written_bytes(self, form: MaskForm, share: float = 1.0) -> int:
        """The size of a finished mask whose pixels pack to this share of their bytes."""
        from unet_deploy.masks.blocks import packed_bytes

        return packed_bytes(form, share)


@dataclass(frozen=True)
class _Listed:
    """A format before its module is imported, which has it under the name FORMAT."""

    name: str
    suffixes: tuple[str, ...]
    has: Callable[[Path], bool]
    """Whether a name is that of such a mask."""
    module: str
    package: str | None = None
    """What its module needs and may be missing; the extra that installs it has the same name."""

    def load(self) -> MaskFormat:
        if self.package:
            require(self.package, self.package)
        return import_module(self.module).FORMAT


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES and not os.path.isdir(path) and not is_zarr(path)


_FORMATS = (
    _Listed("TIFF", TIFF_SUFFIXES, _is_tiff, "unet_deploy.masks.tiff"),
    _Listed("OME-Zarr", (".zarr",), is_zarr, "unet_deploy.masks.zarr", package="zarr"),
)
"""The first is that of names which say nothing."""


def is_mask_name(path: Path) -> bool:
    """Whether a name says of which kind the mask is."""
    return any(each.has(path) for each in _FORMATS)


def is_ome_name(path: Path) -> bool:
    """Whether a name says that it is a TIFF with OME metadata."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def check_mask_name(path: Path) -> None:
    """Raise UsageError where the end of a name says that it is another kind of file than a mask."""
    if path.suffix and not is_mask_name(path) and not os.path.isdir(path):
        raise UsageError(f"{path}: {known_formats()}")


def known_formats() -> str:
    """The kinds of masks, and how their names end, for a message."""
    names, ends = " or ".join(each.name for each in _FORMATS), " or ".join(each.suffixes[0] for each in _FORMATS)
    return f"masks are {names}; give a name that ends in {ends}"


def format_of(path: Path) -> MaskFormat:
    """The kind of file that a mask of this name is. Raises MissingPackageError where it needs what is not installed.

    >>> format_of(Path("mask.tif")).shared
    False
    """
    return next((each for each in _FORMATS if each.has(path)), _FORMATS[0]).load()


def origin_of(path: Path) -> Origin | None:
    """What a file says that it was made of; None for one that is no mask of ours, and for a URL, which is not asked."""
    return None if is_url(path) else format_of(path).origin(path)


def open_mask(path: Path, form: MaskForm, keep: Keep = Keep()) -> MaskSink:
    """A sink for a new mask of the kind that its name says. Raises UsageError, UnetDeployError and ResourceError."""
    return format_of(path).open(path, form, keep)
