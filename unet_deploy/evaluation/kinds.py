"""What the numbers of masks mean: one kind for all masks of a data set, decided from all of them, or refused.

Two numbers are background and foreground, whichever they are; more are classes where more than two are named, and
numbered objects elsewhere, if they look like it. An object is in one piece and has an inside:

    0 0 0 0 0 0        0  0  0   0   0 0        Of the right one, a soft edge, no grey value but the highest has an
    0 1 1 1 2 2        0 40 90  90  40 0        inside, and most are in several pieces: numbers of this kind are no
    0 1 1 1 2 2        0 90 255 255 90 0        objects, and nobody can tell where its foreground ends but who drew it.
    0 1 1 1 2 2        0 40 90  90  40 0
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import ndimage

from unet_deploy.errors import DataError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.card_fields import MOST_CLASSES
from unet_deploy.system.machine import usable_cores

Kind = Literal["binary", "classes", "instances"]

MaskKind = Literal["auto", "binary", "classes", "instances"]
"""What the integers of a mask number: docs/training.md."""

VOID = 255
"""Beside numbers of classes or objects, what Pascal VOC draws around objects: of no class."""

_PARTLY = (0, 1, VOID)
"""What a mask of background and foreground holds of which a part is of no class, wherever that part lies."""

_WHITE = (1, 255, 65535)
"""What programs write for the foreground."""

_WHOLE = 0.8
"""The share of an object that its largest piece has at least; annotators leave a stray pixel here and there."""

_USUAL_CLASSES = 16
"""Numbers that may be classes where nobody names them; more are grey values."""


@dataclass(frozen=True)
class MaskCode:
    """How masks say what is true."""

    kind: Kind
    values: tuple[int, ...] = ()
    """The number of each class, the background first; of binary masks all above the first are the foreground.

    Empty for numbered objects, whose background is 0.
    """
    void: int | None = None
    """The number of pixels that are of no class."""

    @classmethod
    def of_card(cls, card: ModelCard) -> MaskCode | None:
        """That of the masks that a model was trained on; None where its card does not tell."""
        kind, count = card.mask_kind, len(card.mask_values)
        tells = {"": False, "binary": count > 1, "classes": count == len(card.classes), "instances": count == 0}
        return cls(kind, card.mask_values) if kind and tells[kind] else None

    @property
    def words(self) -> str:
        """What the masks are, for people.

        >>> MaskCode("binary", (0, 255)).words
        'background and foreground (0 and 255)'
        """
        if self.kind == "instances":
            return "numbered objects"
        what = "background and foreground" if self.kind == "binary" else "classes"
        return f"{what} ({listed(self.values)})"


@dataclass(frozen=True)
class Mask:
    """The numbers of one mask, as they are stored."""

    name: str
    numbers: np.ndarray
    """(H, W) unsigned or signed integers, none below 0; 0 where there is no data."""
    data: np.ndarray | None = None
    """(H, W) bool, where file and person do not say that there is no data; None for everywhere."""

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The numbers that it holds, sorted, but where there is no data."""
        numbers = self.numbers if self.data is None else self.numbers[self.data]
        if numbers.size and numbers.dtype.itemsize <= 2:
            return tuple(np.flatnonzero(np.bincount(numbers.reshape(-1))).tolist())
        return tuple(np.unique(numbers).tolist())


def code_of(
    masks: Sequence[Mask], classes: Sequence[str], kind: MaskKind = "auto", kept: MaskCode | None = None
) -> MaskCode:
    """Tell what the numbers of masks mean from all of them.

    kind: what the user says of them. kept: that of a model's training, which is taken wherever the masks fit it.
    Raises DataError, with the remedy, for numbers that fit no kind, or not the one that is said.
    """
    values = _values(masks)
    if kind == "instances":
        return MaskCode("instances")
    if kind == "binary":
        return _binary(masks, values)
    if kind == "auto" and kept and _fits(kept, masks, values):
        return kept
    if kind == "auto" and len(classes) == 2:
        return _of_two_classes(masks, values)
    return _classes(masks, values, len(classes))


