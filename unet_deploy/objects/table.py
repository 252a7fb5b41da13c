"""The table of objects: its columns, their names and their units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ObjectTable:
    """The objects of one page, in the order of their ids, which count from 1."""

    rows: np.ndarray
    """(n,) of the structured type `objects.records.row_type`."""
    classes: tuple[str, ...]
    """Names of the classes, background first."""
    pixel_size_um: float | None = None
    """The side of a pixel in micrometres, None where it is not known."""

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, part: slice | np.ndarray = slice(None)) -> dict[str, np.ndarray]:
        """Return columns by name, (n,) each, of all objects or of some.

        Lengths are in pixels and, where the size of a pixel is known, in micrometres too. A centroid is a mean of
        pixel indices: the centre of the first pixel is at 0, 0. The perimeter follows Crofton's formula in four
        directions, as skimage.measure.perimeter_crofton has it; with connectivity 4, pixels of one object that touch
        at a corner alone count as apart. The eccentricity is that of the ellipse with the same second moments, as in
        skimage.measure.regionprops.
        """
        rows, um = self.rows[part], self.pixel_size_um
        ids = np.arange(1, len(self) + 1, dtype=np.uint32)[part]
        names = np.array(self.classes, dtype=object)[rows["label"]]
        columns = {"id": ids, "class": rows["label"], "class_name": names, "area_px": rows["area"]}
        if um:
            columns["area_um2"] = rows["area"] * um**2
        for name, column in (("centroid_y", ""), ("centroid_x", ""), ("perimeter", "_px")):
            columns[name + column] = rows[name]
            if um:
                columns[f"{name}_um"] = rows[name] * um
        for name in ("bbox_y", "bbox_x", "bbox_height", "bbox_width", "eccentricity"):
            columns[name] = rows[name]
        means = rows["mean_intensity"].T
        if len(means) == 1:
            columns["mean_intensity"] = means[0]
        else:
            columns |= {f"mean_intensity_{channel}": mean for channel, mean in enumerate(means)}
        return columns
