"""What is measured of an object: sums that add up over its parts, and what follows from them once it is whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_deploy.objects.runs import Runs, Touching
from unet_deploy.tiling import Region

LINES = ("across", "down", "diagonal")
"""How often lines along the rows, the columns and both diagonals of pixels enter an object: its perimeter."""


def record_type(channels: int) -> np.dtype[Any]:
    """Return the type of the record of a part of an object, or of the background between objects."""
    return np.dtype(
        [
            ("root", np.int64),  # provisional number that stands for it
            ("first", np.int64),  # first pixel, in raster order of the image
            ("area", np.int64),
            ("sum_y", np.int64),
            ("sum_x", np.int64),
            ("yy", np.float64),  # second moments about its own centroid: about the image's origin they would cancel
            ("xx", np.float64),
            ("yx", np.float64),
            ("across", np.int64),  # times that lines along the rows of pixels enter it
            ("down", np.int64),  # the same for the columns
            ("diagonal", np.int64),  # and for the two diagonals
            ("intensity", np.float64, (channels,)),
            ("top", np.int32),
            ("left", np.int32),
            ("bottom", np.int32),
            ("right", np.int32),
            ("label", np.uint8),
            ("outside", np.bool_),  # background known to be no hole
        ],
        align=True,
    )


def row_type(channels: int) -> np.dtype[Any]:
    """Return the type of a row of the table, which is a whole object."""
    return np.dtype(
        [
            ("root", np.int64),
            ("first", np.int64),
            ("area", np.int64),
            ("centroid_y", np.float64),
            ("centroid_x", np.float64),
            ("across", np.int64),
            ("down", np.int64),
            ("diagonal", np.int64),
            ("eccentricity", np.float64),
            ("mean_intensity", np.float64, (channels,)),
            ("bbox_y", np.int32),
            ("bbox_x", np.int32),
            ("bbox_height", np.int32),
            ("bbox_width", np.int32),
            ("label", np.uint8),
        ],
        align=True,
    )


def measured(
    runs: Runs, touching: Touching, owner: np.ndarray, count: int, region: Region, image: np.ndarray, width: int
) -> np.ndarray:
    """Measure the components of a tile: (count,) of `record_type`, whose `root` is left 0.

    owner: (runs,) int32, the component of each run, -1 for none. image: (C, h, w) of the tile. width: of the image.
    """
    records = np.zeros(count, record_type(len(image)))
    mine = np.flatnonzero(owner >= 0)
    owned = owner[mine]
    starts, n = runs.starts[mine], runs.lengths[mine].astype(np.float64)
    y, left = np.divmod(starts, runs.width)
    right = left + runs.lengths[mine]
    middle = (left + right - 1) / 2

    def total(of_runs: np.ndarray) -> np.ndarray:
        # float64 is exact here: coordinates count from the tile's corner, so that no sum reaches 2**53.
        return np.bincount(owned, of_runs, count)

    area, sum_y, sum_x = total(n), total(n * y), total(n * middle)
    records["area"], records["yy"] = area, total(n * y * y) - sum_y * sum_y / area
    records["xx"] = total(n * middle * middle + n * (n * n - 1) / 12) - sum_x * sum_x / area
    records["yx"] = total(n * y * middle) - sum_y * sum_x / area
    records["sum_y"], records["sum_x"] = sum_y + area * region.y, sum_x + area * region.x

    # A line enters an object as often as pixels have no predecessor of the same object on it.
    joined = owner[touching.joined[0]]
    records["across"] = total(np.ones(len(owned)))
    records["down"] = area - np.bincount(joined, touching.straight, count)
    records["diagonal"] = 2 * area - np.bincount(joined, touching.diagonal, count)

    # Where an index comes up twice, the last value stays: runs backwards leave the first, forwards the last.
    first, last = np.empty((2, count), np.intp)
    first[owned[::-1]], last[owned] = np.arange(len(owned))[::-1], np.arange(len(owned))
    records["label"] = runs.labels[mine[first]]
    records["first"] = (region.y + y[first]) * width + region.x + left[first]
    records["top"], records["bottom"] = region.y + y[first], region.y + y[last] + 1
    leftmost, rightmost = left[first], right[first]
    np.minimum.at(leftmost, owned, left)
    np.maximum.at(rightmost, owned, right)
    records["left"], records["right"] = region.x + leftmost, region.x + rightmost

    exact = np.float64 if image.dtype.kind == "f" else np.int64
    for channel, plane in enumerate(image):
        records["intensity"][:, channel] = total(np.add.reduceat(plane.ravel(), runs.starts, dtype=exact)[mine])
    return records


def merged(records: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Add up records by the group that each falls into: (count,) of `record_type`.

    The first record of a group gives its root and label.
    """
    whole = np.zeros(count, records.dtype)
    for name in ("root", "label"):
        whole[name][groups[::-1]] = records[name][::-1]
    for name in ("area", "sum_y", "sum_x", *LINES):
        np.add.at(whole[name], groups, records[name])
    for channel in range(records["intensity"].shape[1]):
        whole["intensity"][:, channel] = np.bincount(groups, records["intensity"][:, channel], count)
    for name in ("first", "top", "left"):
        whole[name] = np.iinfo(whole[name].dtype).max
        np.minimum.at(whole[name], groups, records[name])
    for name in ("bottom", "right", "outside"):
        np.maximum.at(whole[name], groups, records[name])
    # Chan, Golub and LeVeque 1979: moments about a common centroid from moments about those of the parts.
    area = records["area"]
    away = {axis: records[f"sum_{axis}"] / area - (whole[f"sum_{axis}"] / whole["area"])[groups] for axis in "yx"}
    for moment in ("yy", "xx", "yx"):
        one, other = moment
        whole[moment] = np.bincount(groups, records[moment] + area * away[one] * away[other], count)
    return whole