def code_of_score(masks: Sequence[Mask], kind: MaskKind = "auto") -> MaskCode:
    """Tell the same of masks whose classes nobody names: numbers from 0 that are no objects are classes.

    Raises DataError as `code_of`.
    """
    values = _values(masks)
    if kind in ("binary", "instances"):
        return code_of(masks, ("background", "foreground"), kind)
    void = _void(masks, values)
    numbers = _without(values, void)
    named = tuple(range(max((1, *numbers)) + 1))
    if kind == "classes":
        return MaskCode("classes", named if len(named) <= _USUAL_CLASSES else tuple(sorted({0, *numbers})), void)
    if _are_two(masks, values):
        return _binary(masks, values)
    if _mostly_objects(masks, void):
        _check_background(masks)
        return MaskCode("instances", void=void)
    if len(named) > _USUAL_CLASSES:
        raise DataError(_no_kind(max(masks, key=lambda mask: len(mask.values)), "say --mask-kind classes"))
    return MaskCode("classes", named, void)


def codes_of_two(masks: Sequence[Mask], truths: Sequence[Mask], kind: MaskKind = "auto") -> tuple[MaskCode, MaskCode]:
    """Tell what masks and their truths mean. Where either are classes, so are the others if all their numbers are.

    Classes are numbered alike in both. Raises DataError as `code_of`.
    """
    ours, theirs = code_of_score(masks, kind), code_of_score(truths, kind)
    if ours.kind == "classes" != theirs.kind and _fits(ours, truths, _values(truths)):
        return ours, ours
    if theirs.kind == "classes" != ours.kind and _fits(theirs, masks, _values(masks)):
        return theirs, theirs
    if ours.kind == theirs.kind == "classes":
        values = tuple(sorted({*ours.values, *theirs.values}))
        if len(values) > MOST_CLASSES:
            raise DataError(f"{masks[0].name}: {len(values)} values, but there are {MOST_CLASSES} classes at most")
        return replace(ours, values=values), replace(theirs, values=values)
    return ours, theirs


def listed(values: Sequence[int]) -> str:
    """Name numbers for people, many by their first and last.

    >>> listed([0, 128, 255]), listed(range(30))
    ('0, 128 and 255', '0 to 29')
    """
    if len(values) > 6:
        return f"{values[0]} to {values[-1]}"
    return " and ".join(filter(None, (", ".join(map(str, values[:-1])), *map(str, values[-1:]))))


def _of_two_classes(masks: Sequence[Mask], values: tuple[int, ...]) -> MaskCode:
    if _are_two(masks, values):
        return _binary(masks, values)
    void = _void(masks, values)
    if void and _without(values, void) == (0, 1):
        return MaskCode("binary", (0, 1), void)
    _check_background(masks)
    if strange := _without_objects(masks, void):
        raise DataError(_no_kind(strange, "name all with --classes"))
    return MaskCode("instances", void=void)


def _binary(masks: Sequence[Mask], values: tuple[int, ...]) -> MaskCode:
    """Of two values, 0 and 255 or 1 and 2, the higher one is the foreground; of one alone, any but 0."""
    if not _are_two(masks, values):
        raise DataError(
            f"{masks[0].name}: {len(values)} values in masks that should hold two; see --mask-kind, or threshold them"
        )
    return MaskCode("binary", values if len(values) > 1 else tuple(sorted({0, *values})))


def _are_two(masks: Sequence[Mask], values: tuple[int, ...]) -> bool:
    """Whether masks hold two values, or each of them 0 and another white: 1 in one mask, 255 in the next."""
    return len(values) <= 2 or ({*values} <= {0, *_WHITE} and all(len({*each.values} - {0}) <= 1 for each in masks))


