"""The state of an image changes when what is read of it does, though size and time be those from before."""

import io
import os
import shutil
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from web_server import Quiet, serving

from unet_deploy.errors import ChangedError, ImageError
from unet_deploy.images import open_image, state
from unet_deploy.images.state import BLOCK, WHOLE, spread, state_of_files


def seen(path, **options):
    with open_image(path, **options) as source:
        return source.state()


def overwrite(path, offset, data):
    """Write bytes into a file, whose size and time stay what they were."""
    kept = os.stat(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert (kept.st_size, kept.st_mtime_ns) == (os.stat(path).st_size, os.stat(path).st_mtime_ns)


def noise(*shape):
    return np.random.default_rng(1).integers(1, 255, shape, np.uint8)


@given(st.lists(st.integers(0, 500), max_size=20))
def test_all_bytes_are_looked_at_where_they_are_few_and_blocks_from_end_to_end_where_not(sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "WHOLE", 640)
        patch.setattr(state, "BLOCK", 10)
        blocks = list(spread(sizes))
    starts = np.cumsum([0, *sizes])
    looked = np.zeros(sum(sizes), int)
    for number, offset, size in blocks:
        assert 0 <= offset < offset + size <= sizes[number]
        looked[starts[number] + offset : starts[number] + offset + size] += 1
    assert blocks == sorted(blocks)
    if sum(sizes) <= 640:
        assert (looked == 1).all()
    else:
        assert looked[0]
        assert looked[-1] or sizes[-1] == 0 or blocks[-1][0] < len(sizes) - 1
        assert looked.sum() <= 640


def encoded(kind, pixels):
    """A picture as a file's bytes, as many for one pixel as for another."""
    if kind == "png":
        return imagecodecs.png_encode(pixels, level=0)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_one_pixel_in_a_file_whose_size_and_time_were_kept(tmp_path, kind):
    path, pixels = tmp_path / f"image.{kind}", noise(200, 300)
    path.write_bytes(encoded(kind, pixels))
    before = seen(path)
    assert before == seen(path)
    pixels[100, 120] ^= 1
    overwrite(path, 0, encoded(kind, pixels))
    assert seen(path) != before


def test_another_time_is_another_state_and_so_is_a_file_that_is_gone(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, noise(50, 60))
    before = seen(path)
    os.utime(path, ns=(1, 1))
    assert seen(path) != before
    assert state_of_files([path, tmp_path / "gone"]) != state_of_files([path])


def test_of_a_large_tiff_the_ends_and_blocks_between_and_the_lengths_of_all_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "WHOLE", 16 * BLOCK)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, noise(2000, 2000), tile=(16, 16), compression="zlib", compressionargs={"level": 1})
    before, blocks = seen(path), [offset for _, offset, _ in spread([path.stat().st_size])]
    assert len(blocks) == 16
    places = [blocks[1], blocks[7] + BLOCK - 1, path.stat().st_size - 1]
    with tifffile.TiffFile(path) as file:
        counts = file.pages[0].tags["TileByteCounts"]
        places += [counts.valueoffset + at for at in (0, 12_000, 2 * counts.count - 2)]
    for place in places:
        stored = path.read_bytes()[place : place + 1]
        overwrite(path, place, bytes([stored[0] ^ 1]))
        assert seen(path) != before
        overwrite(path, place, stored)
        assert seen(path) == before


def test_looking_is_cheap_however_large_the_file(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    began = time.perf_counter()
    state_of_files([path])
    assert sum(size for _, _, size in spread([1 << 40])) == WHOLE
    assert time.perf_counter() - began < 5


@pytest.fixture
def image(tmp_path):
    pytest.importorskip("zarr")
    from sample_zarr import write_image

    return write_image(tmp_path / "i.zarr", noise(3, 100, 120), "cyx", chunks=(1, 32, 32), compressors=None)


def rewrite(path):
    overwrite(path, 5, bytes([path.read_bytes()[5] ^ 1]))


def test_a_chunk_whose_size_and_time_were_kept_or_that_comes_or_goes(image):
    before = seen(image)
    assert before == seen(image)
    rewrite(image / "0/c/2/3/3")
    assert seen(image) != before
    rewrite(image / "0/c/2/3/3")
    assert seen(image) == before
    (image / "0/c/0/0/0").rename(image / "hidden")
    assert seen(image) != before


def test_what_is_not_read_is_no_matter(image):
    before, second = seen(image), seen(image, channel=1)
    rewrite(image / "1/c/0/0/0")
    (image / "labels/cells").mkdir(parents=True)
    (image / "labels/cells/zarr.json").write_text("{}")
    (image / "0/.DS_Store").write_text("")
    assert seen(image) == before
    rewrite(image / "0/c/0/0/0")
    assert (seen(image) == before, seen(image, channel=1) == second) == (False, True)
    with open_image(image, level=1) as source:
        at_level = source.state()
        rewrite(image / "1/c/0/0/0")
        assert source.state() != at_level


def test_what_was_changed_after_it_was_opened_is_said(image, tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, noise(50, 60))
    with open_image(path) as source:
        tifffile.imwrite(path, noise(50, 61))
        with pytest.raises(ChangedError, match=r"image\.tif: was changed while it was read"):
            source.state()
        path.unlink()
        with pytest.raises(ImageError, match=r"image\.tif: cannot be read"):
            source.state()
    with open_image(image) as source:
        text = (image / "0/zarr.json").read_text()
        (image / "0/zarr.json").write_text(text.replace("120", "119"))
        with pytest.raises(ChangedError, match=r"i\.zarr: was changed while it was read"):
            source.state()
        shutil.rmtree(image)
        with pytest.raises(ImageError, match=r"i\.zarr: cannot be read"):
            source.state()


class Tagging(Quiet):
    """Serves files; with an ETag for each where `tags`, which counts their contents."""

    tags, times = True, True

    def send_header(self, name, value):
        if name != "Last-Modified" or self.times:
            super().send_header(name, value)

    def end_headers(self):
        path = self.translate_path(self.path)
        if self.tags and os.path.isfile(path):
            with open(path, "rb") as file:
                self.send_header("ETag", f'"{hash(file.read())}"')
        super().end_headers()


@pytest.mark.parametrize(("tags", "times"), [(True, True), (False, True), (False, False)])
def test_behind_a_url_by_the_marks_of_its_server_or_by_content(image, tmp_path, tags, times):
    pytest.importorskip("aiohttp")
    handler = type("Handler", (Tagging,), {"tags": tags, "times": times})
    with serving(tmp_path, handler) as address, open_image(url := Path(f"{address}/i.zarr")) as source:
        before = source.state()
        assert before == source.state() == seen(url)
        rewrite(image / "0/c/2/3/3")
        assert source.state() != before
        rewrite(image / "0/c/2/3/3")
        assert source.state() == before
        (image / "0/c/1/1/1").unlink()
        assert source.state() != before
