"""Holes: background that touches neither the border of the image nor more than one object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.records import LINES, merged
from unet_deploy.objects.runs import Connectivity, Touching


def no_pairs() -> np.ndarray:
    """Return (2, 0) intp, no pair of records at all."""
    return np.zeros((2, 0), np.intp)


@dataclass(frozen=True)
class Rims:
    """What is known of background that may be a hole; pairs are (2, n) intp, indices of records.

    A A A A        The background inside is two holes with connectivity 8, for the corner between them joins A.
    A b A A        With the records A = 0, b = 1 and c = 2:
    A A c A            beside    (1, 0), (2, 0)
    A A A A            crossing  (1, 2)
    """

    beside: np.ndarray
    """Pairs of background and an object that share a pixel edge, each pair once."""
    crossing: np.ndarray
    """Pairs of background on both sides of a corner that joins an object, as often as there are such corners."""

    @classmethod
    def none(cls) -> Rims:
        """Return the rims of no background."""
        return cls(no_pairs(), no_pairs())

    @classmethod
    def of(cls, parts: list[Rims]) -> Rims:
        """Put rims together that are of the same records."""
        return cls(
            np.concatenate([no_pairs(), *(part.beside for part in parts)], axis=1),
            np.concatenate([no_pairs(), *(part.crossing for part in parts)], axis=1),
        )

    def mapped(self, to: np.ndarray) -> Rims:
        """Return the same of other indices: to[i] is what record i became."""
        beside = to[self.beside].astype(np.intp)
        if beside.size:
            span = int(beside[1].max()) + 1
            beside = np.stack(np.divmod(np.unique(beside[0] * span + beside[1]), span))
        return Rims(beside, to[self.crossing].astype(np.intp))

    def moved(self, offset: int) -> Rims:
        """Return the same of records that so many others were put before."""
        return Rims(self.beside + offset, self.crossing + offset)


def count_corners(records: np.ndarray, owner: np.ndarray, touching: Touching, connectivity: Connectivity) -> None:
    """Enter the corners that filling changes; `fill` subtracts them with what it fills.

    owner: (runs,) the record of each run.
    """
    np.add.at(records["diagonal"], owner[touching.corner], -1 if connectivity == 8 else 1)


@dataclass(frozen=True)
class Filled:
    """Objects with their holes, and what is not yet known to be a hole."""

    records: np.ndarray
    """(left,) of `record_type`, what is left."""
    place: np.ndarray
    """(n,) intp, the index that each record has there now; a hole has that of its object."""
    waiting: np.ndarray
    """(left,) bool, background between objects that may still turn out to be one."""
    rims: Rims
    """Those of background that is open or waiting."""


def fill(records: np.ndarray, is_open: np.ndarray, rims: Rims) -> Filled:
    """Give holes that are whole to their objects.

        A A A A A A A A        a  borders on A alone: it is filled
        A a A b b b A .        b  borders on A and on B, which are whole and not one object: it stays
        A A A b B b A .        .  reaches the border of the image: it is no hole
        A A A b b b A .
        A A A A A A A .        Between objects that all go on below, background waits: they may be one there.

    records: (n,) of `record_type`, all that is joined so far; it is used up.
    is_open: (n,) bool, what may go on below.
    """
    beside = rims.beside[:, ~records["outside"][rims.beside[0]]]
    hole, neighbour = beside
    alone = ~is_open[hole] & (np.bincount(hole, minlength=len(records))[hole] == 1)
    # An object that has ended encloses nothing that goes on below, nor will it be one with another.
    records["outside"][hole[~is_open[neighbour] & ~alone]] = True
    taker = np.arange(len(records))
    taker[hole[alone]] = neighbour[alone]
    filled = taker != np.arange(len(records))

    # At such a corner the object gains no more than one joined corner, be it filled from one side or from both.
    first, second = rims.crossing
    outside = records["outside"]
    settled = (first == second) | outside[first] | outside[second] | filled[first] | filled[second]
    np.subtract.at(records["diagonal"], np.where(filled[second] | outside[first], second, first)[settled], 1)

    # Lines enter an object once less for each time that they leave a hole.
    for name in LINES:
        records[name][filled] *= -1
    order = np.concatenate([np.flatnonzero(~filled), np.flatnonzero(filled)])  # an object before its holes
    place = (np.cumsum(~filled) - 1)[taker]
    waits = ~alone & ~records["outside"][hole]
    waiting = np.zeros(len(records), bool)
    waiting[hole[waits]] = True
    waiting &= ~is_open
    left = merged(records[order], place[order], len(records) - int(filled.sum()))
    return Filled(left, place, waiting[~filled], Rims(beside[:, waits], rims.crossing[:, ~settled]).mapped(place))