def _check_background(masks: Sequence[Mask]) -> None:
    """Raise DataError where the background of numbered objects is not 0, in some masks or in all."""
    bare = next((mask for mask in masks if len(mask.values) > 1 and mask.values[0] != 0), None)
    if bare is None:
        return
    remedy = "or say --mask-kind instances if these are objects that leave no background"
    other = next((mask for mask in masks if len(mask.values) > 1 and mask.values[0] == 0), None)
    if other and all(len(mask.values) <= 2 for mask in masks):
        raise DataError(
            f"{bare.name}: holds {listed(bare.values)}, but {other.name} {listed(other.values)}; "
            f"number background and foreground alike in all masks, {remedy}"
        )
    if all(map(_lies_around, masks)):
        raise DataError(
            f"{bare.name}: holds {listed(bare.values)}, and no mask holds 0, the background of numbered objects; "
            f"number the background 0, {remedy}"
        )


def _lies_around(mask: Mask) -> bool:
    """Whether the lowest number, which is not 0, covers more than any other, and borders on most of them."""
    lowest, *others = mask.values
    numbers, pixels = np.unique(mask.numbers, return_counts=True)
    return lowest > 0 and numbers[pixels.argmax()] == lowest and (not others or _share_beside(mask, lowest) > 0.5)


def _classes(masks: Sequence[Mask], values: tuple[int, ...], classes: int) -> MaskCode:
    """Numbers from 0 are classes, and VOID beside them none; others are in their order, where all have a name."""
    named, rest = tuple(range(classes)), _without(values, VOID)
    if {*values} <= {*named}:
        return MaskCode("classes", named)
    if {*rest} <= {*named} and len(rest) > 1:
        return MaskCode("classes", named, VOID)
    if len(values) == classes:
        return MaskCode("classes", values)
    worst = max(masks, key=lambda mask: mask.values[-1:])
    objects = ", or two if they number objects" if len(values) > _USUAL_CLASSES else ""
    raise DataError(
        f"{worst.name}: label {values[-1]}, but only {classes} classes are named; name all, from 0{objects} "
        f"(the masks hold {listed(values)})"
    )


def _fits(code: MaskCode, masks: Sequence[Mask], values: tuple[int, ...]) -> bool:
    """Whether all numbers of masks mean something in a code."""
    if code.kind == "instances":
        return len(values) <= 1 or (values[0] == 0 and values != _PARTLY and not _without_objects(masks, None))
    return {*values} <= {*code.values}


def _values(masks: Sequence[Mask]) -> tuple[int, ...]:
    with ThreadPoolExecutor(usable_cores()) as pool:
        return tuple(sorted(set().union(*pool.map(lambda mask: mask.values, masks))))


def _without(values: tuple[int, ...], void: int | None) -> tuple[int, ...]:
    return tuple(value for value in values if value != void)


def _no_kind(mask: Mask, as_classes: str) -> str:
    """Say that the numbers of a mask are neither two nor those of objects, and what to do about what they may be.

    as_classes: what to do if they are classes.
    """
    if len(mask.values) <= 2:
        ways = ["number its objects, as other masks do"]
    else:
        ways = ["threshold the masks to 0 and 255 if they have soft edges or were JPEG"]
        ways += [f"{as_classes} if these are classes"] if len(mask.values) <= _USUAL_CLASSES else []
    return (
        f"{mask.name}: holds {len(mask.values)} values, {listed(mask.values)}, most of them in several pieces or "
        f"without an inside: {', '.join(ways)}, or say --mask-kind instances if they number objects"
    )


# -- how numbers lie -------------------------------------------------------------------------------------------------


def _void(masks: Sequence[Mask], values: tuple[int, ...]) -> int | None:
    """VOID where it is the last of the values, apart from the others, and borders on most; always beside 0 and 1."""
    if len(values) < 3 or values[-1] != VOID or values[-2] == VOID - 1:
        return None
    if values == _PARTLY:  # two objects would be numbered 1 and 2
        return VOID
    beside = [_share_beside(mask, VOID) for mask in masks if len({*mask.values} - {0}) > 1]
    return VOID if beside and min(beside) > 0.5 else None


