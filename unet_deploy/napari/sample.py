"""The slide that `unet-deploy sample` makes, and its truth, as layers."""

from __future__ import annotations

from unet_deploy.measure.sample import write_sample
from unet_deploy.napari.layers import LayerData, image_layers, mask_layer
from unet_deploy.system.cache import cache_folder, only_one

_SIDE = 2048


def sample_layers() -> list[LayerData]:
    """Return the slide and its numbered nuclei, which are hidden at first. It is made once, in the cache folder.

    Raises UnetDeployError where it cannot be written.
    """
    slide = cache_folder() / "sample" / "nuclei.tif"
    truth = slide.with_name("nuclei.truth.tif")
    with only_one(slide):
        if not (slide.is_file() and truth.is_file()):
            write_sample(slide, _SIDE, _SIDE, truth=truth, overwrite=True)
    data, how, kind = mask_layer(truth)
    return [*image_layers(slide), (data, {**how, "visible": False}, kind)]
