"""What is made of an image: the files, and the consumers of tiles that fill them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.masks import Keep, MaskForm, MaskSink, format_of, open_mask
from unet_deploy.segmentation.counting import Counted
from unet_deploy.stream.pipeline import Consumer, DoneTile
from unet_deploy.system.files import check_free
from unet_deploy.tiling import Region, Tile

if TYPE_CHECKING:
    from unet_deploy.images.ome_zarr import Axis
    from unet_deploy.masks.overlay import Overlay
    from unet_deploy.segmentation.counting import Counting


def beside(mask: Path) -> Path:
    """What the names of other files begin with: that of the mask, or of the Zarr that it lies in."""
    root = next((each for each in reversed((mask, *mask.parents)) if each.suffix == ".zarr"), mask)
    return root.with_suffix("")


def finished(mask: Path) -> bool:
    """Whether a mask is there, whole."""
    return format_of(mask).is_finished(mask)


def unfinished(mask: Path) -> Path:
    """Where the finished blocks of a mask wait that is not whole."""
    return format_of(mask).unfinished(mask)


def unfinished_key(mask: Path) -> dict[str, Any]:
    """What the unfinished run of a mask was of; empty where there is none."""
    return format_of(mask).unfinished_key(mask)


@dataclass(frozen=True)
class Outputs:
    """The files to make of an image; only `mask` is always made."""

    mask: Path
    probabilities: Path | None = None
    overlay: Path | None = None
    objects: Path | None = None
    """The table of objects, .csv, .parquet or .geojson."""
    instances: Path | None = None
    """Their numbers, uint32."""

    @classmethod
    def beside(
        cls,
        mask: Path,
        *,
        probabilities: bool = False,
        overlay: bool = False,
        objects: Path | None = None,
        instances: Path | None = None,
    ) -> Outputs:
        """Names derived from the mask's: mask.probabilities.tif, mask.overlay.png."""
        base = beside(mask)
        return cls(
            mask,
            base.with_name(f"{base.name}.probabilities.tif") if probabilities else None,
            base.with_name(f"{base.name}.overlay.png") if overlay else None,
            objects,
            instances,
        )

    @property
    def block(self) -> int | None:
        """Side in pixels of the blocks that several processes may write; None where only one may."""
        form = format_of(self.mask)
        return form.block if form.shared else None

    def forms(self, image: ImageInfo, classes: int, region: Region | None = None) -> Iterator[tuple[Path, MaskForm]]:
        """The files of pixels and what each holds. region: what of an image is written, the whole by default."""
        yield self.mask, MaskForm(image, region=region)
        if self.probabilities:
            yield self.probabilities, MaskForm(image, classes, np.dtype(np.float32), region)
        if self.instances:
            yield self.instances, MaskForm(image, 1, np.dtype(np.uint32), region)

    def waiting_bytes(self, image: ImageInfo, classes: int) -> int:
        """The most that blocks hold which wait for the next row of tiles to be full."""
        return sum(format_of(path).waiting_bytes(form) for path, form in self.forms(image, classes))

    def __iter__(self) -> Iterator[Path]:
        all_of_them = (self.mask, self.probabilities, self.overlay, self.objects, self.instances)
        return (path for path in all_of_them if path)


