"""A run that is killed, at whatever moment, goes on and ends in the same bytes; a region is the whole's."""

import os
import random
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug
from command_line import error, unet_deploy
from PIL import Image

import unet_deploy as api
from unet_deploy.errors import ImageError, UnetDeployError
from unet_deploy.images.tiff import TiffSource
from unet_deploy.masks.overlay import Overlay
from unet_deploy.segmentation.models import Given
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.segmentation.same_job import is_made
from unet_deploy.system import files
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    image = np.tile(speckle, (3, 3))[:1300, :1400]
    tifffile.imwrite(path, np.stack([image, 255 - image]), tile=(256, 256), photometric="minisblack")
    return path


def command(slide, mask, model, *options):
    return [
        *(sys.executable, "-m", "unet_deploy.cli", "segment", str(slide), "-o", str(mask), "-m", str(model)),
        *("--tile-size", "300", "--runtime", "onnxruntime", "--probabilities", "--overlay", *options),
    ]


def test_killed_at_random_moments_it_ends_in_the_same_files(slide, small_models, tmp_path):
    model = small_models["one"]
    (tmp_path / "once").mkdir()
    subprocess.check_call(command(slide, tmp_path / "once" / "mask.tif", model))
    began = time.monotonic()
    subprocess.check_call(command(slide, tmp_path / "once" / "mask.tif", model, "--overwrite"))
    whole = time.monotonic() - began
    (tmp_path / "killed").mkdir()
    mask = tmp_path / "killed" / "mask.tif"
    rng, kills = random.Random(4), 0
    for turn in range(40):
        process = subprocess.Popen(command(slide, mask, model, "--resume"))
        try:
            # The first is killed for sure; those after it go on further, as moments of the start are test_kills' own.
            assert process.wait((rng.uniform(0.5, 0.9) if turn else 0.4) * whole) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            assert not mask.exists() or not (mask.parent / ".mask.tif.spool").exists() or kills
    assert kills >= 1
    assert sorted(os.listdir(mask.parent)) == sorted(os.listdir(tmp_path / "once"))
    for name in os.listdir(mask.parent):
        assert (mask.parent / name).read_bytes() == (tmp_path / "once" / name).read_bytes(), name


@pytest.mark.parametrize("locked", [True, False])
def test_a_new_file_that_another_process_takes_for_a_leftover_is_made_anew(tmp_path, monkeypatch, locked):
    taken, real = [], files.try_lock

    def late(file):
        if taken:
            return real(file)
        taken.append(file.name)
        os.unlink(file.name)
        return locked

    monkeypatch.setattr(files, "try_lock", late)
    with replacing(tmp_path / "mask.tif") as beside:
        beside.write_bytes(b"whole")
    assert str(beside) not in taken
    assert os.listdir(tmp_path) == ["mask.tif"]


