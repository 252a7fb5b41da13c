"""Masks: whole or not there, the same in whatever order they are written."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.masks import Keep, MaskForm
from unet_deploy.masks.tiff import TiffMaskSink
from unet_deploy.tiling import Region


def sink(path, pages=1, planes=1, height=600, width=700, dtype=np.uint8, tags=None, region=None, **keep):
    image = ImageInfo("image.tif", pages, 1, height, width, np.dtype(np.uint8), tags=tags or {})
    return TiffMaskSink(path, MaskForm(image, planes, np.dtype(dtype), region), Keep(**keep))


def regions(height, width, tall, wide):
    return [
        Region(y, x, min(tall, height - y), min(wide, width - x))
        for y in range(0, height, tall)
        for x in range(0, width, wide)
    ]


@settings(max_examples=25)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(16, 500),
    st.integers(16, 500),
    st.integers(1, 2),
    st.sampled_from([(1, np.uint8), (2, np.float32), (1, np.uint32)]),
    st.randoms(use_true_random=False),
)
def test_any_order_of_any_regions_gives_the_same_pixels(
    tmp_path_factory, height, width, tall, wide, pages, kind, random
):
    planes, dtype = kind
    truth = np.random.default_rng(1).integers(0, 200, (pages, planes, height, width)).astype(dtype)
    path = tmp_path_factory.mktemp("order") / "mask.tif"
    jobs = [(page, region) for page in range(pages) for region in regions(height, width, tall, wide)]
    random.shuffle(jobs)
    with sink(path, pages, planes, height, width, dtype) as mask:
        for page, region in jobs:
            mask.write(page, region, truth[(page, slice(None), *region.slices)])
        assert not path.exists()
        mask.commit()
    np.testing.assert_array_equal(tifffile.imread(path).reshape(truth.shape), truth)
    assert os.listdir(path.parent) == ["mask.tif"]


def test_it_is_a_tiled_compressed_bigtiff_that_keeps_its_scale(tmp_path):
    path = tmp_path / "mask.tif"
    tags = {"resolution": (20_000.0, 20_000.0), "resolutionunit": 3, "extratags": [(274, 3, 1, 3, True)]}
    with sink(path, tags=tags) as mask:
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


def test_what_is_not_committed_leaves_nothing_unless_it_can_be_resumed(tmp_path):
    for key, left in ((None, []), ({"image": 1}, [".mask.tif.spool"])):
        with sink(tmp_path / "mask.tif", key=key) as mask:
            mask.write(0, Region(0, 0, 300, 300), np.ones((1, 300, 300), np.uint8))
        assert os.listdir(tmp_path) == left
    with sink(tmp_path / "other.tif", key={}) as mask:
        mask.write(0, Region(0, 0, 100, 300), np.ones((1, 100, 300), np.uint8))  # no block is whole
    assert os.listdir(tmp_path) == [".mask.tif.spool"]


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


def test_an_unfinished_run_is_neither_mixed_nor_thrown_away(tmp_path):
    path = tmp_path / "mask.tif"
    ones = np.ones((1, 256, 256), np.uint8)

    def begin(**options):
        with sink(path, **options) as mask:
            mask.write(0, Region(0, 0, 256, 256), ones)
            return mask.resumed

    assert not begin(key={"image": 1, "model": "a"})
    with pytest.raises(UsageError, match="go on with --resume, or start anew with --overwrite"):
        begin(key={"image": 1, "model": "a"})
    with pytest.raises(UsageError, match="the unfinished run had another model"):
        begin(key={"image": 1, "model": "b"}, resume=True)
    assert begin(key={"image": 1, "model": "a"}, resume=True)
    assert not begin(key={"image": 1, "model": "a"}, overwrite=True)
    assert not begin(key={"image": 2, "model": "a"})  # of no use to anyone any more
    with sink(path, key={}, overwrite=True), pytest.raises(UsageError, match="another run is writing it"):
        begin(key={})


def test_a_pyramid_of_every_second_pixel(tmp_path):
    truth = np.random.default_rng(3).integers(0, 3, (2, 1, 2500, 1300)).astype(np.uint8)
    for name in ("mask.tif", "mask.ome.tif"):
        image = ImageInfo("image.tif", 2, 1, 2500, 1300, np.dtype(np.uint8), 0.25)
        with TiffMaskSink(tmp_path / name, MaskForm(image), Keep()) as mask:
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


def test_only_a_region_is_written_and_the_rest_is_nothing(tmp_path):
    path = tmp_path / "mask.tif"
    region = Region(300, 250, 200, 300)
    with sink(path, region=region) as mask:
        mask.write(0, region, np.full((1, 200, 300), 7, np.uint8))
        mask.commit()
    expected = np.zeros((600, 700), np.uint8)
    expected[region.slices] = 7
    np.testing.assert_array_equal(tifffile.imread(path), expected)


def test_a_mask_with_a_hole_is_never_committed(tmp_path):
    with sink(tmp_path / "mask.tif") as mask:
        mask.write(0, Region(0, 0, 300, 300), np.ones((1, 300, 300), np.uint8))
        with pytest.raises(RuntimeError, match="never written"):
            mask.commit()
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        sink(path)
    with sink(path, height=10, width=10, overwrite=True) as mask:
        mask.write(0, Region(0, 0, 10, 10), np.ones((1, 10, 10), np.uint8))
        assert path.read_bytes() == b"mine"
        mask.commit()
    assert tifffile.imread(path).all()


def test_a_folder_that_is_missing_or_closed_is_one_line(tmp_path):
    with pytest.raises(UnetDeployError, match="there is no folder"):
        sink(tmp_path / "no" / "mask.tif")
    with pytest.raises(UnetDeployError, match="cannot be written"):
        sink(type(tmp_path)("/proc/mask.tif"))


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from unet_deploy.errors import ResourceError
from unet_deploy.images import ImageInfo
from unet_deploy.masks import Keep, MaskForm
from unet_deploy.masks.tiff import TiffMaskSink
from unet_deploy.tiling import Region
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = np.random.default_rng(0).integers(0, 255, (1, 1024, 1024), dtype=np.uint8)
try:
    image = ImageInfo("image.tif", 1, 1, 1024, 1024, np.dtype("u1"))
    with TiffMaskSink(Path(sys.argv[1]), MaskForm(image), Keep()) as m:
        m.write(0, Region(0, 0, 1024, 1024), noise)
        m.commit()
except ResourceError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = tmp_path / "mask.tif"
    said = subprocess.check_output([sys.executable, "-c", FULL_DISK, str(path)], text=True)
    assert said == f"{path}: no space left on its disk; free some and run again\n"
    assert os.listdir(tmp_path) == []
    assert ResourceError.exit_code == 6
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
