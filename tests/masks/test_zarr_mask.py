"""OME-Zarr masks: what holds for every sink, their chunks, what other processes write, and what others leave."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")
from sample_zarr import noise, write_image  # noqa: E402
from sink_conformance import (  # noqa: E402
    JOBS,
    KEY,
    NOTHING,
    PAGES,
    TALL,
    TRUTH,
    WIDE,
    FileSinkConformance,
    NewFileSinkConformance,
    fill,
    form,
    regions,
)

from unet_deploy.errors import UsageError  # noqa: E402
from unet_deploy.images.zarr_image import ZarrSource  # noqa: E402
from unet_deploy.masks import Keep, chunks, format_of, part  # noqa: E402
from unet_deploy.masks.ome_zarr import CHUNK  # noqa: E402
from unet_deploy.masks.zarr import ZarrMaskSink  # noqa: E402
from unet_deploy.tiling import Region  # noqa: E402


class InZarr:
    """Masks of which a level is read as an image."""

    def levels(self, path):
        levels = []
        for level in range(len(list(path.glob("[0-9]")))):
            with ZarrSource(path, level=level) as source:
                whole = Region(0, 0, source.info.height, source.info.width)
                levels.append(np.stack([source.crop(page, whole) for page in range(source.info.pages)]))
        return levels


class TestZarrSink(InZarr, NewFileSinkConformance):
    def name(self, folder, asked):
        return folder / "mask.zarr"


class TestZarrSinkOfVersion04(TestZarrSink):
    def open(self, path, asked, keep=NOTHING):
        return ZarrMaskSink(path, asked, keep, version="0.4")


class TestLabelsOfAnImage(InZarr, FileSinkConformance):
    """A mask among the labels of its image, which is there before."""

    version = "0.5"
    kinds = ((1, np.uint8), (1, np.uint32))

    def name(self, folder, asked):
        info = asked.image
        pixels = np.zeros((info.pages, info.height, info.width), np.uint8)
        image = write_image(folder / "i.zarr", pixels, "zyx", version=self.version, chunks=(1, 999, 999), levels=1)
        return image / "labels" / "nuclei"


class TestLabelsOfAnImageOfVersion04(TestLabelsOfAnImage):
    version = "0.4"


def tree_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_chunks_outside_a_region_are_left_out(tmp_path):
    path, region = tmp_path / "m.zarr", Region(100, 50, 300, 1500)
    with ZarrMaskSink(path, form(height=1100, width=2200, region=region), NOTHING) as mask:
        mask.write(0, region, np.full((1, 300, 1500), 2, np.uint8))
        mask.commit()
    assert sorted(os.listdir(path / "0" / "c")) == ["0"]


@pytest.mark.parametrize(("module", "step", "after"), [(chunks, "shrink", 0), (part, "settle", 0)])
def test_a_commit_broken_off_is_finished_by_a_resume(tmp_path, monkeypatch, module, step, after):
    def interrupt(*_):
        raise KeyboardInterrupt

    asked = form(PAGES, TALL, WIDE)
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
    with ZarrMaskSink(tmp_path / "once" / "m.zarr", asked, NOTHING) as mask:
        fill(mask, TRUTH, JOBS)
        mask.commit()
    path = tmp_path / "twice" / "m.zarr"
    with ZarrMaskSink(path, asked, Keep(KEY)) as mask, monkeypatch.context() as patch:
        fill(mask, TRUTH, JOBS)
        patch.setattr(module, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            mask.commit()
    with ZarrMaskSink(path, asked, Keep(KEY, resume=True)) as mask:
        assert mask.resumed
        mask.commit()
    assert tree_of(path) == tree_of(tmp_path / "once" / "m.zarr")
    assert os.listdir(path.parent) == ["m.zarr"]


def test_another_version_is_not_gone_on_from_and_damaged_chunks_are_written_again(tmp_path):
    path, asked = tmp_path / "m.zarr", form(PAGES, TALL, WIDE)
    with ZarrMaskSink(path, asked, Keep(KEY)) as mask:
        fill(mask, TRUTH, JOBS)
        (mask.tree / "0" / "c" / "0" / "0.abc.partial").write_bytes(b"half")  # as a killed process leaves it
    with pytest.raises(UsageError, match="had another format of the mask"):
        ZarrMaskSink(path, asked, Keep(KEY, resume=True), version="0.4")
    damaged = tmp_path / ".m.zarr.part" / "tree" / "0" / "c" / "0" / "0" / "1"
    damaged.write_bytes(bytes(damaged.stat().st_size))  # as a power cut leaves it
    with ZarrMaskSink(path, asked, Keep(KEY, resume=True)) as mask:
        assert mask.has(0, Region(0, 0, CHUNK, CHUNK))
        assert not mask.has(0, Region(0, CHUNK, 1, 1))
        fill(mask, TRUTH, JOBS)
        mask.commit()
    np.testing.assert_array_equal(zarr.open_array(str(path / "0"), mode="r")[:], TRUTH[:, 0])
    assert not list(path.rglob("*.partial"))


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_zarr_mask import *
tree, column = Path(sys.argv[1]), int(sys.argv[2])
writer = format_of(Path("m.zarr")).writer(tree, Path("m.zarr"))
for page in range(2):
    parts = [Region(y, column, min(600, TALL - y), min(CHUNK, WIDE - column)) for y in range(0, TALL, 600)]
    fill(writer, SCORES, [(page, part) for part in parts])
"""
SCORES = np.concatenate([TRUTH, TRUTH / 2], axis=1).astype(np.float32)


