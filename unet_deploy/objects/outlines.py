"""Outlines of objects, exact to the pixel edge, from the tiles of an instance mask: polygons for QuPath.

An outline turns at corners of pixels, and whether it does is seen from the four pixels around one. So corners are
found tile by tile and seam by seam, and an object is traced once its last row of tiles is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from unet_deploy.objects.runs import Borders
from unet_deploy.tiling import Region

Ring = np.ndarray
"""(n, 2) int, the corners x, y of a closed line, the first not repeated; the pixel at 0, 0 spans 0..1."""
Polygons = list[list[Ring]]
"""Each an outer ring and its holes. They touch at corners at most."""


@dataclass(frozen=True)
class Outline:
    """The polygons along the pixel edges of one object."""

    id: int
    polygons: Polygons


def outlines(tiles: Iterable[tuple[Region, np.ndarray]]) -> Iterator[Outline]:
    """Yield the outline of each object, as soon as it is whole.

    tiles: regions that cover an image or a window of it, row of tiles by row of tiles, with their (h, w) uint32 ids,
    0 for none.

    >>> ids = np.array([[1, 1], [1, 0]], np.uint32)
    >>> [outline] = outlines([(Region(0, 0, 2, 2), ids)])
    >>> outline.id, outline.polygons[0][0].tolist()
    (1, [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]])
    """
    corners = _Corners.none()
    above = None
    for _, row in groupby(tiles, key=lambda tile: tile[0].y):
        found, parts = [corners], []
        for region, ids in row:
            found.append(_Corners.of(ids, region.y, region.x))
            parts.append((region, Borders(*(line.copy() for line in (ids[0], ids[-1], ids[:, 0], ids[:, -1])))))
        parts.sort(key=lambda part: part[0].x)
        regions, lines = [region for region, _ in parts], [line for _, line in parts]
        nothing = np.zeros_like(lines[0].left)
        lefts, rights = [nothing, *(line.right for line in lines)], [*(line.left for line in lines), nothing]
        for left, right, x in zip(lefts, rights, [regions[0].x, *(region.right for region in regions)], strict=True):
            found.append(_Corners.of(np.stack([left, right], axis=1), regions[0].y, x - 1))
        top, bottom = np.concatenate([line.top for line in lines]), np.concatenate([line.bottom for line in lines])
        found.append(_Corners.between(above, top, regions[0].y, regions[0].x))
        corners, above = _Corners.all(found), bottom
        start, end = regions[0].x, regions[0].bottom
        going_on = np.isin(corners.id, bottom)
        yield from _traced(corners.taken(~going_on))
        corners = corners.taken(going_on)
    if above is not None:
        yield from _traced(_Corners.all([corners, _Corners.between(above, None, end, start)]))


@dataclass(frozen=True)
class _Corners:
    """Where outlines turn; (n,) arrays. Two edges meet there, of one pixel that is the object's or juts into it.

          1   2   3   x
    1     a-------b         a  goes on right and down, in the object
          | 1   1 |         b  left and down, in the object
    2     |   c---d         c  right and down, out of it
          | 1 |             d  left and up, in the object
    3     e---f             e  right and up, in the object
    y                       f  left and up, in the object
    """

    id: np.ndarray
    y: np.ndarray
    """Pixel edges from the top, as `x` from the left."""
    x: np.ndarray
    rightward: np.ndarray
    """Whether the horizontal edge goes right from here; else left."""
    downward: np.ndarray
    """Whether the vertical edge goes down from here; else up."""
    inside: np.ndarray
    """Whether the pixel between the two edges is the object's."""

    @classmethod
    def none(cls) -> _Corners:
        """Return no corners."""
        return cls.of(np.zeros((1, 1), np.uint32), 0, 0)

    @classmethod
    def all(cls, parts: list[_Corners]) -> _Corners:
        """Put corners together."""
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))

    def taken(self, which: np.ndarray) -> _Corners:
        """Return those of these indices, or where this mask is true."""
        return _Corners(*(column[which] for column in vars(self).values()))

    @classmethod
    def between(cls, above: np.ndarray | None, below: np.ndarray | None, y: int, x: int) -> _Corners:
        """Find those on the line at y from x on, its ends included. above, below: (W,) ids, None for outside."""
        lines = [line for line in (above, below) if line is not None]
        pair = [np.zeros_like(lines[0]) if line is None else line for line in (above, below)]
        return cls.of(np.pad(np.stack(pair), ((0, 0), (1, 1))), y - 1, x - 1)

    @classmethod
    def of(cls, ids: np.ndarray, y: int, x: int) -> _Corners:
        """Find those strictly inside a block (h, w) of ids whose first pixel is at y, x."""
        a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
        level, upright = (a == b) & (c == d), (a == c) & (b == d)
        rows, columns = np.nonzero(~(level | upright))
        around = np.stack([four[rows, columns] for four in (a, b, c, d)])
        rows, columns = rows + y + 1, columns + x + 1
        parts = []
        for pixel, (beside, over, across) in enumerate(((1, 2, 3), (0, 3, 2), (3, 0, 1), (2, 1, 0))):
            mine, neighbours = around[pixel], around[[beside, over]]
            juts = (mine != 0) & (neighbours != mine).all(axis=0)
            dents = (neighbours == around[across]).all(axis=0) & (around[across] != mine) & (around[across] != 0)
            for where, inside, owner in ((juts, True, mine), (dents, False, around[across])):
                n = int(where.sum())
                turn = [np.full(n, flag) for flag in (pixel % 2 == 1, pixel >= 2, inside)]
                parts.append(cls(owner[where], rows[where], columns[where], *turn))
        return cls.all(parts)


