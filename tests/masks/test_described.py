"""What an image says of sizes, slices and times, its mask says in every format, to other readers as well."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from unet_deploy.images import ImageInfo, open_image
from unet_deploy.images.sizes import LevelPlace, PageAxis, PixelSizes
from unet_deploy.masks import MaskForm, open_mask

SIZES = PixelSizes(0.5, 0.25, 2.0, 90.0)
UINT8 = np.dtype(np.uint8)


def stack_of(*axes, sizes=SIZES, place=None):
    pages = tuple(PageAxis(name, size) for name, size in axes)
    tall = int(np.prod([size for _, size in axes]))
    return ImageInfo("image.tif", tall, 1, 30, 40, UINT8, sizes, pages, place or LevelPlace(), tags=sizes.resolution)


def written(path, image, planes=1, classes=(), layout="auto"):
    """A mask whose planes hold their own numbers."""
    dtype = np.dtype(np.float32) if planes > 1 else UINT8
    with open_mask(path, MaskForm(image, planes, dtype, classes=classes, layout=layout)) as sink:
        for page in range(image.pages):
            first = page * planes
            numbers = np.arange(first, first + planes, dtype=dtype)[:, None, None]
            sink.write(page, image.region, np.broadcast_to(numbers, (planes, *image.region.sides)))
        sink.commit()
    return path


@pytest.mark.parametrize("name", ["mask.tif", "mask.ome.tif", "mask.zarr"])
@pytest.mark.parametrize("axes", [(), (("z", 3),), (("t", 2),), (("t", 2), ("z", 3))])
@pytest.mark.parametrize("planes", [1, 2])
def test_sizes_come_back_as_they_were(tmp_path, name, axes, planes):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    with open_image(written(tmp_path / name, stack_of(*axes), planes)) as source:
        seen = source.info
        named = {axis for axis, _ in axes}
        assert seen.sizes == PixelSizes(0.5, 0.25, 2.0 if "z" in named else None, 90.0 if "t" in named else None)
        assert [(axis.name, axis.size) for axis in seen.page_axes] == list(axes)
        # ImageJ and tifffile take a row of two planes without words for pages.
        if axes or planes == 1 or name != "mask.tif":
            assert (seen.pages, seen.channels) == (stack_of(*axes).pages, planes)
            last = source.crop(seen.pages - 1, seen.region)
            assert last[-1].min() == last[-1].max() == seen.pages * planes - 1


def test_tifffile_finds_time_slices_and_classes(tmp_path):
    image = stack_of(("t", 2), ("z", 3))
    for name in ("mask.tif", "mask.ome.tif"):
        with tifffile.TiffFile(written(tmp_path / name, image, 2, ("background", "cell"))) as file:
            assert (file.series[0].axes, file.series[0].shape) == ("TZCYX", (2, 3, 2, 30, 40))
            if file.is_ome:
                for word in ('PhysicalSizeZ="2.0"', 'TimeIncrement="90.0"', 'Name="cell"', 'SizeT="2" '):
                    assert word in file.ome_metadata
            else:
                described = file.imagej_metadata
                assert (described["unit"], described["spacing"], described["finterval"]) == ("cm", 2e-4, 90.0)


@pytest.mark.parametrize("layout", ["strips", "tiles"])
@pytest.mark.parametrize("axes", [(), (("z", 3),), (("t", 2),), (("t", 2), ("z", 3))])
@pytest.mark.parametrize(("planes", "classes"), [(1, ()), (2, ("background", "Zellkern <1 µm & Rand"))])
def test_ome_metadata_follow_the_schema(tmp_path, axes, planes, classes, layout):
    ome_types = pytest.importorskip("ome_types")
    pytest.importorskip("xmlschema")
    path = written(tmp_path / "mask.ome.tif", stack_of(*axes), planes, classes, layout)
    pixels = ome_types.from_tiff(path, validate=True).images[0].pixels
    counted = dict(axes)
    assert (pixels.size_t, pixels.size_z, pixels.size_c) == (counted.get("t", 1), counted.get("z", 1), planes)
    assert (pixels.physical_size_y, pixels.physical_size_x) == (0.5, 0.25)
    assert (pixels.physical_size_z, pixels.time_increment) == (
        2.0 if "z" in counted else None,
        90.0 if "t" in counted else None,
    )
    assert [channel.name for channel in pixels.channels if channel.name] == list(classes)


EARTH = [(33550, "d", 3, (0.5, 0.5, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 6e6, 0.0), True)]
NAMES = ("background", "Zellkern <1 µm & Rand")


@pytest.mark.parametrize("layout", ["strips", "tiles"])
@pytest.mark.parametrize("axes", [(), (("z", 3),)])
def test_classes_of_an_image_on_earth_are_bands_with_names(tmp_path, monkeypatch, layout, axes):
    monkeypatch.setattr("unet_deploy.masks.blocks.SMALLEST_LEVEL", 20)
    image = replace(stack_of(*axes, sizes=PixelSizes()), tags={"extratags": EARTH})
    with tifffile.TiffFile(written(tmp_path / "mask.tif", image, 2, NAMES, layout)) as file:
        assert len(file.pages) == image.pages
        assert len(file.series[0].levels) == (1 if layout == "strips" else 2)
        assert (file.pages[0].samplesperpixel, file.pages[0].planarconfig, file.pages[0].photometric) == (2, 2, 1)
        named = ElementTree.fromstring(file.pages[0].tags[42112].value)
        assert [(each.get("sample"), each.get("role"), each.text) for each in named] == [
            (str(band), "description", name) for band, name in enumerate(NAMES)
        ]
    with open_image(tmp_path / "mask.tif") as source:
        assert (source.info.pages, source.info.channels) == (image.pages, 2)
        last = source.crop(image.pages - 1, source.info.region)
        assert last[:, 0, 0].tolist() == last[:, -1, -1].tolist() == [2 * image.pages - 2, 2 * image.pages - 1]
    with tifffile.TiffFile(written(tmp_path / "mask.ome.tif", image, 2, NAMES, layout)) as file:
        assert len(file.pages) == 2 * image.pages


@pytest.mark.parametrize("axes", [(), (("z", 3),)])
def test_a_mask_without_distances_says_nothing_in_the_words_of_imagej(tmp_path, axes):
    flat = PixelSizes(0.25, 0.25)
    with tifffile.TiffFile(written(tmp_path / "mask.tif", stack_of(*axes, sizes=flat))) as file:
        assert 270 not in file.pages[0].tags
        assert file.pages[0].resolution == (4e4, 4e4)


def test_a_printer_s_resolution_does_not_become_a_size_in_the_words_of_imagej(tmp_path):
    image = replace(stack_of(("z", 3), sizes=PixelSizes(z_um=2.0)), tags={"resolution": (72, 72), "resolutionunit": 2})
    with open_image(written(tmp_path / "mask.tif", image)) as source:
        assert source.info.sizes == PixelSizes()


@pytest.mark.parametrize("size", [0.5, None])
def test_an_ome_zarr_mask_of_a_level_lies_over_the_finest(tmp_path, size):
    pytest.importorskip("zarr")
    from unet_deploy.images.zarr_image import ZarrSource

    sizes = PixelSizes(size and 2 * size, size and 2 * size)
    image = stack_of(sizes=sizes, place=LevelPlace(1, 2.0, 2.0))
    with ZarrSource(written(tmp_path / "mask.zarr", image)) as source:
        fine = size or 1.0
        assert [(axis.scale, axis.offset) for axis in source.axes] == [(2 * fine, fine / 2)] * 2
