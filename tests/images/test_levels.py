"""An image that is turned to another level of its pyramid is one that was opened at it."""

import numpy as np
import pytest
import tifffile

from unet_deploy.errors import ImageError
from unet_deploy.images import open_image
from unet_deploy.images.array import ArraySource
from unet_deploy.tiling import Region

FULL = np.random.default_rng(0).integers(0, 60_000, (2, 300, 260), dtype=np.uint16)
"""(C, H, W)."""


def tiff(folder):
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    path = folder / "pyramid.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(FULL, tile=(64, 64), subifds=1, metadata={"axes": "CYX", **size})
        file.write(FULL[:, ::2, ::2], tile=(64, 64), subfiletype=1)
    return path


def ome_zarr(folder):
    zarr = pytest.importorskip("zarr")
    path = folder / "pyramid.zarr"
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [
        {"path": str(at), "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.25 * 2**at, 0.25 * 2**at]}]}
        for at in range(2)
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group = zarr.create_group(str(path), attributes={"ome": ome})
    for at in range(2):
        pixels = FULL[:, :: 2**at, :: 2**at]
        group.create_array(str(at), shape=pixels.shape, chunks=(1, 64, 64), dtype=pixels.dtype)[:] = pixels
    return path


@pytest.mark.parametrize("write", [tiff, ome_zarr])
def test_turned_to_a_level_it_is_as_opened_at_it(tmp_path, write):
    path, region = write(tmp_path), Region(-10, 20, 90, 70)
    with open_image(path, channel=1) as source:
        source.read(0, region)  # something is in its cache
        for level in (1, 0, 1):
            source.turn_to(level)
            with open_image(path, channel=1, level=level) as opened:
                assert source.info == opened.info
                assert source.cache_bytes == opened.cache_bytes
                np.testing.assert_array_equal(source.read(0, region), opened.read(0, region))
        with pytest.raises(ImageError, match="has no level 2; it has 2, counted from 0, the finest"):
            source.turn_to(2)


def test_an_image_without_a_pyramid_has_one_level():
    source = ArraySource(FULL[0])
    source.turn_to(0)
    with pytest.raises(ImageError, match="has no level 1; it has 1"):
        source.turn_to(1)