def test_several_processes_write_different_chunks_of_one_mask_of_probabilities(tmp_path):
    path = tmp_path / "m.zarr"
    with ZarrMaskSink(path, form(PAGES, TALL, WIDE, planes=2, dtype=np.float32), NOTHING) as mask:
        where = [str(Path(__file__).parent), *sys.path]
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, str(mask.tree), str(column), *where])
            for column in (0, CHUNK)
        ]
        assert [worker.wait() for worker in workers] == [0, 0]
        assert all(mask.has(page, Region(0, 0, TALL, WIDE)) for page in range(PAGES))
        mask.commit()
    np.testing.assert_array_equal(TestZarrSink().levels(path)[0], SCORES)


def test_chunks_that_wait_hold_no_more_than_is_said(tmp_path):
    path, asked, most = tmp_path / "m.zarr", form(1, 2100, 3000), 0
    with ZarrMaskSink(path, asked, NOTHING) as mask:
        for region in regions(2100, 3000, 700, 900):
            mask.write(0, region, np.ones((1, region.height, region.width), np.uint8))
            most = max(most, mask._writer.waiting)
    assert CHUNK**2 < most <= format_of(path).waiting_bytes(asked)


def test_what_a_mask_is_called_by_its_image_is_found_where_it_is(tmp_path):
    image = write_image(tmp_path / "i.zarr", noise(40, 50), "yx")
    known, asked = format_of(image), form(height=40, width=50)
    assert not known.is_finished(image)
    with ZarrMaskSink(image, asked, Keep(KEY)) as mask:
        mask.write(0, Region(0, 0, 40, 50), np.ones((1, 40, 50), np.uint8))
    assert known.unfinished(image) == image / "labels" / ".segmentation.part"
    assert known.unfinished_key(image)["model"] == "abc"
    with ZarrMaskSink(image, asked, Keep(KEY, resume=True)) as mask:
        mask.commit()
    assert known.is_finished(image)


def test_an_image_without_masks_is_left_as_it_was(tmp_path):
    image = write_image(tmp_path / "i.zarr", noise(40, 50), "yx")
    before, asked = sorted(os.listdir(image)), form(height=40, width=50)
    with ZarrMaskSink(image, asked, Keep(KEY)) as mask, pytest.raises(UsageError, match="another run is writing it"):
        ZarrMaskSink(mask.path, asked, Keep(KEY))
    assert sorted(os.listdir(image)) == before
