"""What of annotated images is held back from training: images, or blocks of the only one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from unet_deploy.errors import DataError, UsageError
from unet_deploy.evaluation.pairs import Pair
from unet_deploy.images.orientation import upright_sides
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.tiling import Region

BLOCKS = 10
"""Blocks along the longer side of an image that is the only one: what a rule says of images is said of them."""


WHOLE_SETS = "set:"
"""How a rule begins that holds whole data sets back, by their names."""


@dataclass(frozen=True)
class Part:
    """One image of a data set, or a block of the only one."""

    image: int
    """The index of its pair."""
    region: Region | None = None
    """The block, in pixels of what is read; None for all of that."""

    def named(self, pair: Pair) -> str:
        """The name of the image, with rows and columns of a block, which are those of the whole image.

        >>> from pathlib import Path
        >>> Part(0, Region(0, 90, 80, 10)).named(Pair("cell", Path("cell.tif"), Path("mask.tif")))
        'cell[0:80, 90:100]'
        """
        if self.region is None:
            return pair.name
        corner = pair.window.frame.origin if pair.window else (0, 0)
        rows, columns = self.region.moved(*corner).slices
        return f"{pair.name}[{rows.start}:{rows.stop}, {columns.start}:{columns.stop}]"


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is held back."""

    rule: str
    """In the words of `split`."""
    training: tuple[Part, ...]
    validation: tuple[Part, ...]


def sets_held_back(rule: str) -> list[str] | None:
    """The names of the data sets that a rule holds back whole; None for a rule that parts the images of each.

    >>> sets_held_back("set:a,b"), sets_held_back("last:6")
    (['a', 'b'], None)
    """
    return rule.removeprefix(WHOLE_SETS).split(",") if rule.startswith(WHOLE_SETS) else None


def split_set(name: str, pairs: Sequence[Pair], rule: str, reading: Reading = AS_SAID) -> Split:
    """As `split_pairs`, of a data set of this name, which a rule may hold back whole. Raises as that."""
    held = sets_held_back(rule)
    if held is None:
        return split_pairs(pairs, rule, reading)
    whole = tuple(map(Part, range(len(pairs))))
    return Split(rule, *(((), whole) if name in held else (whole, ())))


def split_pairs(pairs: Sequence[Pair], rule: str, reading: Reading = AS_SAID) -> Split:
    """Part images, or where there is but one its blocks, by a rule in the words of `split`.

    reading: how the images are read.
    Raises UsageError as `split`, ImageError, and DataError for an only image that is too small for blocks.
    """
    if len(pairs) > 1:
        training, validation = split([pair.name for pair in pairs], rule)
        return Split(rule, tuple(map(Part, training)), tuple(map(Part, validation)))
    inside = pairs[0].inside or _whole(pairs[0], reading)
    if max(inside.sides) < 2 * BLOCKS:
        raise DataError(f"{pairs[0].image}: is the only image and too small to hold a part of it back; add images")
    training, validation = split([f"block{number}" for number in range(BLOCKS)], rule)
    return Split(rule, tuple(_blocks(training, inside)), tuple(_blocks(validation, inside)))


def _whole(pair: Pair, reading: Reading) -> Region:
    """All of an image, as it is shown."""
    with pair.open(reading) as source:
        return Region(0, 0, *upright_sides(source.info))


def _blocks(numbers: Sequence[int], inside: Region) -> Iterator[Part]:
    """The numbered blocks of an image or a region of it, those that follow each other as one.

    >>> [part.region.slices[0] for part in _blocks([0, 1, 9], Region(7, 0, 100, 40))]
    [slice(7, 27, None), slice(97, 107, None)]
    """
    height, width = inside.sides
    side = max(height, width)
    for _, run in groupby(enumerate(numbers), lambda found: found[1] - found[0]):
        found = [number for _, number in run]
        start, stop = side * found[0] // BLOCKS, side * (found[-1] + 1) // BLOCKS
        block = Region(start, 0, stop - start, width) if height >= width else Region(0, start, height, stop - start)
        yield Part(0, block.moved(*inside.origin))


def split(names: Sequence[str], rule: str) -> tuple[list[int], list[int]]:
    """Choose which images to train on and which to validate on: the indices of either.

    rule: "last:0.1" or "last:6" takes the last tenth or the last six as one block, so that neighbouring slices of a
    stack never stand on both sides; "fold:2/5" the second of five such blocks; "every:10" each tenth, from the first;
    "names:a,b" those of these names, of an image all its regions. Raises UsageError.
    """
    validation = _held_out(names, rule)
    training = sorted(set(range(len(names))) - set(validation))
    if not training or not validation:
        raise UsageError(
            f"--validation {rule}: of {len(names)} images that holds back {len(validation)} and leaves {len(training)} "
            "to train on; hold back others, or add images"
        )
    return training, validation


def _held_out(names: Sequence[str], rule: str) -> list[int]:
    kind, _, amount = rule.partition(":")
    count = len(names)
    try:
        if kind == "names":
            return sorted({at for name in amount.split(",") for at in _of_name(names, name)})
        if kind == "fold":
            block, blocks = map(int, amount.split("/"))
            if 1 <= block <= blocks:
                return list(range(count * (block - 1) // blocks, count * block // blocks))
        if kind == "every" and int(amount) >= 2:
            return list(range(0, count, int(amount)))
        if kind == "last" and (number := float(amount)) > 0 and (number < 1 or number.is_integer()):
            size = max(1, round(number * count) if number < 1 else int(number))
            return list(range(max(0, count - size), count))
    except ValueError:
        pass
    unknown = "no such image; " if kind == "names" else ""
    raise UsageError(f"--validation {rule}: {unknown}say last:0.1, last:6, fold:1/5, every:10 or names:first,second")


def _of_name(names: Sequence[str], name: str) -> list[int]:
    """The image of a name, or the regions of it. Raises ValueError where there is none."""
    regions = [at for at, each in enumerate(names) if each.startswith(f"{name}[y")]
    return regions or [names.index(name)]
