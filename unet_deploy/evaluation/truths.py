"""What a mask says is true: read by one reader, whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from unet_deploy.annotations.classes import listed_names
from unet_deploy.annotations.drawn import is_drawing
from unet_deploy.errors import DataError
from unet_deploy.evaluation.drawn import paint_pairs
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind, code_of, listed, ranked
from unet_deploy.evaluation.objects import connected_objects
from unet_deploy.evaluation.pairs import Pair, check_pages
from unet_deploy.images import ImageSource
from unet_deploy.images.orientation import stored_region, upright
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.system.machine import usable_cores
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Truth:
    """What a mask says of an image."""

    labels: np.ndarray
    """(H, W) uint8, class indices."""
    objects: np.ndarray
    """(H, W) int32, numbered objects, 0 the background."""
    known: np.ndarray | None = None
    """(H, W) bool, where it says anything: elsewhere both are 0, and nobody can be wrong; None for everywhere."""

    @property
    def said(self) -> np.ndarray:
        """The labels of all pixels that it says anything of, in any shape."""
        return self.labels if self.known is None else self.labels[self.known]

    def part(self, inside: tuple[slice, slice]) -> Truth:
        """What it says of some rows and columns."""
        known = None if self.known is None else self.known[inside]
        return Truth(self.labels[inside], self.objects[inside], known)

    @property
    def foreground(self) -> Truth:
        """The same without classes but background and foreground."""
        return Truth((self.labels > 0).astype(np.uint8), self.objects, self.known)

    def of_known(self, answer: np.ndarray) -> np.ndarray:
        """Labels (H, W) that are background where it says nothing."""
        return answer if self.known is None else np.where(self.known, answer, answer.dtype.type(0))

    def background_of_unknown(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (K, H, W) that are of background where it says nothing."""
        if self.known is None:
            return probabilities
        background = np.zeros((len(probabilities), 1, 1), probabilities.dtype)
        background[0] = 1
        return np.where(self.known, probabilities, background)


@dataclass(frozen=True)
class TruthSet:
    """What all masks of a data set say."""

    truths: list[Truth]
    code: MaskCode
    notes: tuple[str, ...]
    """What a person should know of how they were read, in lines."""


def read_truths(pairs: Sequence[Pair], classes: Sequence[str], kind: MaskKind = "auto") -> list[Truth]:
    """Read all masks. Raises DataError for masks that hold no labels."""
    return read_truth_set(pairs, classes, kind).truths


def read_truth_set(
    pairs: Sequence[Pair], classes: Sequence[str], kind: MaskKind = "auto", kept: MaskCode | None = None
) -> TruthSet:
    """Read all masks, or drawings, and how they are to be read.

    kept: how the masks were that a model was trained on. Raises DataError as `code_of`, and for masks of no labels, or
    of other labels than their data set names, and where it names them otherwise.
    """
    if all(is_drawing(pair.mask) for pair in pairs):
        drawn = paint_pairs(pairs, classes, kind)
        truths = [Truth(each.labels, each.objects, each.known) for each in drawn.painted]
        return TruthSet(truths, drawn.code, (*drawn.notes, *_notes_of_ignored(pairs, ())))
    named = {pair.named: None for pair in pairs if pair.named}
    for each in named:
        each.check_classes(classes)
    with ThreadPoolExecutor(usable_cores()) as pool:
        masks = list(pool.map(read_pair, pairs))
    code = code_of(masks, classes, kind, kept)
    truths = [truth_of(mask, code, len(classes)) for mask in masks]
    notes = [
        *_notes_of_ignored(pairs, masks),
        *notes_of(masks, code),
        *_notes_of_classes(code, classes, kept if kind == "auto" else None),
    ]
    return TruthSet(truths, code, (*notes, *filter(None, (each.note(classes) for each in named))))


def read_mask(source: ImageSource, page: int = 0, region: Region | None = None) -> Mask:
    """Read the numbers of a page of a mask, upright. Grey saved as red, green and blue is grey.

    region: of the mask as it is shown; None for the whole. Where a value stands for no data there are none, but for 0,
    the background.
    Raises DataError for what are no label numbers.
    """
    info = source.info
    region = stored_region(region, info) if region else info.region
    pixels = source.crop(page, region)
    if len(pixels) > 1 and not (len(pixels) == 3 and (pixels == pixels[0]).all()):
        remedy = "; save class numbers in place of colours" if len(pixels) == 3 else ""
        raise DataError(f"{info.name}: a mask has one channel of label numbers, this has {len(pixels)}{remedy}")
    if info.dtype.kind not in "bui":
        raise DataError(f"{info.name}: mask pixels are {info.dtype}; save label numbers as integers")
    data = source.data_in(page, region, pixels) if source.nodata != 0 else source.crop_valid(page, region)
    numbers = upright(pixels[0], info.orientation)
    numbers = numbers.astype(np.uint8) if numbers.dtype.kind == "b" else numbers
    if data is not None:
        data = upright(data, info.orientation)
        numbers = np.where(data, numbers, numbers.dtype.type(0))
    if numbers.dtype.kind == "i" and numbers.min() < 0:
        raise DataError(f"{info.name}: label numbers below 0; number objects or classes from 0")
    return Mask(info.name, numbers, data)


