"""What a dry run says is what the run takes: the tiles, and bounds of disk and time."""

import os
import threading
import time
from collections import namedtuple
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug

import unet_deploy as api
from unet_deploy.segmentation.forecast import forecast
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.system.machine import resident_memory
from unet_deploy.system.words import time_text
from unet_deploy.tiling import Region


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.tile(speckle, (3, 3))[:1200, :1100])
    return path


def test_the_forecast_is_the_plan_that_is_run_and_nothing_is_written(slide, tmp_path, nuclei):
    tifffile.imwrite(slide, tifffile.imread(slide)[:400, :500])  # 20 tiles
    with api.open_model(nuclei) as model:
        before = resident_memory()
        planned = forecast(slide, model, Outputs(tmp_path / "mask.tif"), Options(300))
        assert os.listdir(tmp_path) == ["slide.tif"]
        report = api.segment(slide, tmp_path / "mask.tif", model=model, tile_size=300)
    assert planned.plan == report.plan
    assert planned.memory is not None
    assert 50e6 < planned.memory - before < 1e9


def test_an_unfinished_run_is_foreseen(slide, tmp_path, small_models, monkeypatch):
    outputs = Outputs(tmp_path / "mask.tif")
    with api.open_model(small_models["one"]) as model:
        assert not forecast(slide, model, outputs, Options(300)).unfinished
        with monkeypatch.context() as broken:
            pull_the_plug(broken, model, 3)
            with pytest.raises(RuntimeError, match="plug"):
                segment_file(slide, outputs, model, Options(300))
        assert forecast(slide, model, outputs, Options(300)).unfinished
        segment_file(slide, outputs, model, Options(300, resume=True))
        assert not forecast(slide, model, outputs, Options(300, overwrite=True)).unfinished


def test_disk_is_bounded_at_its_peak_and_in_the_end(slide, tmp_path, small_models):
    folder = tmp_path / "out"
    outputs = Outputs.beside(folder / "mask.tif", probabilities=True, overlay=True, instances=folder / "ids.tif")
    with api.open_model(small_models["one"], probabilities=True) as model:
        planned = forecast(slide, model, outputs, Options(300))
        folder.mkdir()
        peak = most_while(folder, lambda: segment_file(slide, outputs, model, Options(300)))
    end = sum(path.stat().st_size for path in folder.iterdir())
    assert end < planned.likely.peak < planned.most.peak
    assert end <= planned.most.end
    assert peak <= planned.most.peak
    assert 0.3 < planned.likely.end / end < 3
    assert end < peak < 3 * planned.likely.peak


def most_while(folder, work) -> int:
    """The most bytes that a folder's files held while `work` was done."""
    seen, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            total = 0
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
            seen.append(total)

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    over.set()
    thread.join()
    return max(seen)


def test_a_zarr_is_never_there_twice_and_a_region_takes_less(slide, tmp_path, small_models):
    with api.open_model(small_models["one"]) as model:
        tiff, zarr = (
            forecast(slide, model, Outputs(tmp_path / f"mask{end}", layout="tiles"), Options(300))
            for end in (".tif", ".zarr")
        )
        part = forecast(slide, model, Outputs(tmp_path / "mask.tif"), Options(300, roi=Region(0, 0, 300, 300)))
    assert tiff.most.peak == 2 * tiff.most.end
    assert zarr.most.peak == zarr.most.end == tiff.most.end
    assert part.most.end < tiff.most.end / 3  # in strips it has no pyramid either
    assert part.seconds < tiff.seconds


def test_time_is_that_of_one_tile_for_all(tmp_path, small_models, monkeypatch):
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.zeros((3, 900, 800), np.uint8), photometric="minisblack")
    with api.open_model(small_models["one"]) as model:
        submit, sizes = model.submit, []

        def slow(tiles, greys):
            sizes.append(tiles[0].shape)
            time.sleep(0.1)
            return submit(tiles, greys)

        monkeypatch.setattr(model, "submit", slow)
        found = forecast(path, model, Outputs(tmp_path / "m.tif"), Options(300))
        assert len(sizes) == 2
        assert sizes[0] == (1, found.plan.input_height, found.plan.input_width)
    computed = found.plan.overhead * 900 * 800 / (sizes[0][1] * sizes[0][2])
    assert 3 * 0.1 * computed <= found.seconds < 3 * 0.5 * computed


def test_a_disk_with_too_little_room_is_a_note(slide, tmp_path, small_models, monkeypatch, capsys):
    from unet_deploy.cli.show import forecast as show_forecast

    mask = tmp_path / "mask.tif"
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with api.open_model(small_models["one"]) as model:
        show_forecast(forecast(slide, model, Outputs(mask), Options(300)), mask, shared=False)
    shown, said = capsys.readouterr()
    assert "1 MB are free" in shown
    assert said.startswith(f"note: {mask}: its disk has 1 MB free, and ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.123, "0.12 s"), (59, "59 s"), (90, "1.5 min"), (3599, "1 h"), (9000, "2.5 h")]
)
def test_times_are_read_at_a_glance(seconds, text):
    assert time_text(seconds) == text
