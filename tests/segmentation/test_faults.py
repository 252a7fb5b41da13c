"""Whatever stage fails, its error is the one that is seen, no thread stays, and the run goes on to the same bytes."""

import errno
import functools
import importlib
import itertools
import os
import re
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import tifffile

import unet_deploy as api
from unet_deploy.errors import ImageError, ResourceError, UnetDeployError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.tiff import TiffSource
from unet_deploy.masks.spool import Spool
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.stream.pipeline import QUEUED, stream
from unet_deploy.tiling import plan_tiles

FORMATS = ("tif", "zarr")
SQUARES = 9
"""Of an image, that are read before its first tile, for what a mask records of it."""


@pytest.fixture(scope="module")
def model(small_models):
    with api.open_model(small_models["least 1"], probabilities=True) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def slide(tmp_path_factory, speckle):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    image = np.tile(speckle, (2, 2))[:600, :700]
    tifffile.imwrite(path, np.stack([image, 255 - image]), tile=(256, 256), photometric="minisblack")
    return path


@pytest.fixture(scope="module", autouse=True)
def small_pyramids():
    """Levels for these small masks too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unet_deploy.masks.blocks.SMALLEST_LEVEL", 200)
        yield


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, slide, model):
    """Files and their bytes, by the mask's format, of a run that nothing happens to."""
    pytest.importorskip("zarr")
    found = {}
    for form in FORMATS:
        folder = tmp_path_factory.mktemp(form)
        tiles = run(slide, folder, form, model).plan
        found[form] = contents(folder)
    return found, 2 * len(tiles)


def run(slide, folder, form, model, *, resume=False):
    mask = folder / f"mask.{form}"
    extra = {"objects": folder / "objects.csv", "instances": folder / "ids.tif", "layout": "tiles"}
    outputs = Outputs.beside(mask, probabilities=True, overlay=True, **extra)
    return segment_file(slide, outputs, model, Options(300, resume=resume))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outcome(work: Callable[[], object]) -> BaseException | None:
    """What a run raises. On a thread of its own, so that one that hangs fails the test."""
    raised: list[BaseException | None] = []

    def guarded() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(60)
    assert raised, "it hangs"
    return raised[0]


def stream_threads():
    return [each for each in threading.enumerate() if each.name.startswith("stream") and each.is_alive()]


# -- faults ----------------------------------------------------------------------------------------------------


def break_from(monkeypatch, where, call, error):
    """From this call on, counted from 1, a function of ours or of a library raises."""
    module, _, names = where.partition(":")
    *within, name = names.split(".")
    owner = functools.reduce(getattr, within, importlib.import_module(module))
    whole, calls = getattr(owner, name), itertools.count(1)

    def broken(*arguments, **options):
        if next(calls) >= call:
            raise error()
        return whole(*arguments, **options)

    monkeypatch.setattr(owner, name, broken)


