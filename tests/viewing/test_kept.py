"""An overview is made once: the next time it comes from the cache, unless the file has changed or the cache is bad."""

import numpy as np
import pytest
import tifffile

from unet_deploy.images import open_image
from unet_deploy.system.cache import cache_folder
from unet_deploy.viewing import kept, overview
from unet_deploy.viewing import layer as layers
from unet_deploy.viewing.layer import GreyLayer

GREY = np.random.default_rng(1).integers(0, 60_000, (600, 700), dtype=np.uint16)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch, tmp_path):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(layers, "SMALL", 10_000)
    monkeypatch.setattr(layers, "MOST_READ", 300_000)
    monkeypatch.setattr(overview, "MOST", 30_000)
    monkeypatch.setattr(overview, "_BAND", 20_000)


@pytest.fixture
def made(monkeypatch):
    """How often a block of an overview was made."""
    counted, add = [], overview.Overview._add

    def counting(self, *more):
        counted.append(1)
        add(self, *more)

    monkeypatch.setattr(overview.Overview, "_add", counting)
    return counted


def whole(path, kept_as="grey"):
    """The picture of the coarsest zoom, from an overview."""
    with GreyLayer(lambda: open_image(path), kept_as) as layer:
        place = layer.zooms.tile(2, 0, 0)
        layer.tile(0, place)
        layer.overview.wait()
        return layer.tile(0, place).values


def test_it_is_made_once_for_a_file(tmp_path, made):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    first, count = whole(tmp_path / "a.tif"), len(made)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), first)
    assert len(made) == count


def test_it_is_made_anew_where_the_file_changes_or_is_read_otherwise(tmp_path, made):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    whole(tmp_path / "a.tif")
    count = len(made)
    whole(tmp_path / "a.tif", kept_as="otherwise")
    assert len(made) == 2 * count
    tifffile.imwrite(tmp_path / "a.tif", GREY // 2)
    assert whole(tmp_path / "a.tif").max() < 30_000
    assert len(made) == 3 * count


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no overview"])
def test_a_damaged_one_is_made_anew(tmp_path, content):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    first = whole(tmp_path / "a.tif")
    (path,) = (cache_folder() / "overviews").glob("*.npz")
    path.write_bytes(content)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), first)


def test_a_cache_that_cannot_be_written_keeps_nothing_and_harms_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "file"))
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    assert whole(tmp_path / "a.tif").any()


def test_all_together_are_no_more_bytes_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 250_000)
    for number in range(5):
        tifffile.imwrite(tmp_path / f"{number}.tif", GREY + number)
        whole(tmp_path / f"{number}.tif")
    sizes = [path.stat().st_size for path in (cache_folder() / "overviews").glob("*.npz")]
    assert 0 < sum(sizes) <= 250_000


def test_what_is_not_to_be_kept_is_not(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    whole(tmp_path / "a.tif", kept_as="")
    assert not (cache_folder() / "overviews").exists()
