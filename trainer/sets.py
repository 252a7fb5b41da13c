"""Annotated images of one laboratory or several: what is trained on, what is held back, how often each is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainer.data import Annotated, annotate, check_classes
from trainer.description import UNDESCRIBED, ModelDescription
from trainer.fitted import factors, resized, shrunk
from trainer.found import SetFound, found_in
from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError, UsageError
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.pairs import Found, find_data, find_pairs
from unet_deploy.evaluation.regions import by_region
from unet_deploy.evaluation.seen import OF_ONE
from unet_deploy.evaluation.split import Part, Split, sets_held_back, split_set
from unet_deploy.evaluation.truths import TruthSet, absent_class, read_truth_set
from unet_deploy.images.reading import AS_SAID, Reading


@dataclass(frozen=True)
class DataSet:
    """Where annotated images lie, and which of them are for validation."""

    path: Path
    """A folder of annotated images, or an image stack with its label stack in `masks`."""
    masks: Path | None = None
    mask_kind: MaskKind = "auto"
    validation: str = "last:0.1"
    """Which images are held out, in the words of `unet_deploy.evaluation.split.split`; set:NAME is this set where it is
    its name, and nothing of another."""
    reading: Reading = AS_SAID
    """How the images are read."""
    marking: Marking = AS_MARKED
    """How the masks are read."""
    weight: float = 1.0
    """How often tiles are drawn from it, beside other sets, whatever their sizes."""

    @property
    def name(self) -> str:
        """By which it is told from others."""
        return self.path.resolve().name


@dataclass(frozen=True)
class AnnotatedSet:
    """All images of a training, and those of them, or the blocks of the only one, to train and to validate on."""

    images: list[Annotated]
    training: list[Annotated]
    validation: list[Annotated]
    rule: str
    """By which images are held out."""
    code: MaskCode
    """What the numbers of the masks mean."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the masks were read, in lines."""
    found: tuple[SetFound, ...] = ()
    """What each data set holds."""

    @property
    def held_out(self) -> str:
        """What is kept from training, for people."""
        if self.is_only_image:
            share = self.found[0].held_back  # of the image as it is, whatever size it was brought to
            return f"{self.rule} held back: {share:.0%} {OF_ONE}"
        regions = any(each.regions != each.images for each in self.found)
        return (
            f"{self.rule} held back: {len(self.validation)} of {len(self.images)} {'regions' if regions else 'images'}"
        )

    @property
    def note(self) -> str | None:
        """What a person should know of what is held back, in a line; None where there is nothing to say."""
        return f"note: there is but one image, so blocks of it are: {self.held_out}" if self.is_only_image else None

    @property
    def numbers_objects(self) -> bool:
        """Whether objects are what the masks are about."""
        return self.code.kind == "instances"

    @property
    def is_only_image(self) -> bool:
        """Whether what is held back are blocks of the one image that there is."""
        return len(self.images) == 1


@dataclass(frozen=True)
class FoundSet:
    """The files of a data set, and what of it is held back."""

    data: DataSet
    found: Found
    split: Split


@dataclass(frozen=True)
class Extent:
    """How much there is to train on, as far as the heads of its files tell."""

    channels: int
    validation: tuple[tuple[int, int], ...]
    """Height and width of each image that is held back."""


