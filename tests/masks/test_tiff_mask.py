"""TIFF masks: what holds for every sink, and their tags, levels and spool."""

import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_conformance import NOTHING, NewFileSinkConformance, regions

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.masks import Keep, MaskForm, format_of
from unet_deploy.masks.tiff import BLOCK, TiffMaskSink
from unet_deploy.system.colours import class_colour
from unet_deploy.tiling import Region


class TestTiffSink(NewFileSinkConformance):
    def name(self, folder, asked):
        self.shape = asked.image.pages, asked.planes
        return folder / "mask.tif"

    def levels(self, path):
        with tifffile.TiffFile(path) as file:
            levels = [level.asarray() for level in file.series[0].levels]
        return [level.reshape(*self.shape, *level.shape[-2:]) for level in levels]


class TestTiledTiffSink(TestTiffSink):
    def open(self, path, asked, keep=NOTHING):
        return super().open(path, replace(asked, layout="tiles"), keep)


def sink(path, pages=1, planes=1, height=600, width=700, dtype=np.uint8, tags=None, layout="auto", **keep):
    image = ImageInfo("image.tif", pages, 1, height, width, np.dtype(np.uint8), tags=tags or {})
    return TiffMaskSink(path, MaskForm(image, planes, np.dtype(dtype), layout=layout), Keep(**keep))


def filled(path, truth, **form):
    """A mask of the pixels (pages, planes, height, width)."""
    with sink(path, *truth.shape, dtype=truth.dtype, **form) as mask:
        for page, planes in enumerate(truth):
            mask.write(page, Region(0, 0, *truth.shape[2:]), planes)
        mask.commit()
    return path


def test_a_mask_is_in_strips_up_to_a_size_and_in_tiles_beyond(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_deploy.masks.tiff.LARGEST_IN_STRIPS", 600 * 700)
    small, large = np.ones((1, 1, 600, 700), np.uint8), np.ones((2, 1, 600, 700), np.uint8)
    for layout, truth, tiled in (
        ("auto", small, False),
        ("auto", large, True),
        ("strips", large, False),
        ("tiles", small, True),
    ):
        with tifffile.TiffFile(filled(tmp_path / f"{layout}{tiled}.tif", truth, layout=layout)) as file:
            assert (file.is_bigtiff, file.pages[0].is_tiled) == (tiled, tiled)


def test_strips_of_over_4_gb_are_refused_before_a_pixel(tmp_path):
    with pytest.raises(UsageError, match="take --layout tiles"):
        sink(tmp_path / "mask.tif", 1, 1, 40_000, 30_000, np.float32, layout="strips")
    with sink(tmp_path / "mask.tif", 3, 1, 40_000, 40_000) as mask:
        assert not mask._in_strips


@settings(max_examples=25)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 2), st.integers(1, 3), st.sampled_from("BHIf"))
def test_strips_hold_the_pixels_whatever_the_size(tmp_path_factory, height, width, pages, planes, dtype):
    truth = np.random.default_rng(1).integers(0, 200, (pages, planes, height, width)).astype(dtype)
    path = filled(tmp_path_factory.mktemp("strips") / "mask.tif", truth)
    np.testing.assert_array_equal(tifffile.imread(path).reshape(truth.shape), truth)


