"""What a tile shows of a file is what the file holds there, whatever its pyramid, its orientation and its size."""

from contextlib import suppress

import numpy as np
import pytest
import tifffile
from sample_zarr import write_image

from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images import open_image, open_labels
from unet_deploy.images.orientation import upright
from unet_deploy.viewing import layer as layers
from unet_deploy.viewing import overview
from unet_deploy.viewing.layer import GreyLayer, LabelLayer

GREY = np.random.default_rng(1).integers(0, 60_000, (700, 610), dtype=np.uint16)
LABELS = np.random.default_rng(2).integers(0, 5, (700, 610), dtype=np.uint8)


def grey_layer(path):
    return GreyLayer(lambda: open_image(path))


def label_layer(path):
    return LabelLayer(lambda: open_labels(path))


def whole(layer, zoom, page=0, rim=0):
    """All tiles of a zoom, put together; without the rims of labels."""
    rows, columns = layer.zooms.tiles(zoom)
    tiles = [
        [layer.tile(page, layer.zooms.tile(zoom, column, row)).values for column in range(columns)]
        for row in range(rows)
    ]
    inside = np.s_[:, rim:-rim, rim:-rim] if rim else np.s_[:]
    return np.concatenate([np.concatenate([tile[inside] for tile in row], axis=2) for row in tiles], axis=1)


def means(image, step):
    """The means of squares; where the image ends, of what is left of them."""
    rows, columns = (np.arange(0, side, step) for side in image.shape)
    return np.array([[image[y : y + step, x : x + step].mean() for x in columns] for y in rows])


@pytest.fixture
def small_limits(monkeypatch):
    """Limits that a small image reaches."""
    monkeypatch.setattr(layers, "SMALL", 10_000)
    monkeypatch.setattr(layers, "MOST_READ", 300_000)
    monkeypatch.setattr(overview, "MOST", 30_000)
    monkeypatch.setattr(overview, "_BAND", 20_000)


def test_one_to_one_the_tiles_are_the_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with grey_layer(tmp_path / "a.tif") as layer:
        np.testing.assert_array_equal(whole(layer, layer.zooms.last)[0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_otherwise_is_shown_upright(tmp_path, orientation):
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=tags)
    tifffile.imwrite(tmp_path / "m.tif", LABELS, extratags=tags)
    with grey_layer(tmp_path / "a.tif") as layer, label_layer(tmp_path / "m.tif") as mask:
        shown = upright(GREY, orientation)
        np.testing.assert_array_equal(whole(layer, layer.zooms.last)[0], shown)
        np.testing.assert_allclose(whole(layer, layer.zooms.last - 2)[0], means(shown, 4), rtol=1e-5)
        np.testing.assert_array_equal(
            whole(mask, mask.zooms.last - 1, rim=1)[0], upright(LABELS, orientation)[::2, ::2]
        )
        assert layer.value(0, 3, 5) == (shown[3, 5],)


def test_a_tile_is_read_from_the_coarsest_level_that_is_fine_enough(tmp_path):
    levels = [np.full((800 >> at, 800 >> at), 10 * at, np.uint8) for at in range(3)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(levels[0], tile=(64, 64), subifds=2)
        for level in levels[1:]:
            file.write(level, tile=(64, 64), subfiletype=1)
    with grey_layer(tmp_path / "a.ome.tif") as layer:
        read = [set(whole(layer, zoom).ravel().tolist()) for zoom in range(layer.zooms.last, -1, -1)]
    assert read[:3] == [{0}, {10}, {20}]
    assert all(each == {20} for each in read[3:])


def test_an_ome_zarr_and_its_pages_are_read_alike(tmp_path):
    pytest.importorskip("zarr")
    stack = np.stack([GREY, GREY[::-1]])
    write_image(tmp_path / "a.zarr", stack, "zyx", chunks=(1, 128, 128))
    with grey_layer(tmp_path / "a.zarr") as layer:
        np.testing.assert_array_equal(whole(layer, layer.zooms.last, page=1)[0], stack[1])
        np.testing.assert_array_equal(whole(layer, layer.zooms.last - 1, page=1)[0], stack[1, ::2, ::2])
        with pytest.raises(UsageError, match="there is no page 2; there are 2, counted from 0"):
            whole(layer, 0, page=2)


@pytest.mark.parametrize("back", range(11))
def test_labels_of_a_zoom_are_those_of_the_pyramids_of_masks(tmp_path, back):
    tifffile.imwrite(tmp_path / "m.tif", LABELS)
    with label_layer(tmp_path / "m.tif") as layer:
        step = 1 << back
        np.testing.assert_array_equal(whole(layer, layer.zooms.last - back, rim=1)[0], LABELS[::step, ::step])


def test_a_tile_of_labels_has_a_rim_of_its_neighbours_and_of_itself_where_the_image_ends(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", LABELS)
    with label_layer(tmp_path / "m.tif") as layer:
        tile = layer.tile(0, layer.zooms.tile(layer.zooms.last, 1, 0)).values[0]
    np.testing.assert_array_equal(tile, np.pad(LABELS, 1, mode="edge")[:258, 256:514])


def test_where_a_file_has_no_pyramid_an_overview_is_made_and_taken(tmp_path, small_limits):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    tifffile.imwrite(tmp_path / "m.tif", LABELS)
    with grey_layer(tmp_path / "a.tif") as layer, label_layer(tmp_path / "m.tif") as mask:
        for each in (layer, mask):
            each.tile(0, each.zooms.tile(0, 0, 0))
            each.overview.wait()
            assert each.overview.share == 1
        np.testing.assert_allclose(whole(layer, layer.zooms.last - 3)[0], means(GREY, 8), rtol=1e-5)
        np.testing.assert_allclose(whole(layer, layer.zooms.last - 4)[0], means(means(GREY, 4), 4), rtol=1e-5)
        np.testing.assert_array_equal(whole(mask, mask.zooms.last - 4, rim=1)[0], LABELS[::16, ::16])


def test_before_its_overview_is_made_a_tile_that_needs_it_shows_no_data(tmp_path, small_limits, monkeypatch):
    monkeypatch.setattr(overview.Overview, "begin", lambda *_: None)
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with grey_layer(tmp_path / "a.tif") as layer:
        assert not layer.tile(0, layer.zooms.tile(0, 0, 0)).there.any()
        np.testing.assert_array_equal(layer.tile(0, layer.zooms.tile(10, 0, 0)).values[0], GREY[:256, :256])


def test_another_page_gives_the_overview_of_the_page_before_up(tmp_path, small_limits):
    stack = np.stack([np.full((600, 600), page, np.uint8) for page in range(6)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with grey_layer(tmp_path / "a.tif") as layer:
        for page in range(6):
            layer.tile(page, layer.zooms.tile(0, 0, 0))
        layer.overview.wait()
        assert layer.overview.page == 5
        assert layer.tile(5, layer.zooms.tile(0, 0, 0)).values.ravel().tolist() == [5]


def test_what_ends_the_making_of_an_overview_is_the_error_of_its_tiles(tmp_path, small_limits):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[6]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    with grey_layer(path) as layer:
        with suppress(ImageError):  # the overview may have ended already
            layer.tile(0, layer.zooms.tile(0, 0, 0))
        layer.overview.wait()
        with pytest.raises(ImageError, match=r"a\.tif: page 0 cannot be decoded"):
            layer.tile(0, layer.zooms.tile(0, 0, 0))


def test_probabilities_are_no_labels(tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", GREY.astype(np.float32))
    with pytest.raises(UsageError, match="has 1 channels of float32 and no labels; give it as an image"):
        label_layer(tmp_path / "p.tif")
