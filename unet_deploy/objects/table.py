"""The table of objects: its columns, their names and their units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.frame import FINEST, Frame
from unet_deploy.objects.records import perimeters


@dataclass(frozen=True)
class ObjectTable:
    """The objects of one page, in the order of their ids, which count on from those of the pages before."""

    rows: np.ndarray
    """(n,) of the structured type `objects.records.row_type`."""
    classes: tuple[str, ...]
    """Names of the classes, background first."""
    steps: tuple[tuple[str, int], ...] = ()
    """Which step of each axis of pages the page is, as (("t", 1), ("z", 0)); empty where those have no name."""
    frame: Frame = FINEST
    """Where the pixels that `rows` counts in lie at full resolution, and how large they are."""
    before: int = 0
    """How many objects the pages before this one have: the first id is the next number."""

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, part: slice | np.ndarray = slice(None)) -> dict[str, np.ndarray]:
        """Return columns by name, (n,) each, of all objects or of some.

        Lengths are in pixels of the finest level and, where the size of a pixel is known, in micrometres too, with
        height and width each for itself. A centroid is a mean of pixel indices: the centre of the first pixel is at 0,
        0. It has its place on the map of the frame too, and areas are in square metres, where there are such. The
        perimeter follows Crofton's formula in four directions, as skimage.measure.perimeter_crofton has it; with
        connectivity 4, pixels of one object that touch at a corner alone count as apart. The eccentricity is that of
        the ellipse with the same second moments, as in skimage.measure.regionprops, where pixels are not square by
        their sizes.
        """
        rows, frame = self.rows[part], self.frame
        sides = frame.sides_um
        ids = np.arange(self.before + 1, self.before + len(self) + 1, dtype=np.uint32)[part]
        names = np.array(self.classes, dtype=object)[rows["label"]]
        areas = np.rint(rows["area"] * (frame.step_y * frame.step_x)).astype(np.int64)
        columns = {"id": ids, "class": rows["label"], "class_name": names, "area_px": areas}
        if sides:
            columns["area_um2"] = rows["area"] * frame.area_um2
        if frame.map and frame.map.pixel_m2:
            columns["area_m2"] = rows["area"] * (frame.step_y * frame.step_x * frame.map.pixel_m2)
        for at, axis in enumerate("yx"):
            name = f"centroid_{axis}"
            columns[name] = centre = frame.centre(axis, rows[name])
            if sides:
                columns[f"{name}_um"] = centre * (sides[at] / frame.step(axis))
        if frame.map:
            places = frame.map.at(columns["centroid_x"] + 0.5, columns["centroid_y"] + 0.5)
            columns |= zip(frame.map.columns, places, strict=True)
        columns["perimeter_px"] = perimeters(rows, frame.step_y, frame.step_x)
        if sides:
            columns["perimeter_um"] = perimeters(rows, *sides)
        columns |= self._boxes(rows)
        columns["eccentricity"] = rows["eccentricity"]
        means = rows["mean_intensity"].T
        if len(means) == 1:
            columns["mean_intensity"] = means[0]
        else:
            columns |= {f"mean_intensity_{channel}": mean for channel, mean in enumerate(means)}
        return columns

    def _boxes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return where the objects begin and how far they reach, in whole pixels of the finest level."""
        begins, reaches = {}, {}
        for axis, side in (("y", "height"), ("x", "width")):
            first = self.frame.edge(axis, rows[f"bbox_{axis}"])
            last = self.frame.edge(axis, rows[f"bbox_{axis}"] + rows[f"bbox_{side}"])
            begins[f"bbox_{axis}"] = np.floor(first).astype(np.int32)
            reaches[f"bbox_{side}"] = np.ceil(last).astype(np.int32) - begins[f"bbox_{axis}"]
        return begins | reaches
