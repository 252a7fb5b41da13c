"""The door to images: what may be opened, and what fits a model."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest

from unet_deploy.errors import ImageError
from unet_deploy.images import (
    ImageInfo,
    check_channel,
    check_fits,
    check_level,
    is_url,
    is_zarr,
    nearest_level,
    open_image,
    url_of,
)
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.model.card import ModelCard


def info(channels=1, **known):
    return ImageInfo("scan.tif", 1, channels, 100, 100, np.dtype(np.uint8), **known)


def card(channels):
    return ModelCard("mine", channels, ("background", "cell"), 92, 16, 188)


def test_an_image_of_as_many_channels_as_the_model_takes_fits():
    check_fits(info(3), card(3))


@pytest.mark.parametrize(
    ("channels", "taken", "says"),
    [
        (3, 1, "scan.tif: 3 channels, but model 'mine' takes 1; choose one with --channel"),
        (1, 3, "scan.tif: 1 channel, but model 'mine' takes 3; choose another model with --model"),
    ],
)
def test_an_image_of_other_channels_is_refused_with_the_remedy(channels, taken, says):
    with pytest.raises(ImageError, match=f"^{says}$"):
        check_fits(info(channels), card(taken))
    with pytest.raises(ImageError, match=r"; save as many$"):
        check_fits(info(channels), card(taken), remedy="save as many")


def test_channels_and_levels_that_are_not_there_are_refused():
    check_channel(None, 3, "scan.tif")
    check_channel(2, 3, "scan.tif")
    check_level(1, 2, "scan.tif")
    with pytest.raises(ImageError, match="has no channel 3; it has 3, counted from 0"):
        check_channel(3, 3, "scan.tif")
    with pytest.raises(ImageError, match="has no level 2; it has 2"):
        check_level(2, 2, "scan.tif")


def test_the_level_nearest_in_pixel_size_is_taken():
    pyramid = info(sizes=PixelSizes(0.25, 0.25), levels=((4096, 4096), (2048, 2048), (1024, 1024)))
    assert [nearest_level(pyramid, size) for size in (0.1, 0.25, 0.4, 0.6, 5.0)] == [0, 0, 1, 1, 2]
    assert nearest_level(info(), None) == 0
    with pytest.raises(ImageError, match="the pixel size of the model is not known; give --level 0 to 2"):
        nearest_level(pyramid, None)


def test_urls_and_what_lies_in_a_zarr_folder_are_zarr():
    assert is_zarr(Path("https://host/image"))
    assert is_zarr(Path("plate.zarr/A/1/0"))
    assert not is_zarr(Path("scan.tif"))
    assert url_of(Path("https://host/image")) == "https://host/image"


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.zarr", "a.xyz"])
def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path, name):
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no pipes with names")
    os.mkfifo(tmp_path / name)
    (tmp_path / f"link.{name}").symlink_to(tmp_path / name)
    for each in (tmp_path / name, tmp_path / f"link.{name}"):
        with pytest.raises(ImageError, match=rf"{each.name}: is a pipe, socket or device; save the image as a file"):
            open_image(each)


def test_a_device_is_refused(tmp_path):
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match=r"endless\.png: is a pipe, socket or device"):
        open_image(tmp_path / "endless.png")


@pytest.mark.parametrize("kind", [PurePosixPath, PureWindowsPath])
def test_a_url_is_told_from_a_drive_however_a_system_spells_paths(kind):
    assert is_url(kind("https://host/a.zarr"))
    assert url_of(kind("https://host/a.zarr")) == "https://host/a.zarr"
    assert not is_url(kind("C:/slides/a.zarr"))
    assert not is_url(kind("C:\\slides\\a.zarr"))