def test_labels_have_colours_beside_their_numbers(tmp_path):
    ones = np.ones((1, 1, 9, 9), np.uint8)
    for layout in ("strips", "tiles"):
        with tifffile.TiffFile(filled(tmp_path / f"{layout}.tif", ones, layout=layout)) as file:
            page = file.pages[0]
            assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
            assert tuple(np.reshape(page.tags[320].value, (3, 256))[:, 1] // 257) == class_colour(1)
    with tifffile.TiffFile(filled(tmp_path / "ids.tif", ones.astype(np.uint32))) as file:
        assert 320 not in file.pages[0].tags


def test_tiles_are_a_compressed_bigtiff_that_keeps_its_scale(tmp_path):
    path = tmp_path / "mask.tif"
    tags = {"resolution": (20_000.0, 20_000.0), "resolutionunit": 3, "extratags": [(274, 3, 1, 3, True)]}
    with sink(path, tags=tags, layout="tiles") as mask:
        for region in regions(600, 700, 256, 256):
            mask.write(0, region, np.zeros((1, region.height, region.width), np.uint8))
        mask.commit()
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert file.is_bigtiff
        assert page.tile == (256, 256)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.resolution == (20_000, 20_000)
        assert page.resolutionunit == 3
        assert page.tags[274].value == 3


@settings(max_examples=25)
@given(st.integers(1, 1400), st.integers(1, 1400), st.integers(100, 600), st.integers(0, 60), st.integers(0, 40))
def test_a_run_that_is_broken_off_anywhere_ends_in_the_same_bytes(tmp_path_factory, height, width, side, kept, lost):
    folder = tmp_path_factory.mktemp("resume")
    truth = np.random.default_rng(2).integers(0, 3, (1, height, width)).astype(np.uint8)
    jobs = regions(height, width, side, side)

    def write(mask, todo):
        for region in todo:
            mask.write(0, region, truth[(slice(None), *region.slices)])

    with sink(folder / "once.tif", 1, 1, height, width) as mask:
        write(mask, jobs)
        mask.commit()
    path = folder / "mask.tif"
    with sink(path, 1, 1, height, width, key={"a": 1}) as mask:
        write(mask, jobs[:kept])
    spool = folder / ".mask.tif.spool"
    if spool.exists():
        os.truncate(spool, max(0, spool.stat().st_size - lost))  # the end of what was written did not reach the disk
    with sink(path, 1, 1, height, width, key={"a": 1}, resume=True) as mask:
        todo = [region for region in jobs if not mask.has(0, region)]
        for region in set(jobs) - set(todo):
            np.testing.assert_array_equal(mask.read(0, region), truth[(slice(None), *region.slices)])
        write(mask, todo)
        mask.commit()
    assert path.read_bytes() == (folder / "once.tif").read_bytes()
    assert sorted(os.listdir(folder)) == ["mask.tif", "once.tif"]
    np.testing.assert_array_equal(tifffile.imread(path).reshape(truth.shape), truth)


def test_a_pyramid_of_every_second_pixel(tmp_path):
    truth = np.random.default_rng(3).integers(0, 3, (2, 1, 2500, 1300)).astype(np.uint8)
    for name in ("mask.tif", "mask.ome.tif"):
        image = ImageInfo("image.tif", 2, 1, 2500, 1300, np.dtype(np.uint8), PixelSizes(0.25, 0.25))
        with TiffMaskSink(tmp_path / name, MaskForm(image, layout="tiles"), Keep()) as mask:
            for page in (0, 1):
                mask.write(page, Region(0, 0, 2500, 1300), truth[page])
            mask.commit()
        with tifffile.TiffFile(tmp_path / name) as file:
            levels = file.series[0].levels
            assert [level.shape[-2:] for level in levels] == [(2500, 1300), (1250, 650), (625, 325)]
            for at, level in enumerate(levels):
                np.testing.assert_array_equal(level.asarray(), truth[:, 0, :: 2**at, :: 2**at])
            assert file.is_ome == (name == "mask.ome.tif")
            if file.is_ome:
                assert 'PhysicalSizeX="0.25"' in file.ome_metadata


def test_a_file_that_is_no_mask_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        sink(path)
    with sink(path, height=10, width=10, overwrite=True) as mask:
        mask.write(0, Region(0, 0, 10, 10), np.ones((1, 10, 10), np.uint8))
        assert path.read_bytes() == b"mine"
        mask.commit()
    assert tifffile.imread(path).all()


def test_blocks_that_wait_hold_no_more_than_is_said(tmp_path):
    most, form = 0, MaskForm(ImageInfo("image.tif", 1, 1, 700, 3000, np.dtype("u1")), 2, np.dtype(np.float32))
    with TiffMaskSink(tmp_path / "mask.tif", form, Keep()) as mask:
        for region in regions(700, 3000, 300, 900):
            mask.write(0, region, np.ones((2, region.height, region.width), np.float32))
            most = max(most, mask._partial.nbytes)
    assert BLOCK**2 * 8 < most <= format_of(tmp_path / "mask.tif").waiting_bytes(form)