def rows_of(records: np.ndarray, stretch: float) -> np.ndarray:
    """Return the rows of the table, of `row_type`, of objects that are whole.

    stretch: how many times as high as wide a pixel is.
    """
    rows = np.zeros(len(records), row_type(records["intensity"].shape[1]))
    for name in ("root", "first", "area", "label", *LINES):
        rows[name] = records[name]
    area = records["area"]
    rows["centroid_y"], rows["centroid_x"] = records["sum_y"] / area, records["sum_x"] / area
    rows["bbox_y"], rows["bbox_x"] = records["top"], records["left"]
    rows["bbox_height"] = records["bottom"] - records["top"]
    rows["bbox_width"] = records["right"] - records["left"]
    rows["mean_intensity"] = records["intensity"] / area[:, None]
    yy, yx = records["yy"] * stretch**2, records["yx"] * stretch
    half_sum = (yy + records["xx"]) / 2
    apart = np.hypot((yy - records["xx"]) / 2, yx)
    # Of the ellipse with the same second moments, 1 - minor**2 / major**2; a single pixel is a circle.
    rows["eccentricity"] = np.sqrt(np.divide(2 * apart, half_sum + apart, out=np.zeros(len(rows)), where=half_sum > 0))
    np.minimum(rows["eccentricity"], 1, out=rows["eccentricity"])
    return rows


def perimeters(rows: np.ndarray, height: float, width: float) -> np.ndarray:
    """Return the perimeters of objects, (n,) float64, from pixels of this height and width, by Crofton's formula.

    rows: of `row_type`. A perimeter is the sum over directions of the lines that enter, times how far apart these lie,
    times the angle that the direction stands for: all those that are nearer to it than to another (Lehmann and Legland
    2012, "Efficient N-dimensional surface estimation using Crofton formula and run-length encoding").
    """
    if height == width:  # diagonals lie closer by the square root of 2, and each direction stands for 45 degrees
        return np.pi / 4 * (rows["across"] + rows["down"] + rows["diagonal"] / np.sqrt(2)) * width
    slope = np.arctan2(height, width)  # of the diagonals
    straight = slope * height * rows["across"] + (np.pi / 2 - slope) * width * rows["down"]
    return straight + np.pi / 4 * height * width / np.hypot(height, width) * rows["diagonal"]
