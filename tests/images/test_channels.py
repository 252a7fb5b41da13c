"""Channels are called what the file calls them, where it says so of all."""

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy
from PIL import Image

from unet_deploy.errors import ImageError
from unet_deploy.images import open_image
from unet_deploy.images.channels import numbered_names, usable_names
from unet_deploy.images.tiff import TiffSource

PIXELS = np.random.default_rng(5).integers(0, 200, (2, 3, 120, 130), np.uint8)  # pages, channels
NAMES = ("DAPI", "GFP", "actin")


def names_of(path, **how):
    with open_image(path, **how) as source:
        return source.info.channel_names


def write_ome(path, names=NAMES):
    metadata = {"axes": "ZCYX", "Channel": {"Name": list(names)}}
    tifffile.imwrite(path, PIXELS, metadata=metadata, photometric="minisblack")
    return path


def write_imagej(path, labels):
    metadata = {"axes": "ZCYX", "Labels": labels}
    tifffile.imwrite(path, PIXELS, imagej=True, metadata=metadata)
    return path


def write_zarr(path, omero):
    zarr = pytest.importorskip("zarr")
    from sample_zarr import write_image

    write_image(path, PIXELS, "zcyx")
    group = zarr.open_group(str(path), mode="a")
    group.attrs.update({"ome": {**group.attrs["ome"], "omero": omero}})
    return path


def test_ome_names_its_channels(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif")
    assert names_of(path) == NAMES
    assert names_of(path, channel=1) == ("GFP",)


@pytest.mark.parametrize("prefix", ["", "c:{c}/3 z:{z}/2 - "])
def test_labels_of_imagej_name_channels_where_all_pages_agree(tmp_path, prefix):
    labels = [prefix.format(c=c + 1, z=z + 1) + name for z in range(2) for c, name in enumerate(NAMES)]
    assert names_of(write_imagej(tmp_path / "a.tif", labels)) == NAMES
    assert names_of(write_imagej(tmp_path / "b.tif", [*labels[:-1], "another"])) == ()
    assert names_of(write_imagej(tmp_path / "c.tif", [f"c:{c}/3 - cells.tif" for c in (1, 2, 3)] * 2)) == ()


def test_labels_of_ome_zarr_name_its_channels(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", {"channels": [{"label": name} for name in NAMES]})
    assert names_of(path) == NAMES
    assert names_of(path, channel=2) == ("actin",)


@pytest.mark.parametrize(
    "omero", [{}, [], "no", {"channels": 5}, {"channels": [{"label": "one"}]}, {"channels": [1, 2, 3]}]
)
def test_settings_of_viewers_that_say_nothing_do_no_harm(tmp_path, omero):
    assert names_of(write_zarr(tmp_path / "a.zarr", omero)) == ()


def test_what_names_nothing_has_no_names(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "rgb.ome.tif", np.moveaxis(PIXELS[0], 0, -1), photometric="rgb")
    assert names_of(tmp_path / "a.tif") == names_of(tmp_path / "rgb.ome.tif") == ()
    with TiffSource(write_ome(tmp_path / "b.ome.tif", ("", "", ""))) as source:
        assert source.info.channel_names == ()


def test_names_are_short_and_on_one_line():
    assert usable_names(["a\n b", "x" * 99, 7], 3) == ("a b", "x" * 40, "")
    assert numbered_names([f"c{number}" for number in range(40)]).endswith("15 c15, ...")


@pytest.mark.parametrize("write", [write_ome, write_zarr], ids=["TIFF", "Zarr"])
def test_a_channel_is_chosen_by_its_name(tmp_path, write):
    path = tmp_path / ("a.zarr" if write is write_zarr else "a.ome.tif")
    write(path, {"channels": [{"label": name} for name in NAMES]} if write is write_zarr else NAMES)
    with open_image(path, channel="gfp") as source:
        assert source.info.channel_names == ("GFP",)
        np.testing.assert_array_equal(source.crop(1, source.info.region)[0], PIXELS[1, 1])
        source.turn_to(0)
        assert source.info.channels == 1
    with pytest.raises(
        ImageError, match="has no channel 'RFP'; it has 0 DAPI, 1 GFP, 2 actin; choose one by its number"
    ):
        open_image(path, channel="RFP")


def test_a_name_that_is_none_or_not_the_only_one_is_refused(tmp_path):
    with pytest.raises(ImageError, match="2 channels are called 'dapi'; it has 0 DAPI, 1 DAPI, 2 actin; choose one by"):
        open_image(write_ome(tmp_path / "a.ome.tif", ("DAPI", "DAPI", "actin")), channel="dapi")
    for name in ("b.tif", "b.png"):
        Image.fromarray(PIXELS[0, 0]).save(tmp_path / name)
        with pytest.raises(ImageError, match=rf"{name}: has no channel 'DAPI'; its channels have no names; choose"):
            open_image(tmp_path / name, channel="DAPI")


def test_the_command_line_takes_a_name(tmp_path, nuclei):
    path = write_ome(tmp_path / "a.ome.tif")
    for channel, mask in (("Gfp", "by-name.tif"), (1, "by-number.tif")):
        unet_deploy("segment", path, "-o", tmp_path / mask, "--channel", channel, "-m", nuclei)
    np.testing.assert_array_equal(*(tifffile.imread(tmp_path / f"by-{how}.tif") for how in ("name", "number")))
    assert "has no channel 'RFP'" in error("segment", path, "-o", tmp_path / "m.tif", "--channel", "RFP", code=3)


def test_info_and_the_error_say_names_with_numbers(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif")
    shown, _ = unet_deploy("info", path)
    assert "channels        0 DAPI, 1 GFP, 2 actin\n" in shown
    assert "channels        1 (GFP)\n" in unet_deploy("info", path, "--channel", 1)[0]
    said = error("segment", path, "-o", tmp_path / "m.tif", code=3)
    assert "3 channels, but model 'nuclei' takes 1; choose one with --channel: 0 DAPI, 1 GFP, 2 actin" in said
