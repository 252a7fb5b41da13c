"""What fills the files of an image: consumers of tiles, and the writer that gives the files their names together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import UnetDeployError, UsageError, reason
from unet_deploy.images import ImageSource
from unet_deploy.masks import (
    Keep,
    MaskForm,
    MaskSink,
    MaskWriter,
    open_mask,
)
from unet_deploy.masks.origin import Origin
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.segmentation.outputs import Outputs, check_outputs
from unet_deploy.segmentation.trust import Confidence
from unet_deploy.stream.pipeline import Consumer, DoneTile
from unet_deploy.system.marks import marking
from unet_deploy.tiling import Region, Tile

if TYPE_CHECKING:
    from unet_deploy.images.ome_zarr import Axis
    from unet_deploy.masks.overlay import Overlay
    from unet_deploy.objects.rules import Rules
    from unet_deploy.objects.table import ObjectTable
    from unet_deploy.segmentation.counting import LabelsOf, ObjectWriter
    from unet_deploy.segmentation.options import Coordinates


@dataclass(frozen=True)
class Subject:
    """What is segmented: an open image, what tiles cover of it, and what of that is to be in the mask."""

    source: ImageSource
    covered: Region
    """What the tiles of each page write."""
    region: Region
    """What is to be in the mask, inside `covered`; the rest is 0."""
    classes: Sequence[str]
    outside: int = 0
    """What the mask has where there is no data; it belongs to no object all the same."""
    origin: Origin | None = None
    """What its files say that they were made of."""
    decision: Decision = UNDECIDED
    """What the model's card says of objects, where nobody else does."""

    @property
    def nodata(self) -> int | None:
        """What the mask says to stand for no data: no class does, and 0 only where the image's file says some value."""
        if self.outside == 0:
            return None if self.source.info.nodata is None else 0
        return self.outside if self.outside >= len(self.classes) else None

    @property
    def noted(self) -> int | None:
        """The same, where the image can have pixels without data at all."""
        return self.nodata if self.source.may_lack_data else None