def test_what_a_killed_process_left_of_a_file_goes_and_what_another_writes_stays(tmp_path):
    path = tmp_path / "mask [1].tif"
    write = (
        "import sys, time; from pathlib import Path; from unet_deploy.system.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as beside:\n"
        "    beside.write_bytes(b'half')\n"
        "    print(beside.name, flush=True)\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", write, str(path)]
    killed, alive = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    names = [process.stdout.readline().strip() for process in (killed, alive)]
    killed.kill()
    killed.wait()
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    with replacing(path) as beside:
        beside.write_bytes(b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted([names[1], path.name])
    assert path.read_bytes() == b"whole"
    alive.kill()
    alive.wait()


def test_a_reader_error_is_said_and_what_was_finished_is_not_computed_again(slide, small_models, tmp_path, monkeypatch):
    outputs, options = Outputs(tmp_path / "mask.tif"), Options(300, resume=True)
    crop = TiffSource.crop

    def broken(self, page, region):
        if page == 1 and region.y > 500:
            raise ImageError(f"{slide}: page 1 cannot be decoded; save it again")
        return crop(self, page, region)

    with api.open_model(small_models["one"]) as model:
        monkeypatch.setattr(TiffSource, "crop", broken)
        with pytest.raises(ImageError, match="page 1 cannot be decoded"):
            segment_file(slide, outputs, model, options)
        assert sorted(os.listdir(tmp_path)) == [".mask.tif.spool", "slide.tif"]
        monkeypatch.setattr(TiffSource, "crop", crop)
        computed = []
        submit = model.submit
        monkeypatch.setattr(model, "submit", lambda tiles, greys: computed.append(1) or submit(tiles, greys))
        report = segment_file(slide, outputs, model, options)
        assert 0 < len(computed) < len(report.plan)  # less than one of two pages
        monkeypatch.undo()
        expected = api.segment(tifffile.imread(slide)[:, None], model=model, tile_size=300)
    np.testing.assert_array_equal(tifffile.imread(outputs.mask), expected)


def test_it_does_not_mix_models_images_or_settings(slide, small_models, tmp_path, monkeypatch):
    mask = tmp_path / "mask.tif"
    arguments = ("segment", slide, "-o", mask, "--tile-size", 300, "--runtime", "onnxruntime")
    with api.open_model(small_models["one"], runtime="onnxruntime") as model:
        monkeypatch.setattr("unet_deploy.segmentation.writer.OutputWriter.commit", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segment_file(slide, Outputs(mask), model, Options(300))
    monkeypatch.undo()
    assert "unfinished run is kept" in error(*arguments, "-m", small_models["one"], code=2)
    assert "another model" in error(*arguments, "-m", small_models["deep"], "--resume", code=2)
    assert "had another threshold" in error(
        *arguments, "-m", small_models["one"], "--threshold", 0.6, "--resume", code=2
    )
    assert "another setting" in error(*arguments, "-m", small_models["one"], "--tta", "--resume", code=2)
    other = ("--tile-size", 400)
    assert "another tile size" in error(*arguments, "-m", small_models["one"], "--resume", *other, code=2)
    unet_deploy(*arguments, "-m", small_models["one"], "--resume")
    _, said = unet_deploy(*arguments, "-m", small_models["one"], "--resume")
    assert "is finished already" in said
    os.utime(slide, ns=(1, 1))
    monkeypatch.setattr("unet_deploy.segmentation.writer.OutputWriter.commit", lambda self: 1 / 0)
    with api.open_model(small_models["one"], runtime="onnxruntime") as model, pytest.raises(ZeroDivisionError):
        segment_file(slide, Outputs(mask), model, Options(300, overwrite=True))
    monkeypatch.undo()
    mask.unlink()
    os.utime(slide, ns=(2, 2))
    assert "another image" in error(*arguments, "-m", small_models["one"], "--resume", code=2)


@pytest.fixture(params=["tif", "zarr"])
def changeable(request, tmp_path, speckle):
    """An image, and a function that changes some of its bytes and neither its size nor its time."""
    path = tmp_path / f"image.{request.param}"
    if request.param == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.create_array(path, data=speckle, chunks=(100, 100), compressors=None)
    else:
        tifffile.imwrite(path, speckle)
    file = path / "c" / "4" / "4" if request.param == "zarr" else path

    def change():
        kept, data = file.stat(), bytearray(file.read_bytes())
        data[-3000:-2000] = bytes(1000)
        file.write_bytes(data)
        os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))

    return path, change


