"""What a mask cannot take over is known when the image is opened and left out, and the mask is written all the same."""

import numpy as np
import pytest
import tifffile

from unet_deploy.images import open_image
from unet_deploy.images.carried import writable
from unet_deploy.images.sizes import PixelSizes, usable_sizes
from unet_deploy.masks import MaskForm, open_mask

GREY = np.random.default_rng(0).integers(0, 255, (300, 280), dtype=np.uint8)


def mask_of(path, name="m.tif"):
    """The tags of a mask that is written of an image, and what is said of the image."""
    with open_image(path) as source:
        info = source.info
    mask = path.with_name(name)
    with open_mask(mask, MaskForm(info)) as sink:
        sink.write(0, info.region, np.zeros((1, info.height, info.width), np.uint8))
        sink.commit()
    with tifffile.TiffFile(mask) as file:
        return {tag.code: tag for tag in file.pages[0].tags}, info


@pytest.mark.parametrize("name", ["m.tif", "m.ome.tif"])
@pytest.mark.parametrize("size", ["NaN", "INF", "-INF", "-0.25", "1e-320", "1e308", "0", "1e-9"])
def test_a_pixel_size_that_is_none_is_left_out(tmp_path, size, name):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="280" SizeY="300" SizeC="1" SizeZ="1" '
        f'SizeT="1" PhysicalSizeX="{size}" PhysicalSizeY="0.25"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        "<TiffData/></Pixels></Image></OME>"
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, GREY, metadata=None, description=text)
    _, info = mask_of(path, name)
    assert info.pixel_size_um is None
    assert "is not used" in info.note


@pytest.mark.parametrize("content", [b"Gau\xdf-Kr\xfcger|", "Gauß-Krüger|".encode(), b"\xff\xfe\x01|"])
def test_texts_of_other_letters_go_over_byte_by_byte(tmp_path, content):
    path = tmp_path / "geo.tif"
    tifffile.imwrite(
        path, GREY, extratags=[(34735, "H", 4, (1, 1, 0, 0), True), (34737, "s", 0, content, True)], metadata=None
    )
    tags, info = mask_of(path)
    assert not info.note
    stored = (tmp_path / "m.tif").read_bytes()
    assert stored[tags[34737].valueoffset :][: len(content)] == content
    assert tuple(tags[34735].value) == (1, 1, 0, 0)


def test_of_several_tags_only_what_cannot_be_written_is_left_out():
    good, bad = (274, "H", 1, 1, True), (34737, "s", 0, "ß", True)
    tags = {"resolution": (float("inf"), 1.0), "resolutionunit": 3, "iccprofile": b"p", "extratags": [good, bad]}
    kept, lost = writable(tags)
    assert kept == {"iccprofile": b"p", "extratags": [good]}
    assert lost == ["the resolution", "its place on Earth (tag 34737)"]


@pytest.mark.parametrize("rational", [(1, 0), (0, 1), (0, 0), (4294967295, 1), (1, 4294967295)])
@pytest.mark.parametrize("unit", [1, 2, 3, 9])
def test_any_resolution_that_is_stored_gives_a_mask(tmp_path, rational, unit):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, resolution=(7, 7), resolutionunit=3, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        at = [tags[code].valueoffset for code in (282, 283)], tags[296].valueoffset
    content = bytearray(path.read_bytes())
    for offset in at[0]:
        content[offset : offset + 8] = b"".join(number.to_bytes(4, "little") for number in rational)
    content[at[1] : at[1] + 2] = unit.to_bytes(2, "little")
    path.write_bytes(content)
    mask_of(path)


def test_sizes_have_bounds():
    sides = (None, 0.25, 0.0, float("nan"), float("inf"))
    found = [usable_sizes(PixelSizes(each, each), ())[0].side_um for each in sides]
    assert found == [None, 0.25, None, None, None]