class Full:
    """A file whose disk takes so many writes, then half of one."""

    def __init__(self, file, writes, code):
        self._file, self._left, self._code = file, writes, code

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        self._left -= 1
        if self._left < 0:
            self._file.write(data[: len(data) // 2])
            raise OSError(self._code, os.strerror(self._code))
        return self._file.write(data)

    def flush(self):
        if self._left < 0:
            raise OSError(self._code, os.strerror(self._code))
        self._file.flush()

    def close(self):
        self._file.close()
        if self._left < 0:
            raise OSError(self._code, os.strerror(self._code))


def fill_spools(monkeypatch, writes, code):
    begin = Spool.__init__

    def limited(self, *arguments, **options):
        begin(self, *arguments, **options)
        self._file = Full(self._file, writes, code)

    monkeypatch.setattr(Spool, "__init__", limited)


@dataclass(frozen=True)
class Fault:
    where: str
    call: int
    error: Callable[[], BaseException]
    seen: type[BaseException]
    text: str = "broken"
    kept: float = 0
    """The least share of tiles that a resume finds finished."""
    formats: tuple[str, ...] = FORMATS


def broken(kind: type[BaseException]) -> Callable[[], BaseException]:
    return lambda: kind("broken")


def disk(code: int) -> Callable[[], OSError]:
    return lambda: OSError(code, os.strerror(code))


FULL, BAD = disk(errno.ENOSPC), disk(errno.EIO)
NO_SPACE, NO_WRITE = "no space left", "cannot be written .Input/output error"
TIFF, CHUNKS, PART = "unet_deploy.masks.tiff", "unet_deploy.masks.chunks", "unet_deploy.masks.part"
FAULTS = {
    "decode": Fault("unet_deploy.images.tiff:TiffSource.crop", SQUARES + 20, broken(ImageError), ImageError, kept=0.3),
    "decode: memory": Fault("unet_deploy.images.tiff_planes:TiffPlanes._segment", 20, broken(MemoryError), MemoryError),
    "decode: a bug": Fault(
        "unet_deploy.images.tiff:TiffSource.crop", SQUARES + 20, broken(KeyError), KeyError, kept=0.3
    ),
    "reader's thread ends": Fault(
        "unet_deploy.images.tiff:TiffSource.crop", SQUARES + 20, broken(SystemExit), SystemExit
    ),
    "grey": Fault("unet_deploy.stream.pipeline:measure_page", 2, broken(RuntimeError), RuntimeError),
    "submit": Fault("model:submit", 17, broken(RuntimeError), RuntimeError, kept=0.3),
    "submit: memory": Fault("model:submit", 3, broken(MemoryError), MemoryError),
    "result": Fault("model:result", 17, broken(RuntimeError), RuntimeError, kept=0.3),
    "labels": Fault("unet_deploy.masks.blocks:PartialBlock.take", 30, broken(RuntimeError), RuntimeError),
    "probabilities": Fault(f"{TIFF}:TiffMaskSink.write", 14, broken(RuntimeError), RuntimeError),
    "overlay": Fault("unet_deploy.masks.overlay:Overlay.add", 5, broken(RuntimeError), RuntimeError),
    "objects": Fault("unet_deploy.objects:Objects.add", 15, broken(RuntimeError), RuntimeError, kept=0.3),
    "compression": Fault(f"{TIFF}:_compress", 12, broken(MemoryError), MemoryError),
    "chunk: compression": Fault(
        f"{CHUNKS}:Level.write", 2, broken(MemoryError), MemoryError, kept=0.3, formats=("zarr",)
    ),
    "chunk: disk full": Fault(f"{CHUNKS}:Level.write", 2, FULL, ResourceError, NO_SPACE, 0.3, ("zarr",)),
    "chunk: disk broken": Fault(f"{CHUNKS}:Level.write", 2, BAD, UnetDeployError, NO_WRITE, 0.3, ("zarr",)),
    "sync": Fault("os:fdatasync", 5, BAD, UnetDeployError, NO_WRITE),
    "commit: objects": Fault("unet_deploy.objects:Objects.finish", 1, broken(MemoryError), MemoryError, kept=1),
    "commit: table": Fault("unet_deploy.objects.files:_blocks", 1, FULL, ResourceError, NO_SPACE, 1),
    "commit: numbers": Fault("unet_deploy.objects:Objects.instances", 4, broken(MemoryError), MemoryError, kept=1),
    "commit: overlay": Fault("unet_deploy.masks.overlay:Overlay.picture", 1, broken(MemoryError), MemoryError, kept=1),
    "commit: first file": Fault(f"{TIFF}:TiffWriter.write", 1, FULL, ResourceError, NO_SPACE, 1),
    "commit: second file": Fault(f"{TIFF}:TiffWriter.write", 5, FULL, ResourceError, NO_SPACE, 1),
    "commit: third file": Fault(f"{TIFF}:TiffWriter.write", 7, FULL, ResourceError, NO_SPACE, 1, ("tif",)),
    "commit: levels": Fault(f"{TIFF}:TiffMaskSink._shrink", 4, broken(MemoryError), MemoryError, kept=1),
    "commit: levels of chunks": Fault(f"{CHUNKS}:shrink", 1, FULL, ResourceError, NO_SPACE, 1, ("zarr",)),
    "commit: first name": Fault("os:replace", 1, BAD, UnetDeployError, NO_WRITE, 1, ("tif",)),
    "commit: fourth name": Fault("os:replace", 4, BAD, UnetDeployError, NO_WRITE, 1, ("tif",)),
    "commit: last name": Fault("os:replace", 5, BAD, UnetDeployError, NO_WRITE, 1, ("tif",)),
    "commit: folder's bytes": Fault(f"{PART}:settle", 2, FULL, ResourceError, NO_SPACE, 1, ("zarr",)),
    "commit: folder's name": Fault("pathlib:Path.rename", 2, BAD, UnetDeployError, NO_WRITE, 1, ("zarr",)),
}
CASES = [pytest.param(fault, form, id=f"{name}, {form}") for name, fault in FAULTS.items() for form in fault.formats]


@pytest.mark.parametrize(("fault", "form"), CASES)
def test_the_first_cause_is_seen_and_the_run_goes_on(fault, form, slide, model, unbroken, tmp_path, monkeypatch):
    if fault.where.startswith("model:"):
        whole, calls = getattr(model, fault.where[6:]), itertools.count(1)
        monkeypatch.setattr(model, fault.where[6:], lambda *a: whole(*a) if next(calls) < fault.call else raised(fault))
    else:
        break_from(monkeypatch, fault.where, fault.call, fault.error)
    monkeypatch.setattr("unet_deploy.masks.spool._SYNC_SECONDS", -1.0)
    seen = outcome(lambda: run(slide, tmp_path, form, model))
    assert type(seen) is fault.seen
    assert re.search(fault.text, str(seen))
    monkeypatch.undo()
    goes_on(slide, tmp_path, form, model, unbroken, fault.kept)


def raised(fault):
    raise fault.error()


def goes_on(slide, folder, form, model, unbroken, kept=0.0):
    """No thread is left, no mask is there, and a resume finds its share and ends in the same files."""
    files, tiles = unbroken
    assert not stream_threads()
    assert not (folder / f"mask.{form}").exists()
    report = run(slide, folder, form, model, resume=True)
    assert report.timing.resumed >= kept * tiles
    assert contents(folder) == files[form]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("writes", "code"), [(0, errno.EIO), (2, errno.ENOSPC), (26, errno.ENOSPC)])
def test_a_spool_whose_disk_fails_is_believed_up_to_there(
    writes, code, form, slide, model, unbroken, tmp_path, monkeypatch
):
    fill_spools(monkeypatch, writes, code)
    seen = outcome(lambda: run(slide, tmp_path, form, model))
    assert isinstance(seen, UnetDeployError)
    assert ("no space left" if code == errno.ENOSPC else "Input/output error") in str(seen)
    monkeypatch.undo()
    goes_on(slide, tmp_path, form, model, unbroken)


@pytest.mark.parametrize("form", FORMATS)
def test_what_fails_while_it_ends_does_not_hide_the_cause(form, slide, model, unbroken, tmp_path, monkeypatch):
    calls, crop = itertools.count(1), TiffSource.crop

    def failing(self, page, region):
        if next(calls) == SQUARES + 3:
            break_from(monkeypatch, "pathlib:Path.unlink", 1, BAD)
            raise ImageError("broken")
        return crop(self, page, region)

    monkeypatch.setattr(TiffSource, "crop", failing)
    seen = outcome(lambda: run(slide, tmp_path, form, model))
    assert isinstance(seen, ImageError)
    monkeypatch.undo()
    goes_on(slide, tmp_path, form, model, unbroken)


@pytest.mark.parametrize("call", [SQUARES + 3, SQUARES + 20])
@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_that_disappears_is_one_line(form, call, slide, model, tmp_path, monkeypatch):
    folder, calls, crop = tmp_path / "out", itertools.count(1), TiffSource.crop
    folder.mkdir()

    def removing(self, page, region):
        if next(calls) == call:
            shutil.rmtree(folder)
        return crop(self, page, region)

    monkeypatch.setattr(TiffSource, "crop", removing)
    seen = outcome(lambda: run(slide, folder, form, model))
    assert isinstance(seen, UnetDeployError), repr(seen)
    assert not (folder / f"mask.{form}").exists()
    assert not stream_threads()


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_ctrl_c_does_not_wait_for_a_disk_that_hangs(form, slide, model, unbroken, tmp_path, monkeypatch):
    crop, comes_back = TiffSource.crop, threading.Event()

    def press() -> None:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def hanging(self, page, region):
        if page == 1 and not comes_back.is_set():
            press()
            threading.Timer(0.5, press).start()
            comes_back.wait(20)
        return crop(self, page, region)

    monkeypatch.setattr(TiffSource, "crop", hanging)
    with pytest.raises(KeyboardInterrupt):
        run(slide, tmp_path, form, model)
    assert not comes_back.is_set()
    comes_back.set()
    for thread in stream_threads():
        thread.join(20)
    monkeypatch.undo()
    goes_on(slide, tmp_path, form, model, unbroken)


def test_a_slow_disk_holds_no_more_tiles_than_are_planned_for(model, speckle):
    """As many as planner.Budget counts: two queues, and one with each stage, twice while it is mirrored."""
    alive: list[weakref.ref] = []
    most = [0]

    class Watched(ArraySource):
        def read(self, page, region):
            pixels = super().read(page, region).copy()
            alive[:] = [each for each in alive if each() is not None] + [weakref.ref(pixels)]
            most[0] = max(most[0], len(alive))
            return pixels

    source = Watched(np.tile(speckle, (2, 2)))
    plan = plan_tiles(1000, 1000, model.card, tile=200)
    stream(source, plan, model, [lambda done: time.sleep(0.01)])
    assert len(plan) > 20
    assert most[0] <= 2 * QUEUED + 3
