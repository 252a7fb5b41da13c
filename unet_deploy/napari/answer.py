"""What came of a segmentation, as a layer of labels that lies where its image does."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_deploy.images import open_labels
from unet_deploy.masks import origin_of
from unet_deploy.napari.layers import LOADED, LayerData, class_looks, mask_layer, table_features
from unet_deploy.napari.work import Made
from unet_deploy.tiling import Region


def answer_layer(made: Made, image: Any, region: Region | None) -> LayerData:
    """Return the labels of a region of an image layer, or of all of it, with their table or the names of classes.

    What is not too large is loaded, and can be corrected by hand. Raises UsageError and ImageError.
    """
    info = made.report.image
    asked = region or info.region
    lead = (image.data[0] if image.multiscale else image.data).shape[: image.ndim - 2]
    how: dict[str, Any] = {}
    if info.pages * asked.height * asked.width <= LOADED:
        data: Any = _loaded(made, asked, lead)
    else:
        data, how, _ = mask_layer(made.labels)
        asked = info.region
    name = f"{image.name}: {made.report.model}"
    return data, {**how, "name": name, **_looks(made), **_placed(image, asked, len(lead))}, "labels"


def summary(made: Made) -> str:
    """Say what came of it in a few lines, and what speaks against it."""
    report = made.report
    found = f"{report.objects:,} objects" if report.objects is not None else f"{report.megapixels:.3g} megapixels"
    lines = [f"{found} in {report.timing.wall:.2g} s ({report.model})", str(report.scaled)]
    if report.trust.doubts:
        lines.append(f"Look before you trust this mask: {'; '.join(report.trust.doubts)}")
    return "\n".join(f"{line[:1].upper()}{line[1:]}" for line in lines)


def _loaded(made: Made, region: Region, lead: tuple[int, ...]) -> np.ndarray:
    """The labels of a region of all pages, (..., h, w)."""
    with open_labels(made.labels) as source:
        pages = [source.crop(page, region)[0] for page in range(source.info.pages)]
    return np.stack(pages).reshape(*lead, *region.sides)


def _looks(made: Made) -> dict[str, Any]:
    outputs = made.report.outputs
    if outputs.objects:
        return {"features": table_features(outputs.objects)}
    origin = origin_of(outputs.mask)
    return class_looks(origin.classes if origin else ())


def _placed(image: Any, region: Region, lead: int) -> dict[str, Any]:
    """Where labels lie whose first pixel is the first of a region of the image."""
    first = np.array([0] * lead + [region.y, region.x])
    return {
        "scale": image.scale,
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine,
        "translate": image.affine.inverse(image.data_to_world(first)),
        "units": image.units,
        "axis_labels": image.axis_labels,
    }
