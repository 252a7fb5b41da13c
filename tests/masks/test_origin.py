"""A mask says which image it is of, and finds it again where both have moved; another image is not taken for it."""

import json

import numpy as np
import pytest
import tifffile

from unet_deploy.errors import UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.likeness import likeness
from unet_deploy.images.reading import Reading
from unet_deploy.masks import MaskForm, format_of, open_mask
from unet_deploy.masks.origin import Origin

GREY = np.random.default_rng(0).integers(0, 60_000, (90, 130), dtype=np.uint16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "there" / "masks").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "there" / "image.tif", GREY)
    return tmp_path / "there"


def mask_of(image, mask):
    """A mask of zeros that says what it is of."""
    with Reading().open(image) as source:
        form = MaskForm(
            source.info, classes=("background", "cell"), origin=Origin(image, Reading(), 0, likeness(source))
        )
        with open_mask(mask, form) as sink:
            sink.write(0, source.info.region, np.zeros((1, 90, 130), np.uint8))
            sink.commit()
    return mask


@pytest.mark.parametrize("name", ["mask.tif", "mask.ome.tif", "mask.zarr"])
def test_a_mask_finds_its_image_where_both_have_moved(folder, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    mask_of(folder / "image.tif", folder / "masks" / name)
    moved = folder.rename(folder.with_name("elsewhere"))
    mask = moved / "masks" / name
    origin = format_of(mask).origin(mask)
    origin.check(mask)
    assert (origin.image, origin.classes) == (moved / "image.tif", ("background", "cell"))


def test_a_copy_of_an_image_is_that_image_and_another_is_not(folder):
    mask = mask_of(folder / "image.tif", folder / "mask.tif")
    origin = format_of(mask).origin(mask)
    (folder / "copy.tif").write_bytes((folder / "image.tif").read_bytes())
    (folder / "copy.tif").replace(folder / "image.tif")
    origin.check(mask)
    tifffile.imwrite(folder / "image.tif", GREY[::-1])
    with pytest.raises(UsageError, match=r"mask\.tif: .*image\.tif is not the image any more that it was made of"):
        origin.check(mask)
    (folder / "image.tif").unlink()
    with pytest.raises(UsageError, match=r"its image is not at .*image\.tif any more; say where it is: --image FILE"):
        origin.check(mask)


def test_secrets_of_an_address_are_not_recorded(tmp_path):
    from pathlib import Path

    image = Path("https://ann:secret@host/a.zarr?sig=0a1b")
    record = Origin(image, Reading(), 0, "").beside(tmp_path / "mask.tif")
    assert "secret" not in json.dumps(record)
    assert "0a1b" not in json.dumps(record)


INFINITE = '{"unet-deploy": {"image": "a", "channel": null, "palette": "auto", "level": Infinity, "pixels": ""}}'


@pytest.mark.parametrize(
    "said",
    [None, "", "[]", "{}", '{"unet-deploy": 1}', '{"unet-deploy": {"image": 1}}', "\udcff", "[" * 100_000, INFINITE],
)
def test_what_others_wrote_there_is_no_origin(tmp_path, said):
    tags = [] if said is None else [(269, "s", 0, said.encode("utf-8", "replace"), True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=tags)
    assert format_of(tmp_path / "a.tif").origin(tmp_path / "a.tif") is None


@pytest.mark.parametrize("content", [b"", b"II*\0\xff\xff\xff\xff", b"text"])
def test_what_is_no_mask_has_no_origin(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    assert format_of(tmp_path / "a.tif").origin(tmp_path / "a.tif") is None


def test_likeness_does_not_know_how_an_image_is_stored():
    assert likeness(ArraySource(GREY)) == likeness(ArraySource(GREY.astype(">u2")))
    assert likeness(ArraySource(GREY)) != likeness(ArraySource(GREY.T))
