"""One image with its mask: where they lie, and how the image is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.annotations.shapes import Drawing
from unet_deploy.errors import DataError
from unet_deploy.evaluation.named import NamedLabels
from unet_deploy.evaluation.window import Window
from unet_deploy.images import ImageInfo, ImageSource, open_image, open_labels
from unet_deploy.images.array import ArraySource
from unet_deploy.images.channel_files import open_channels
from unet_deploy.images.grey import GreyScale, measure_page
from unet_deploy.images.orientation import stored_region, upright
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Pair:
    """Where one image and its mask lie: files, and the page in each."""

    name: str
    image: Path
    mask: Path
    page: int = 0
    pages: int = 1
    """How many pages either file has."""
    marking: Marking = AS_MARKED
    """How the mask is to be read."""
    others: tuple[Path, ...] = ()
    """Where each channel of the image is a file: those after that of `image`."""
    channel_names: tuple[str, ...] = ()
    """What these channels are called, where that is said beside the files."""
    named: NamedLabels | None = None
    """What the numbers of the mask are called, where the data set says it."""
    window: Window | None = None
    """The region of the image that is annotated, where no more of it is read; None for the whole image."""
    drawing: Drawing | None = field(default=None, compare=False, repr=False)
    """What the mask says, where it is drawn and was read already."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read of it."""
        return self.image, *self.others, self.mask

    @property
    def inside(self) -> Region | None:
        """Where the annotated region lies in what is read; None for all of that."""
        return self.window.inside if self.window else None

    def open(self, reading: Reading = AS_SAID) -> ImageSource:
        """Open the image. Raises ImageError as `open_image`."""
        if not self.others:
            return reading.open(self.image)
        return open_channels((self.image, *self.others), self.channel_names, reading)


def read_pixels(pair: Pair, reading: Reading = AS_SAID) -> np.ndarray:
    """Read the image of a pair, (C, H, W). Raises as `read_image`."""
    image = read_image(pair, reading)
    return image.crop(0, image.info.region)


def read_image(pair: Pair, reading: Reading = AS_SAID) -> ArraySource:
    """Read the image of a pair, or of a region the frame, into memory, upright, as one of a page.

    Its mask is brought upright too, as either file says that it lies. Raises ImageError, and DataError for stray pages.
    """
    with pair.open(reading) as source:
        check_pages(source.info, pair)
        region = stored_region(pair.window.frame, source.info) if pair.window else source.info.region
        pixels, valid = source.crop(pair.page, region), source.crop_valid(pair.page, region)
        pixels = np.ascontiguousarray(upright(pixels, source.info.orientation))
        valid = None if valid is None else upright(valid, source.info.orientation)
        return ArraySource(pixels, name=str(pair.image), nodata=source.nodata, valid=valid)


Scales = Mapping[Path, GreyScale]
"""The grey scales of images of which regions are read: those of the whole, as in segmenting it."""


def scales_of(pairs: Sequence[Pair], normalization: Normalization, reading: Reading = AS_SAID) -> Scales:
    """Measure each image of which pairs are regions, once, in bounded memory. Raises ImageError as `measure_page`."""
    scales = dict[Path, GreyScale]()
    for pair in pairs:
        if pair.window and pair.image not in scales:
            with pair.open(reading) as source:
                scales[pair.image] = measure_page(source, pair.page, normalization)
    return scales


def count_pages(data: Path, masks: Path) -> int:
    """How many pages an image stack and its label stack have. Raises DataError where one has others."""
    with open_image(data) as images, open_labels(masks) as truths:
        pages = (images.info.pages, truths.info.pages)
    if pages[0] != pages[1]:
        raise DataError(f"{data} has {pages[0]} pages, but {masks} has {pages[1]}; they must pair up")
    return pages[0]


def check_pages(info: ImageInfo, pair: Pair) -> None:
    """Raise DataError unless a file has the pages that its pair was found with."""
    if info.pages != pair.pages:
        raise DataError(f"{info.name}: has {info.pages} pages; save each as a file, or give two stacks with --masks")