def _share_beside(mask: Mask, number: int) -> float:
    """The share of the other numbers, but 0, that have a pixel beside one of this number."""
    numbers, others = mask.numbers, {*mask.values} - {0, number}
    pairs = (numbers[:, 1:], numbers[:, :-1]), (numbers[1:], numbers[:-1])
    beside = [np.concatenate([one[other == number], other[one == number]]) for one, other in pairs]
    return len({*np.unique(np.concatenate(beside)).tolist()} & others) / len(others)


def _without_objects(masks: Sequence[Mask], void: int | None) -> Mask | None:
    """The first mask fewer than half of whose numbers could be objects; None where all of them number objects."""
    counts = _objects_of(masks, void)
    return next((mask for mask, (objects, numbers) in zip(masks, counts, strict=True) if 2 * objects < numbers), None)


def _mostly_objects(masks: Sequence[Mask], void: int | None) -> bool:
    """Whether at least half of the numbers of all masks together could be objects."""
    objects, numbers = np.sum(_objects_of(masks, void), axis=0)
    return bool(2 * objects >= numbers)


def _objects_of(masks: Sequence[Mask], void: int | None) -> list[tuple[int, int]]:
    """Of each mask, how many numbers could be objects, and how many there are."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(lambda mask: count_objects(_known(mask, void)), masks))


def _known(mask: Mask, void: int | None) -> np.ndarray:
    return mask.numbers if void is None else np.where(mask.numbers == void, 0, mask.numbers)


def count_objects(numbers: np.ndarray) -> tuple[int, int]:
    """Count what numbers (H, W) could be objects, and all of them but 0.

    An object is in one piece, but for stray pixels, and has an inside or touches no other: points may be numbered.

    >>> count_objects(np.array([[1, 1, 1, 0, 2], [1, 1, 1, 0, 0], [1, 1, 1, 0, 2]]))
    (1, 2)
    """
    at = ranked(numbers)
    count = at.max() + 1
    pieces = _pieces(at)
    number_of = np.zeros(pieces.max() + 1, np.intp)
    number_of[pieces.reshape(-1)] = at.reshape(-1)
    largest = np.zeros(count, np.intp)
    np.maximum.at(largest, number_of[1:], np.bincount(pieces.reshape(-1))[1:])
    whole = largest >= _WHOLE * np.bincount(at.reshape(-1), minlength=count)
    padded = np.pad(at, 1, mode="edge")
    beside = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    inner = np.logical_and.reduce([other == at for other in beside])
    touching = np.logical_or.reduce([(other != at) & (other > 0) for other in beside])
    has_inside, touches = (np.bincount(at[where], minlength=count) > 0 for where in (inner, touching))
    good = whole & (has_inside | ~touches)
    return int(good[1:].sum()), int(count - 1)


def ranked(numbers: np.ndarray) -> np.ndarray:
    """Count the numbers (H, W) that occur, in their order, 0 as 0: (H, W) int32.

    >>> ranked(np.array([[0, 700, 3]])).tolist(), ranked(np.array([[700, 3]])).tolist()
    ([[0, 2, 1]], [[2, 1]])
    """
    if numbers.dtype.itemsize > 2:
        values, at = np.unique(numbers, return_inverse=True)
        return (at.reshape(numbers.shape) + (0 if values[0] == 0 else 1)).astype(np.int32)
    there = np.bincount(numbers.reshape(-1), minlength=1) > 0
    there[0] = True
    return (np.cumsum(there) - 1).astype(np.int32)[numbers]


def _pieces(numbers: np.ndarray) -> np.ndarray:
    """Number the 4-connected pieces of equal numbers (H, W) but 0: (H, W) int32.

    On a grid of twice the size, pixels are joined by what lies between them, where they are equal.

    >>> _pieces(np.array([[1, 1, 2, 0, 2]])).tolist()
    [[1, 1, 2, 0, 3]]
    """
    height, width = numbers.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.bool_)
    grid[::2, ::2] = there = numbers > 0
    grid[::2, 1::2] = (numbers[:, 1:] == numbers[:, :-1]) & there[:, 1:]
    grid[1::2, ::2] = (numbers[1:] == numbers[:-1]) & there[1:]
    joined: np.ndarray = ndimage.label(grid)[0]
    return joined[::2, ::2]