def test_an_image_whose_size_and_time_were_kept_is_another_image(changeable, small_models, tmp_path, monkeypatch):
    (path, change), mask = changeable, tmp_path / "mask.tif"
    with api.open_model(small_models["one"]) as model:
        with monkeypatch.context() as patch:
            patch.setattr("unet_deploy.segmentation.writer.OutputWriter.commit", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                segment_file(path, mask, model)
        change()
        with pytest.raises(UnetDeployError, match="had another image"):
            segment_file(path, mask, model, Options(resume=True))
        segment_file(path, mask, model, Options(overwrite=True))
        whole = mask.read_bytes()
        change()
        assert is_made(path, Outputs(mask), Given(model), Options(resume=True))
        tiff_or_chunk = path if path.is_file() else path / "c" / "0" / "0"
        os.utime(tiff_or_chunk, ns=(1, 1))
        with pytest.raises(UnetDeployError, match="no run of this image"):
            is_made(path, Outputs(mask), Given(model), Options(resume=True))
    assert mask.read_bytes() == whole


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_an_image_that_changes_while_it_is_segmented_makes_nothing(changeable, small_models, tmp_path, form, broken):
    pytest.importorskip("zarr")
    (path, change), out = changeable, tmp_path / "out"
    out.mkdir()
    outputs = Outputs.beside(out / f"mask.{form}", overlay=True, objects=out / "cells.csv")
    with api.open_model(small_models["one"]) as model:
        submit, left = model.submit, [3]

        def changing(tiles, greys):
            left[0] -= 1
            if left[0] == 0:
                change()
                assert not broken or 1 / 0
            return submit(tiles, greys)

        model.submit = changing
        with pytest.raises(ImageError, match=rf"{path.name}: was changed while it was read, so nothing is made of it"):
            segment_file(path, outputs, model, Options(200))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("roi", [(0, 0, 300, 400), (517, 333, 401, 299), (1299, 1399, 1, 1), (100, 1000, 1200, 400)])
def test_a_region_is_what_the_whole_has_there(slide, undecided, tmp_path, roi):
    y, x, height, width = roi
    whole = api.segment(tifffile.imread(slide)[:, None], model=undecided, tile_size=500)
    report = api.segment(slide, tmp_path / "mask.tif", model=undecided, roi=roi, tile_size=500, overlay=True)
    expected = np.zeros_like(whole)
    inside = (slice(None), slice(y, y + height), slice(x, x + width))
    expected[inside] = whole[inside]
    found = tifffile.imread(tmp_path / "mask.tif")
    assert (found != expected).mean() < 1e-5  # ties
    assert report.plan.height < height + 16
    picture = Image.open(tmp_path / "mask.overlay.png")
    assert (picture.height, picture.width) == (height, width)


def test_the_overlay_of_a_region_shows_the_region_and_no_more(slide, small_models, tmp_path, monkeypatch):
    roi = Region(517, 333, 401, 299)  # no multiple of the network's stride
    once, again = (Outputs.beside(tmp_path / f"{name}.tif", overlay=True) for name in ("once", "again"))
    with api.open_model(small_models["one"]) as model:
        segment_file(slide, once, model, Options(200, roi=roi))
        pull_the_plug(monkeypatch, model, 12)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(slide, again, model, Options(200, roi=roi))
        assert segment_file(slide, again, model, Options(200, roi=roi, resume=True)).timing.resumed
    image, labels = (tifffile.imread(path)[(0, *roi.slices)] for path in (slide, once.mask))
    drawn = Overlay(Region(0, 0, *roi.sides), 1, ("background", "cell"))
    drawn.add(Region(0, 0, *roi.sides), image[None], labels)
    np.testing.assert_array_equal(np.asarray(Image.open(once.overlay)), drawn.picture())
    assert again.overlay.read_bytes() == once.overlay.read_bytes()


def test_a_region_beyond_the_image_or_beyond_sense_is_refused(slide, nuclei, tmp_path):
    mask = tmp_path / "m.tif"
    assert "ends at (1500, 200)" in error("segment", slide, "-o", mask, "--roi", "1000,100,500,100", code=2)
    for roi in ("1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5"):
        assert "give y,x,height,width" in error("segment", slide, "-o", mask, f"--roi={roi}", code=2)


def test_a_disk_that_fills_keeps_what_is_finished(slide, small_models, tmp_path):
    mask = tmp_path / "mask.tif"
    limited = (
        "import resource, signal, sys; from unet_deploy.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))\n"
        "main()"
    )
    words = ["segment", slide, "-o", mask, "-m", small_models["one"], "--tile-size", "300", "--runtime", "onnxruntime"]
    done = subprocess.run(
        [sys.executable, "-c", limited, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 6
    kept, said = done.stderr.splitlines()[-2:]
    assert "go on with the same command and --resume" in kept
    assert said == f"error: {mask}: no space left on its disk; free some and run again"
    _, told = unet_deploy(*words, "--resume")
    assert "tiles were finished already" in told
    with api.open_model(small_models["one"]) as model:
        expected = api.segment(tifffile.imread(slide)[:, None], model=model, tile_size=300)
    np.testing.assert_array_equal(tifffile.imread(mask), expected)


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_once_or_twice_it_ends_at_once_and_goes_on(slide, small_models, tmp_path, times):
    mask = tmp_path / "mask.tif"
    words = command(slide, mask, small_models["deep"])
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    spool = tmp_path / ".mask.tif.spool"
    while not (spool.exists() and spool.stat().st_size > 20_000):
        time.sleep(0.02)
        assert process.poll() is None
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "--resume" in said
    assert not mask.exists()
    subprocess.check_call([*words, "--resume"])
    assert tifffile.imread(mask).shape == (2, 1300, 1400)


def test_a_folder_that_disappears_is_one_line(slide, small_models, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "out"
    folder.mkdir()
    crop = TiffSource.crop

    def removing(self, page, region):
        shutil.rmtree(folder, ignore_errors=True)
        return crop(self, page, region)

    monkeypatch.setattr(TiffSource, "crop", removing)
    with api.open_model(small_models["one"]) as model, pytest.raises(UnetDeployError, match="there is no folder"):
        segment_file(slide, Outputs(folder / "mask.tif"), model, Options(300))


def test_an_image_beyond_two_to_the_31_pixels(small_models, speckle, tmp_path):
    side, tile = 50_000, 2048
    last = np.tile(speckle, (5, 5))[:tile, :tile]

    nothing = zlib.compress(bytes(tile * tile))
    blocks = [nothing] * ((-(-side // tile)) ** 2 - 1) + [zlib.compress(last.tobytes())]
    path = tmp_path / "huge.tif"
    options = {"dtype": np.uint8, "tile": (tile, tile), "compression": "zlib", "bigtiff": True}
    tifffile.imwrite(path, iter(blocks), shape=(side, side), **options)
    roi = (side - 400, side - 500, 400, 500)
    with api.open_model(small_models["three"]) as model:
        api.segment(path, tmp_path / "mask.tif", model=model, roi=roi, tile_size=300)
        expected = api.segment(last[: side % tile, : side % tile], model=model, tile_size=300)
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        assert file.series[0].shape == (side, side)
        assert len(file.series[0].levels) > 5
    with TiffSource(tmp_path / "mask.tif") as mask:
        found = mask.crop(0, Region(*roi))[0]
        assert not mask.crop(0, Region(0, 0, 600, 600)).any()
    # Off the place where the generated part begins, which the small image mirrors.
    np.testing.assert_array_equal(found[60:], expected[-400:, -500:][60:])