def classes_of(
    sets: Sequence[DataSet], said: Sequence[str] | None = None, parent: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The classes to train: those that are said, or else that the data sets name; background and foreground otherwise.

    parent: those of the model to begin with, which are taken where the data sets name as many, or none.
    Raises DataError as `find_pairs`, and for data sets that name others.
    """
    if said is not None:
        return tuple(said)
    every = (pair.named for data in sets for pair in find_pairs(data.path, data.masks, data.marking))
    named = list(dict.fromkeys(each for each in every if each))
    for each in named[1:]:
        if each.names != named[0].names:
            first, other = (",".join(found.names) for found in (named[0], each))
            raise DataError(
                f"{each.file}: has labels {other}, but {named[0].file} {first}; give the classes with --classes"
            )
    if parent and (not named or len(named[0].names) == len(parent)):
        return tuple(parent)
    return named[0].names if named else UNDESCRIBED.classes


def extent_of(sets: Sequence[FoundSet]) -> Extent:
    """Look at data sets before they are read. Raises ImageError as `read_found`."""
    sizes, channels = [], 1
    for each in sets:
        for part in each.split.validation:
            pair = each.found.pairs[part.image]
            with pair.open(each.data.reading) as source:
                window = pair.window
                sizes.append((part.region or (window.frame if window else source.info.region)).sides)
                channels = source.info.channels
    return Extent(channels, tuple(sizes))


def read_sets(sets: Sequence[DataSet], description: ModelDescription, diameter: float | None = None) -> AnnotatedSet:
    """Find and read data sets. Raises as `find_sets` and `read_found`."""
    return read_found(find_sets(sets), description, diameter)


def read_found(sets: Sequence[FoundSet], description: ModelDescription, diameter: float | None = None) -> AnnotatedSet:
    """Read all images and part those that are for validation; of an only image, blocks.

    Each set is drawn from as often as its weight says, whatever its size. diameter: that objects are brought to, in
    pixels; None leaves images as they are.
    Raises DataError as `annotate`, and as `check_classes` of all sets together, for a class that occurs in no image to
    train on, for nothing annotated to validate on, and for sets of different numbers of channels.
    """
    read = [_read(each, description) for each in sets]
    check_classes([each for _, one in read for each in one], description.classes, sets[0].found.pairs[0].mask)
    several = len(sets) > 1
    every = [
        _parted(each, *one, description.classes, diameter, several=several)
        for each, one in zip(sets, read, strict=True)
    ]
    images, training, validation = (
        [each for one in every for each in getattr(one, side)] for side in ("images", "training", "validation")
    )
    if odd := [each for each in images if len(each.image) != len(images[0].image)]:
        raise DataError(
            f"{odd[0].name}: {len(odd[0].image)} channels, but {images[0].name} has {len(images[0].image)}; "
            "train on images of the same channels"
        )
    where, rule = ", ".join(str(each.data.path) for each in sets), sets[0].data.validation
    if not validation:
        raise DataError(f"{where}: nothing of what --validation {rule} holds back is annotated; hold back others")
    codes = {one.code for one in every}
    code = codes.pop() if len(codes) == 1 else MaskCode("")  # type: ignore[arg-type]
    if absent := absent_class((each.said for each in training), description.classes):
        raise DataError(
            f"{where}: class {absent!r} occurs only in what --validation {rule} holds back; hold back others"
        )
    notes = dict.fromkeys(note for one in every for note in one.notes)
    found = tuple(each for one in every for each in one.found)
    return AnnotatedSet(images, training, validation, rule, code, tuple(notes), found)


def _read(each: FoundSet, description: ModelDescription) -> tuple[TruthSet, list[Annotated]]:
    """The masks of a set, and its images beside them."""
    pairs = each.found.pairs
    masks = read_truth_set(pairs, description.classes, each.data.mask_kind)
    return masks, annotate(pairs, masks, description.normalization, each.data.reading)


def _parted(
    each: FoundSet,
    masks: TruthSet,
    images: Sequence[Annotated],
    classes: Sequence[str],
    diameter: float | None,
    *,
    several: bool,
) -> AnnotatedSet:
    """One set, its images brought to size, those to train on with their share."""
    data, found, split, pairs = each.data, each.found, each.split, each.found.pairs
    sides = [
        [images[part.image].part(part, part.named(pairs[part.image])) for part in side]
        for side in (split.training, split.validation)
    ]
    training, validation = sides
    validation = [each for each in validation if each.said.size]  # of blocks, some may hold no annotation
    place, channels = (data.path, found.layout), len(images[0].image)
    counted = found_in(place, pairs, masks.truths, channels, split.validation, classes)
    if diameter:
        training = [shrunk(each, factor) for each, factor in zip(training, factors(training, diameter), strict=True)]
        validation = [
            resized(each, factor) for each, factor in zip(validation, factors(validation, diameter), strict=True)
        ]
    if several:
        total = sum(np.sqrt(each.said.size) for each in training)
        share = data.weight / total if total else 0.0
        training = [replace(each, name=f"{data.name}/{each.name}", share=float(share)) for each in training]
        validation = [replace(each, name=f"{data.name}/{each.name}") for each in validation]
    only = [each.part(Part(0, pairs[0].inside), each.name) for each in images] if len(images) == 1 else []
    whole = only or [*training, *validation]
    return AnnotatedSet(whole, training, validation, split.rule, masks.code, masks.notes, (counted,))


def _regions_found(data: DataSet) -> Found:
    """The files of a set, a pair for each region of images of which regions are annotated. Raises DataError."""
    found = find_data(data.path, data.masks, data.marking)
    return replace(found, pairs=by_region(found.pairs))


def find_sets(sets: Sequence[DataSet]) -> list[FoundSet]:
    """Find the files of data sets, and what of each is held back.

    Raises UsageError for a rule that leaves none on either side, DataError and ImageError.
    """
    names = [data.name for data in sets]
    if len(set(names)) < len(names):
        raise UsageError(f"DATA: two sets are named {max(names, key=names.count)}; rename a folder")
    every = [(data, _regions_found(data)) for data in sets]
    rule = sets[0].validation
    if strange := [name for name in sets_held_back(rule) or () if name not in names]:
        raise UsageError(f"--validation {rule}: no set is named {strange[0]}; there are {', '.join(names)}")
    found = [
        FoundSet(data, each, split_set(data.name, each.pairs, data.validation, data.reading)) for data, each in every
    ]
    if not all(any(getattr(each.split, side) for each in found) for side in ("training", "validation")):
        raise UsageError(f"--validation {rule}: leaves no set to train on; hold back fewer")
    return found