def _traced(corners: _Corners) -> Iterator[Outline]:
    """Yield the outlines of objects all of whose corners are here."""
    corners = corners.taken(np.lexsort((corners.rightward, corners.x, corners.y, corners.id)))
    # On a line of pixel edges corners pair up, a first and a last; where two share a point, one ends and one begins.
    # Sorted along the rows they are neighbours; along the columns, neighbours in this order.
    order = np.lexsort((corners.downward, corners.y, corners.x, corners.id))
    mates = np.empty(len(order), np.intp)
    mates[order] = order[np.arange(len(order)) ^ 1]
    points = np.stack([corners.x, corners.y], axis=1)
    starts = np.flatnonzero(np.diff(corners.id, prepend=0)).tolist()
    for start, end in pairwise([*starts, len(order)]):
        rings = _rings((mates[start:end] - start).tolist(), corners.inside[start:end].tolist())
        simple = (part for ring in rings for part in _simple(points[start:end][ring]))
        yield Outline(int(corners.id[start]), _polygons(list(simple)))


def _rings(mates: list[int], inside: list[bool]) -> Iterator[list[int]]:
    """Yield the corners of one object ring by ring.

    mates: the other end of the vertical edge of each corner; that of the horizontal one of corner i is i ^ 1.
    """
    seen = [False] * len(mates)
    for first in range(len(mates)):
        if seen[first]:
            continue
        # The first corner of a ring is the top left one of a pixel: of the object's, or of a hole's.
        ring, corner, across = [], first, inside[first]
        while not seen[corner]:
            seen[corner] = True
            ring.append(corner)
            corner = corner ^ 1 if across else mates[corner]
            across = not across
        yield ring


def _simple(ring: Ring) -> list[Ring]:
    """Cut a ring where it meets itself at a point."""
    corners = list(map(tuple, ring.tolist()))
    if len(set(corners)) == len(corners):
        return [ring]
    rings: list[Ring] = []
    path: list[tuple[int, ...]] = []
    at: dict[tuple[int, ...], int] = {}
    for corner in corners:
        if corner in at:
            loop = path[at[corner] :]
            del path[at[corner] + 1 :]
            rings.append(np.array(loop))
            for other in loop[1:]:
                del at[other]
        else:
            at[corner] = len(path)
            path.append(corner)
    return [*rings, np.array(path)]


def _polygons(rings: list[Ring]) -> Polygons:
    """Give each outer ring, which turns right, the holes, which turn left, that lie in it."""
    if len(rings) == 1:
        return [rings]
    areas = np.array([_area(ring) for ring in rings])
    outer = np.flatnonzero(areas > 0)
    polygons = [[rings[index]] for index in outer]
    if len(outer) == 1:
        return [[*polygons[0], *(ring for ring, area in zip(rings, areas, strict=True) if area < 0)]]
    smallest_first = np.argsort(areas[outer], kind="stable")
    low = np.array([rings[index].min(axis=0) for index in outer])
    high = np.array([rings[index].max(axis=0) for index in outer])
    for index in np.flatnonzero(areas < 0):
        x, y = min(map(tuple, rings[index].tolist()), key=lambda corner: (corner[1], corner[0]))
        near = np.all((low <= (x, y)) & (high > (x, y)), axis=1)
        around = next(at for at in smallest_first if near[at] and _holds(polygons[at][0], x, y))
        polygons[around].append(rings[index])
    return polygons


def _area(ring: Ring) -> int:
    """Return the pixels inside, positive where x turns to y."""
    x, y = ring.T.astype(np.int64)
    return int((x * (np.roll(y, -1) - np.roll(y, 1))).sum()) // 2


def _holds(ring: Ring, x: int, y: int) -> bool:
    """Return whether the pixel at y, x is inside: a line to the left crosses the ring an odd number of times."""
    (x0, y0), (_, y1) = ring.T, np.roll(ring, -1, axis=0).T
    crossed = (x0 <= x) & (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
    return bool(crossed.sum() % 2)
