"""Which files are made of an image: their names, their kinds, and whether they can be made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import numpy as np

from unet_deploy.errors import UsageError, address
from unet_deploy.images import ImageInfo, is_url, is_zarr_folder, url_of
from unet_deploy.masks import (
    Keep,
    Layout,
    MaskForm,
    check_mask_name,
    format_of,
    is_mask_name,
    is_ome_name,
    known_formats,
)
from unet_deploy.system.arguments import one_of, path_or_none, settle
from unet_deploy.system.arguments import path as path_of
from unet_deploy.system.files import check_free, drop_leftovers
from unet_deploy.tiling import Region


def beside(mask: Path) -> Path:
    """What the names of other files begin with: that of the mask, or of the Zarr and the image in it that it lies in.

    >>> beside(Path("plate.zarr/A/1/0/labels/nuclei")).name, beside(Path("image.zarr/labels/nuclei")).name
    ('plate.A.1.0', 'image')
    """
    whole = Path(os.path.abspath(mask))
    for path in (*reversed((mask, *mask.parents)), *reversed(whole.parents)):
        if path.suffix == ".zarr":
            below = whole.relative_to(os.path.abspath(path)).parts
            return path.with_name(".".join((path.stem, *takewhile(lambda part: part != "labels", below))))
    if whole.parent.name == "labels" and is_zarr_folder(whole.parent.parent):
        return whole.parent.parent
    return mask.with_suffix("").with_suffix("") if is_ome_name(mask) else mask.with_suffix("")


def tiff_suffix(mask: Path) -> str:
    """How the names of other TIFFs end that are made beside a mask: with OME metadata where it has them.

    >>> tiff_suffix(Path("a.ome.tif")), tiff_suffix(Path("a.zarr"))
    ('.ome.tif', '.tif')
    """
    return ".ome.tif" if is_ome_name(mask) else ".tif"


def finished(mask: Path) -> bool:
    """Whether a mask is there, whole."""
    return format_of(mask).is_finished(mask)


def unfinished(mask: Path) -> Path:
    """Where the finished blocks of a mask wait that is not whole."""
    return format_of(mask).unfinished(mask)


def unfinished_key(mask: Path) -> dict[str, Any]:
    """What the unfinished run of a mask was of; empty where there is none."""
    return format_of(mask).unfinished_key(mask)


def sweep(outputs: Outputs, key: Mapping[str, Any]) -> None:
    """End what runs with this in their key left beside files that are all there and whole."""
    for path in filter(None, (*outputs.of_pixels, outputs.sure)):
        format_of(path).sweep(path, key)
    for path in outputs:
        drop_leftovers(path)


@dataclass(frozen=True)
class Outputs:
    """The files to make of an image; only `mask` is always made.

    >>> [path.name for path in Outputs.beside("slide.mask.tif", probabilities=True, objects="cells.csv")]
    ['slide.mask.tif', 'slide.mask.probabilities.tif', 'cells.csv']
    """

    mask: Path
    probabilities: Path | None = None
    overlay: Path | None = None
    objects: Path | None = None
    """The table of objects, .csv, .parquet or .geojson."""
    instances: Path | None = None
    """Their numbers, uint32."""
    layout: Layout = "auto"
    """How those of them that are TIFF lie on the disk."""
    counted: bool = False
    """Whether objects are counted where no file of them is made."""
    sure: Path | None = None
    """Where the pixels that a model is sure of wait until the objects are counted that have some; no file of this name
    is ever there. A run names it itself, where the rules of objects have a peak."""

    def __post_init__(self) -> None:
        settle(self, mask=path_of, **dict.fromkeys(("probabilities", "overlay", "objects", "instances"), path_or_none))
        settle(self, layout=one_of(*get_args(Layout)))

    @classmethod
    def beside(
        cls,
        mask: str | Path,
        *,
        probabilities: bool = False,
        overlay: bool = False,
        objects: str | Path | None = None,
        instances: str | Path | None = None,
        shared: bool = False,
        layout: Layout = "auto",
    ) -> Outputs:
        """Names derived from the mask's: mask.probabilities.tif, mask.overlay.png.

        Beside mask.ome.tif, probabilities have OME metadata too. shared: several processes fill the mask, and
        probabilities are named as OME-Zarr, which they can fill too.
        """
        base, suffix = beside(Path(mask)), ".zarr" if shared else tiff_suffix(Path(mask))
        return cls(
            Path(mask),
            base.with_name(f"{base.name}.probabilities{suffix}") if probabilities else None,
            base.with_name(f"{base.name}.overlay.png") if overlay else None,
            Path(objects) if objects else None,
            Path(instances) if instances else None,
            layout,
        )

    @property
    def block(self) -> int | None:
        """Side in pixels of the blocks that several processes may write; None where only one may."""
        form = format_of(self.mask)
        return form.block if form.shared else None

    def forms(self, image: ImageInfo, classes: int, region: Region | None = None) -> Iterator[tuple[Path, MaskForm]]:
        """The files of pixels and what each holds. region: what of an image is written, the whole by default."""
        yield self.mask, MaskForm(image, region=region, layout=self.layout)
        if self.probabilities:
            yield self.probabilities, MaskForm(image, classes, np.dtype(np.float32), region, layout=self.layout)
        if self.instances:
            yield self.instances, MaskForm(image, 1, np.dtype(np.uint32), region, layout=self.layout)
        if self.sure:
            yield self.sure, MaskForm(image, region=region, layout=self.layout)

    def of_probabilities(self, peak: float | None) -> bool:
        """Whether they are made from probabilities, where objects are asked for with this peak."""
        return self.probabilities is not None or bool(peak and self.count_objects)

    def with_sure(self, peak: float) -> Outputs:
        """The same, for objects of rules with this peak."""
        if not (peak and self.count_objects):
            return self
        kind, base = format_of(self.mask), beside(self.mask)
        own = kind.place(
            self.mask
        ).name  # of two labels of an image, and of mask.tif and mask.ome.tif, each has its own
        name = own if own.startswith(base.name) else f"{base.name}.{own}"
        return replace(self, sure=base.with_name(f"{name}.sure{'.zarr' if kind.shared else '.tif'}"))

    @property
    def count_objects(self) -> bool:
        """Whether objects are counted, for a file or for who asks."""
        return self.counted or bool(self.objects or self.instances)

    @property
    def of_pixels(self) -> list[Path]:
        """Those that are masks of a kind, and neither pictures nor tables."""
        return [path for path in (self.mask, self.probabilities, self.instances) if path]

    @property
    def places(self) -> list[Path]:
        """The files and folders that they are: a mask may be given the name of the image whose label it becomes.

        Raises UsageError for a URL and for a name that says of another kind of file, and MissingPackageError where one
        is to be written by a package that is not installed.
        """
        if elsewhere := next(filter(is_url, self), None):
            raise UsageError(
                f"{address(url_of(elsewhere))}: outputs are written to this machine; give a file or folder"
            )
        for path in self.of_pixels:
            check_mask_name(path)
        if self.instances and not is_mask_name(self.instances):
            raise UsageError(f"{self.instances}: {known_formats()}")
        if self.overlay and self.overlay.suffix.lower() != ".png":
            raise UsageError(f"{self.overlay}: an overlay is a PNG; give a name that ends in .png")
        if self.objects:
            from unet_deploy.objects.files import check_table_name  # SciPy takes 20 MB

            check_table_name(self.objects)
        others = [path for path in (self.overlay, self.objects) if path]
        return [*(format_of(path).place(path) for path in self.of_pixels), *others]

    def waiting_bytes(self, image: ImageInfo, classes: int) -> int:
        """The most that blocks hold which wait for the next row of tiles to be full."""
        return sum(format_of(path).waiting_bytes(form) for path, form in self.forms(image, classes))

    def __iter__(self) -> Iterator[Path]:
        all_of_them = (self.mask, self.probabilities, self.overlay, self.objects, self.instances)
        return (path for path in all_of_them if path)


def check_outputs(outputs: Outputs, image: ImageInfo, classes: int, keep: Keep) -> None:
    """Raise what making any of the files would, as far as that is known before a pixel: nothing is made.

    A finished mask is never resumed: where the mask is, all is. Raises UsageError and UnetDeployError.
    """
    for path, form in outputs.forms(image, classes):
        kept = Keep(overwrite=keep.overwrite) if path == outputs.mask else keep
        if path != outputs.mask:
            check_ours(format_of(path).place(path), keep)
        format_of(path).check(path, form, kept)
    for other in filter(None, (outputs.overlay, outputs.objects)):
        check_ours(other, keep)
        check_free(other, overwrite=keep.replaces(other))


def check_ours(path: Path, keep: Keep) -> None:
    """Raise UsageError where a run that goes on meets what no run of its very job has made."""
    if keep.resume and os.path.exists(path) and not keep.replaces(path):
        raise UsageError(
            f"{path}: exists, and no run of this image, model and settings has made it; "
            "pass --overwrite to replace it, or give another name"
        )