class Making:
    """The outputs of one image while they are made. A context manager; what is not committed is kept for a resume.

    image: the whole image's. source: the window of it that is segmented, with its first pixel at (window.y, window.x).
    region: what is to be in the mask, inside the window; the rest is 0. key, resume, overwrite: as for Spool.
    """

    def __init__(
        self,
        outputs: Outputs,
        image: ImageInfo,
        source: ImageSource,
        classes: Sequence[str],
        *,
        window: Region,
        region: Region,
        counted: Counted,
        axes: Sequence[Axis] | None = None,
        key: Mapping[str, Any],
        resume: bool,
        overwrite: bool,
    ) -> None:
        from unet_deploy.masks.overlay import Overlay

        self._outputs, self._image, self._source = outputs, image, source
        self._window, self._region, self._key = window, region, key
        self._resume, self._overwrite, self._axes = resume, overwrite, axes
        self._picture: Overlay | None = None
        self._counting: Counting | None = None
        self.objects: int | None = None
        self.consumers: list[Consumer] = []
        with ExitStack() as stack:
            mask = self._mask(classes)
            self._sinks = [stack.enter_context(mask)]
            self.consumers.append(placed(write_labels(mask), window, region))
            if outputs.probabilities:
                scores = self._sink(outputs.probabilities, len(classes), np.float32, classes)
                self._sinks.append(stack.enter_context(scores))
                self.consumers.append(placed(write_probabilities(scores), window, region))
            if outputs.overlay:
                check_free(outputs.overlay, overwrite=overwrite or resume)
                self._picture = Overlay(window.height, window.width, image.channels, classes)
                self.consumers.append(paint(self._picture))
            if outputs.objects or outputs.instances:
                self._count(counted, classes)
            self._open = stack.pop_all()

    def _count(self, counted: Counted, classes: Sequence[str]) -> None:
        from unet_deploy.segmentation.counting import Counting, check_table

        replaced = self._overwrite or self._resume
        if self._outputs.objects:
            check_table(self._outputs.objects, overwrite=replaced)
        if self._outputs.instances:
            form, keep = self._form(1, np.uint32), Keep(overwrite=replaced)
            format_of(self._outputs.instances).check(self._outputs.instances, form, keep)
        self._counting = counting = Counting(counted, self._image, self._window, classes)
        self.consumers.append(lambda done: counting.add(replace(done, labels=self._inside(done))))

    @property
    def tree(self) -> Path:
        """The folder in which an OME-Zarr mask grows, for other processes. Raises UsageError for another mask."""
        tree = getattr(self._sinks[0], "tree", None)
        if tree is None:
            raise UsageError(f"{self._outputs.mask}: several machines write an OME-Zarr mask; give one: -o mask.zarr")
        if self._outputs.probabilities:
            raise UsageError(f"{self._outputs.probabilities}: several machines write no probabilities; leave them out")
        return tree

    @property
    def resumed(self) -> bool:
        """Whether some tiles were finished by an earlier run."""
        return all(sink.resumed for sink in self._sinks)

    def known(self, page: int, tile: Tile) -> DoneTile | None:
        """A tile that an earlier run finished, as far as any consumer looks at it."""
        region, _ = self._in_mask(tile.write)
        if not all(sink.has(page, region) for sink in self._sinks):
            return None
        if self._picture is None and self._counting is None:
            nothing = np.empty((0, 0), np.uint8)
            return DoneTile(page, tile, nothing, nothing, None, tile.write, known=True)
        labels, image = self._labels(page, tile.write), self._source.crop(page, tile.write)
        return DoneTile(page, tile, image, labels, None, tile.write, known=True)

    def commit(self) -> None:
        """Give all files their names, the mask last: where it is, all is."""
        if self._counting:
            self._write_objects(self._counting)
        if self._picture and self._outputs.overlay:
            self._picture.save(self._outputs.overlay, overwrite=self._overwrite or self._resume)
        try:
            for sink in reversed(self._sinks):
                sink.commit()
        except BaseException:
            for sink in self._sinks:
                sink.keep()
            raise

    def _write_objects(self, counting: Counting) -> None:
        replaced = self._overwrite or self._resume
        with ExitStack() as stack:
            sink = None
            if self._outputs.instances:
                sink = stack.enter_context(self._sink(self._outputs.instances, 1, np.uint32, kept=False))

            def number(page: int, region: Region, ids: np.ndarray) -> None:
                place = region.intersection(self._region)
                assert sink
                sink.write(page, place, ids[None][(slice(None), *place.moved(-region.y, -region.x).slices)])

            self.objects = counting.finish(
                self._labels, table=self._outputs.objects, number=number if sink else None, overwrite=replaced
            )
            if sink:
                sink.commit()

    def _labels(self, page: int, write: Region) -> np.ndarray:
        """What is in the mask for a region of the window, (h, w); 0 where nothing is to be."""
        labels = np.zeros((write.height, write.width), np.uint8)
        place, inside = self._in_mask(write)
        labels[inside] = self._sinks[0].read(page, place)[0]
        return labels

    def _inside(self, done: DoneTile) -> np.ndarray:
        """The labels of a tile, 0 where nothing is to be in the mask."""
        write = done.tile.write
        place, inside = self._in_mask(write)
        if (place.height, place.width) == (write.height, write.width):
            return done.labels
        labels = np.zeros_like(done.labels)
        labels[inside] = done.labels[inside]
        return labels

    def _in_mask(self, write: Region) -> tuple[Region, tuple[slice, slice]]:
        return in_mask(write, self._window, self._region)

    def _mask(self, classes: Sequence[str]) -> MaskSink:
        """The mask's own sink. A finished one is never resumed: where the mask is, all is."""
        mask = self._outputs.mask
        format_of(mask).check(mask, self._form(1, np.uint8, classes), Keep(overwrite=self._overwrite))
        return self._sink(mask, 1, np.uint8, classes)

    def _sink(
        self,
        output: Path,
        planes: int,
        dtype: type[np.generic],
        classes: Sequence[str] = (),
        *,
        kept: bool = True,
    ) -> MaskSink:
        keep = Keep(self._key if kept else None, self._resume, self._overwrite)
        return open_mask(output, self._form(planes, dtype, classes), keep)

    def _form(self, planes: int, dtype: type[np.generic], classes: Sequence[str] = ()) -> MaskForm:
        return MaskForm(self._image, planes, np.dtype(dtype), self._region, tuple(classes), self._axes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def in_mask(write: Region, window: Region, region: Region) -> tuple[Region, tuple[slice, slice]]:
    """Where in the image the part of a tile of a window lies that is to be in the mask, and where in the tile."""
    place = write.moved(window.y, window.x).intersection(region)
    return place, place.moved(-window.y - write.y, -window.x - write.x).slices


def placed(consumer: Consumer, window: Region, region: Region) -> Consumer:
    """A consumer of what tiles of a window of the image have inside a region of it, as one of tiles of the image.

    What an earlier run finished is in the mask already, and left out.
    """

    def consume(done: DoneTile) -> None:
        place, inside = in_mask(done.tile.write, window, region)
        if done.known or not place.height or not place.width:
            return
        scores = None if done.probabilities is None else done.probabilities[(slice(None), *inside)]
        consumer(replace(done, tile=Tile(done.tile.read, place), labels=done.labels[inside], probabilities=scores))

    return consume


class Writer(Protocol):
    """What takes regions of pages, as MaskSink.write does."""

    def write(self, page: int, region: Region, planes: np.ndarray) -> None: ...


def write_labels(sink: Writer, page: int = 0) -> Consumer:
    """page: of the sink, where the first page of the tiles goes."""

    def consume(done: DoneTile) -> None:
        sink.write(page + done.page, done.tile.write, done.labels[None])

    return consume


def write_probabilities(sink: MaskSink) -> Consumer:
    def consume(done: DoneTile) -> None:
        assert done.probabilities is not None
        sink.write(done.page, done.tile.write, done.probabilities)

    return consume


def paint(picture: Overlay) -> Consumer:
    def consume(done: DoneTile) -> None:
        if done.page == 0:
            picture.add(done.tile.write, done.image, done.labels)

    return consume
