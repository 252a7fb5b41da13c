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
from unet_deploy.images.tiff_mask import TiffMaskSink
from unet_deploy.tiling import Region


def sink(path, pages=1, planes=1, height=600, width=700, dtype=np.uint8, tags=None, overwrite=False):
    return TiffMaskSink(
        path,
        pages=pages,
        planes=planes,
        height=height,
        width=width,
        dtype=np.dtype(dtype),
        tags=tags or {},
        overwrite=overwrite,
    )


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
    tags = {"resolution": (20_000.0, 20_000.0), "resolutionunit": 3, "orientation": 3}
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


def test_what_is_not_committed_leaves_nothing(tmp_path):
    with sink(tmp_path / "mask.tif") as mask:
        mask.write(0, Region(0, 0, 300, 300), np.ones((1, 300, 300), np.uint8))
    assert os.listdir(tmp_path) == []


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
from unet_deploy.images.tiff_mask import TiffMaskSink
from unet_deploy.tiling import Region
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = np.random.default_rng(0).integers(0, 255, (1, 1024, 1024), dtype=np.uint8)
try:
    size = dict(pages=1, planes=1, height=1024, width=1024)
    with TiffMaskSink(Path(sys.argv[1]), **size, dtype=np.dtype("u1"), tags={}) as m:
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