class OutputWriter:
    """The outputs of one image while they are made. A context manager; what is not committed is kept for a resume.

    Raises UsageError where a file exists and is not to be replaced, or where an unfinished run forbids it.
    """

    def __init__(self, outputs: Outputs, subject: Subject, rules: ObjectRules, keep: Keep) -> None:
        self._outputs, self._source, self._image = outputs, subject.source, subject.source.info
        self._region, self._outside = subject.region, subject.outside
        self._origin = subject.origin
        self._axes: Sequence[Axis] | None = getattr(subject.source, "axes", None)
        self._keep = keep
        self._picture: Overlay | None = None
        self._object_writer: ObjectWriter | None = None
        self._sinks: list[MaskSink] = []
        self._sure: MaskSink | None = None
        self.sure_by: Rules | None = None
        """Which pixels the model is sure of, where that is to be written."""
        self.objects: int | None = None
        """How many there are, once they were counted."""
        self.confidence = Confidence()
        self.consumers: list[Consumer] = [unless_resumed(cut_to(self._region, self.confidence))]
        check_outputs(outputs, self._image, len(subject.classes), keep)
        with ExitStack() as stack:
            form = replace(self._form(1, np.uint8, subject.classes), nodata=subject.nodata)
            labels = open_mask(outputs.mask, form, keep)
            self._add_sink(stack.enter_context(labels), partial(write_labels, outside=subject.outside))
            if outputs.probabilities:
                form = self._form(len(subject.classes), np.float32, subject.classes)
                scores = open_mask(outputs.probabilities, form, keep)
                self._add_sink(stack.enter_context(scores), write_probabilities)
            if outputs.overlay:
                self._add_picture(subject)
            if outputs.count_objects:
                decided = rules.decided_by(subject.decision)
                if outputs.sure:
                    sure = self._sure = stack.enter_context(open_mask(outputs.sure, self._form(1, np.uint8), keep))
                    self.sure_by = decided
                    self._add_sink(sure, partial(write_sure, rules=decided))
                self._add_objects(decided, rules.coordinates, subject)
            self._open = stack.pop_all()

    def _add_sink(self, sink: MaskSink, write: Callable[[MaskSink], Consumer]) -> None:
        self._sinks.append(sink)
        self.consumers.append(unless_resumed(cut_to(self._region, write(sink))))

    def _add_picture(self, subject: Subject) -> None:
        from unet_deploy.masks.overlay import Overlay

        # Of the region, not of what tiles cover: these begin where the network's pooling lets them, before it.
        self._picture = Overlay(self._region, self._image.channels, subject.classes, self._image.orientation)
        self.consumers.append(cut_to(self._region, paint(self._picture)))

    def _add_objects(self, rules: Rules, coordinates: Coordinates, subject: Subject) -> None:
        # Not before objects are asked for: SciPy takes 20 MB.
        from unet_deploy.segmentation.counting import ObjectWriter

        table = self._outputs.objects
        writer = self._object_writer = ObjectWriter(
            rules, self._image, subject.covered, subject.classes, table, coordinates
        )
        self.consumers.append(lambda done: writer.add(self._masked(done)))

    @property
    def trees(self) -> list[tuple[Path, Path]]:
        """The mask's name, and the folder in which it grows, for other processes; then those of the other sinks.

        Raises UsageError for outputs that one process alone can write.
        """
        paths = [path for path in (self._outputs.mask, self._outputs.probabilities, self._outputs.sure) if path]
        trees: list[tuple[Path, Path]] = []
        for path, sink in zip(paths, self._sinks, strict=True):
            tree = sink.tree
            if tree is None and not trees:
                raise UsageError(f"{path}: several machines write an OME-Zarr mask; give one: -o mask.zarr")
            if tree is None:
                raise UsageError(
                    f"{path}: several machines write OME-Zarr; give probabilities a name that ends in .zarr"
                )
            trees.append((path, tree))
        return trees

    @property
    def places(self) -> str:
        """In what the places of objects are given, where the image lies on a map."""
        return self._object_writer.places if self._object_writer else ""

    @property
    def tables(self) -> list[ObjectTable]:
        """The objects of each page, once they were counted; empty where nobody asks for them."""
        return self._object_writer.tables if self._object_writer else []

    def ids(self, page: int, region: Region, labels_of: LabelsOf) -> np.ndarray:
        """The ids of the objects in a region, once they were counted: as of `ObjectWriter`."""
        assert self._object_writer
        return self._object_writer.ids(page, region, labels_of)

    @property
    def found_nothing(self) -> bool:
        """Whether all of the mask was computed by this run, and is background."""
        whole = self._image.pages * self._region.height * self._region.width
        return self.confidence.pixels == whole and not self.confidence.foreground

    @property
    def too_large(self) -> int:
        """How many components were to be parted and are too large for it."""
        return self._object_writer.too_large if self._object_writer else 0

    @property
    def resumed(self) -> bool:
        """Whether some tiles were finished by an earlier run."""
        return all(sink.resumed for sink in self._sinks)

    def finished_tile(self, page: int, tile: Tile) -> DoneTile | None:
        """A tile that is in the files already, as far as any consumer looks at it; None where it is not."""
        inside = tile.write.intersection(self._region)
        if not all(sink.has(page, inside) for sink in self._sinks):
            return None
        if self._picture is None and self._object_writer is None:
            nothing = np.empty((0, 0), np.uint8)
            return DoneTile(page, tile, nothing, nothing, None, tile.write, resumed=True)
        labels, image = self._labels(page, tile.write), self._source.crop(page, tile.write)
        data = self._source.data_in(page, tile.write, image)
        return DoneTile(page, tile, image, labels, None, tile.write, resumed=True, data=data)

    def commit(self) -> None:
        """Give all files their names, the mask last: where it is, all is.

        An error that neither memory nor disk explains would come again: then nothing is kept for a later run, and
        UnetDeployError says so.
        """
        try:
            with marking(self._keep.job):
                self._commit()
        except (UnetDeployError, OSError, MemoryError):
            raise
        except Exception as error:
            self.give_up()
            raise UnetDeployError(
                f"{self._outputs.mask}: cannot be finished ({type(error).__name__}: {reason(error)}), so nothing of it "
                "is kept; save the image anew without its tags, and report this"
            ) from error

    def give_up(self) -> None:
        """Keep nothing for a later run, because none could finish what there is."""
        for sink in self._sinks:
            sink.give_up()

    def _commit(self) -> None:
        if self._object_writer:
            self._write_objects(self._object_writer)
        if self._picture and self._outputs.overlay:
            self._picture.save(self._outputs.overlay, overwrite=self._keep.replaces(self._outputs.overlay))
        try:
            named = [sink for sink in self._sinks if sink is not self._sure]
            for sink in reversed(named):
                sink.commit()
        except BaseException:
            for sink in self._sinks:
                sink.keep()
            raise
        if self._sure:
            self._sure.give_up()

    def _write_objects(self, writer: ObjectWriter) -> None:
        with ExitStack() as stack:
            sink = None
            if self._outputs.instances:
                form, kept = self._form(1, np.uint32), replace(self._keep, key=None)
                sink = stack.enter_context(open_mask(self._outputs.instances, form, kept))

            def number(page: int, region: Region, ids: np.ndarray) -> None:
                inside = region.intersection(self._region)
                assert sink
                sink.write(page, inside, ids[None][(slice(None), *inside.slices_in(region))])

            table = self._outputs.objects
            self.objects = writer.finish(
                self._labels,
                self._source.crop if table or self._outputs.counted else None,
                self._sure_of if self._sure else None,
                table=table,
                number=number if sink else None,
                overwrite=table is not None and self._keep.replaces(table),
            )
            if sink:
                sink.commit()

    def _labels(self, page: int, region: Region) -> np.ndarray:
        """What is in the mask for a region, (h, w) uint8; 0 where nothing is to be, and where there is no data."""
        labels = np.zeros(region.sides, np.uint8)
        inside = region.intersection(self._region)
        found = self._sinks[0].read(page, inside)[0]
        if self._outside and (found == self._outside).any():
            data = self._source.data_in(page, inside, self._source.crop(page, inside))
            found = found if data is None else np.where(data, found, np.uint8(0))
        labels[inside.slices_in(region)] = found
        return labels

    def _sure_of(self, page: int, region: Region) -> np.ndarray:
        """Which pixels of a region the model is sure of, (h, w) bool."""
        assert self._sure
        sure = np.zeros(region.sides, bool)
        inside = region.intersection(self._region)
        sure[inside.slices_in(region)] = self._sure.read(page, inside)[0]
        return sure

    def _masked(self, done: DoneTile) -> DoneTile:
        """The tile with labels of 0 where nothing is to be in the mask."""
        inside = done.tile.write.intersection(self._region)
        if inside == done.tile.write:
            return done
        labels, place = np.zeros_like(done.labels), inside.slices_in(done.tile.write)
        labels[place] = done.labels[place]
        return replace(done, labels=labels)

    def _form(self, planes: int, dtype: type[np.generic], classes: Sequence[str] = ()) -> MaskForm:
        return MaskForm(
            self._image,
            planes,
            np.dtype(dtype),
            self._region,
            tuple(classes),
            self._axes,
            layout=self._outputs.layout,
            origin=self._origin,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def cut_to(region: Region, consumer: Consumer) -> Consumer:
    """A consumer that is handed what tiles have inside a region."""

    def consume(done: DoneTile) -> None:
        part = done.tile.write.intersection(region)
        if part.height and part.width:
            consumer(done.cut(part))

    return consume


def unless_resumed(consumer: Consumer) -> Consumer:
    """A consumer that is handed nothing that is in the files already."""

    def consume(done: DoneTile) -> None:
        if not done.resumed:
            consumer(done)

    return consume


def write_labels(sink: MaskWriter, outside: int = 0) -> Consumer:
    """A consumer that writes the labels of tiles, one plane a page, and `outside` where there is no data."""

    def consume(done: DoneTile) -> None:
        labels = done.labels if done.data is None else np.where(done.data, done.labels, np.uint8(outside))
        sink.write(done.page, done.tile.write, labels[None])

    return consume


def write_sure(sink: MaskWriter, rules: Rules) -> Consumer:
    """A consumer that writes 1 where tiles reach the peak of the rules, and 0 elsewhere."""

    def consume(done: DoneTile) -> None:
        assert done.probabilities is not None
        sink.write(done.page, done.tile.write, rules.sure(done.probabilities).astype(np.uint8)[None])

    return consume


def write_probabilities(sink: MaskWriter) -> Consumer:
    """A consumer that writes the probabilities of tiles, a plane for each class."""

    def consume(done: DoneTile) -> None:
        assert done.probabilities is not None
        sink.write(done.page, done.tile.write, done.probabilities)

    return consume


def paint(picture: Overlay) -> Consumer:
    """A consumer that adds the tiles of the first page to a picture."""

    def consume(done: DoneTile) -> None:
        if done.page == 0:
            picture.add(done.tile.write, done.image, done.labels, done.data)

    return consume