def without(mask: Mask, value: int | None) -> Mask:
    """A mask that says nothing where it has this value; None for no such value."""
    if value is None or value not in mask.values:
        return mask
    there = mask.numbers != value
    return Mask(mask.name, np.where(there, mask.numbers, mask.numbers.dtype.type(0)), where_both(there, mask.data))


def truth_of(mask: Mask, code: MaskCode, classes: int) -> Truth:
    """What a mask says, by what its numbers mean. Raises DataError for a number that means nothing."""
    known = known_of(mask, code)
    if code.kind == "instances":
        numbers = mask.numbers if known is None else np.where(known, mask.numbers, 0)
        return Truth((numbers > 0).astype(np.uint8), ranked(numbers), known)
    labels = _labels(mask.numbers, code, classes)
    labels = labels if known is None else np.where(known, labels, 0).astype(np.uint8)
    return Truth(labels, connected_objects(labels > 0), known)


def known_of(mask: Mask, code: MaskCode) -> np.ndarray | None:
    """Where a mask says anything, bool (H, W); None for everywhere."""
    if code.void is None or code.void not in mask.values:
        return mask.data
    return where_both(mask.numbers != code.void, mask.data)


def where_both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Where both of two masks say something; None, of either, for everywhere."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _labels(numbers: np.ndarray, code: MaskCode, classes: int) -> np.ndarray:
    """Class indices (H, W) uint8 of stored numbers."""
    if code.kind == "binary":
        return (numbers > code.values[0]).astype(np.uint8)
    if code.values == tuple(range(classes)):
        return numbers.astype(np.uint8)
    return np.searchsorted(code.values, numbers).clip(0, classes - 1).astype(np.uint8)


def notes_of(masks: Sequence[Mask], code: MaskCode) -> Iterator[str]:
    """Say what is not plain of how masks are read, in lines."""
    if count := sum(code.void in mask.values for mask in masks):
        yield f"note: {code.void} in {count} of {len(masks)} masks is taken for no class (void), and left out"
    if code.kind == "binary" and len(code.values) > 2:
        yield f"note: the masks hold {listed(code.values)}; all above {code.values[0]} is foreground"


def _notes_of_ignored(pairs: Sequence[Pair], masks: Sequence[Mask]) -> Iterator[str]:
    """As `note_of_ignored`, but that a data set that names its labels may name one that it does not use."""
    if not pairs[0].named and (note := note_of_ignored(pairs[0].marking.ignore, masks)):
        yield note


def note_of_ignored(value: int | None, masks: Sequence[Mask]) -> str | None:
    """Say that no mask has the value of pixels that are not known, where a person names one; drawings are no masks."""
    if value is None or any(mask.data is not None for mask in masks):
        return None
    return f"note: no mask has a pixel of {value}, so --ignore {value} leaves nothing out"


def _notes_of_classes(code: MaskCode, classes: Sequence[str], kept: MaskCode | None) -> Iterator[str]:
    """Say which numbers are which classes, and where that is another than it was in a training."""
    if code.kind == "classes" and code.values != tuple(range(len(code.values))):
        yield f"note: the masks hold {listed(code.values)}, which are taken for {listed_names(classes)}"
    if kept and (kept.kind, kept.values) != (code.kind, code.values):
        yield f"note: the model was trained on masks of {kept.words}; these are read as {code.words}"


def check_size(pair: Pair, image: np.ndarray, truth: Truth) -> None:
    """Raise DataError unless an image (C, H, W) and its mask are of one size."""
    if image.shape[1:] != truth.labels.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (image.shape[1:], truth.labels.shape)]
        raise DataError(f"{pair.mask}: is {sizes[1]} pixels, but its image {pair.image} is {sizes[0]}")


def leave_out(truth: Truth, data: np.ndarray | None) -> Truth:
    """Return a truth that is background where `data`, bool (H, W), is False: nobody can be wrong there."""
    if data is None:
        return truth
    labels = np.where(data, truth.labels, 0).astype(np.uint8)
    return Truth(labels, np.where(data, truth.objects, 0), truth.known)


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


def read_pair(pair: Pair, reading: Reading = AS_SAID) -> Mask:
    """Read the true mask of a pair. Raises DataError for labels without a name, and where it says nothing."""
    with reading.open_labels(pair.mask) as source:
        check_pages(source.info, pair)
        mask = without(read_mask(source, pair.page), pair.marking.ignore)
    if pair.named:
        pair.named.check_numbers(mask.name, mask.values)
    if mask.data is not None and not mask.data.any():
        raise DataError(f"{mask.name}: nothing of it is annotated; annotate a part, or take it and its image away")
    return mask
