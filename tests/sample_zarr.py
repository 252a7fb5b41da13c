"""OME-Zarr images as others write them: with zarr and plain dictionaries."""

import numpy as np
import zarr

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def write_image(store, pixels, axes, *, version="0.5", unit="micrometer", scale=0.5, chunks=None, levels=2, **options):
    """An OME-Zarr image with every second pixel on each further level; options go to its arrays. Returns `store`."""
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scale * 2**level if a in "yx" else 1.0 for a in axes]}
            ],
        }
        for level in range(levels)
    ]
    named = [{"name": a, "type": KINDS[a]} | ({"unit": unit} if a in "yx" and unit else {}) for a in axes]
    multiscales = [{"name": "image", "axes": named, "datasets": datasets}]
    zarr_format = 2 if version == "0.4" else 3
    ome = {"version": "0.5", "multiscales": multiscales}
    if zarr_format == 2:
        multiscales[0]["version"] = "0.4"
        options.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    attributes = {"ome": ome} if zarr_format == 3 else {"multiscales": multiscales}
    group = zarr.create_group(str(store), zarr_format=zarr_format, attributes=attributes, overwrite=True)
    for level in range(levels):
        step = tuple(slice(None, None, 2**level if a in "yx" else 1) for a in axes)
        array = group.create_array(
            str(level), shape=pixels[step].shape, dtype=pixels.dtype, chunks=chunks or (16,) * pixels.ndim, **options
        )
        array[...] = pixels[step]
    return store


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(3).integers(1, 200, shape).astype(dtype)
