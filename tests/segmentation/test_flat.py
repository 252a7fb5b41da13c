"""Memory, open files and threads stay as they are, however many images one process segments."""

import gc
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import command_words
from PIL import Image

import unet_deploy as api
from unet_deploy.errors import ImageError

WARM = 0.3
"""Share of the work after which all that is made once has been made."""

SPARE = 12 << 20
"""Bytes that allocators may take without a leak."""


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    memory: int
    files: int
    threads: int

    @classmethod
    def by(cls, process) -> "Held":
        place = Path(f"/proc/{process}")
        pages = int((place / "statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(place / "fd")), len(os.listdir(place / "task")))


def assert_flat(seen: list[Held]):
    """What is held at the end is what was held when all was warm, but for what allocators keep."""
    warm, late = seen[int(WARM * len(seen)) : int(2 * WARM * len(seen))], seen[-len(seen) // 5 :]
    # The least of late: one that is open as it is looked at is no leak, and what leaks is there at every look.
    assert min(each.files for each in late) <= max(each.files for each in warm)
    assert min(each.threads for each in late) <= max(each.threads for each in warm)
    assert min(each.memory for each in late) <= max(each.memory for each in warm) + SPARE


MANY = pytest.mark.parametrize("images", [150, pytest.param(3000, marks=pytest.mark.long)])
CALLS = pytest.mark.parametrize("calls", [50, pytest.param(400, marks=pytest.mark.long)])


def write_pictures(folder, speckle, count):
    """Small TIFFs, PNGs and, one in a hundred, a file that is cut short."""
    folder.mkdir()
    for at in range(count):
        picture = speckle[at % 400 : at % 400 + 64, at % 91 : at % 91 + 64]
        if at % 2:
            Image.fromarray(picture).save(folder / f"{at:05}.png", compress_level=1)
        else:
            tifffile.imwrite(folder / f"{at:05}.tif", picture)
        if at % 100 == 50:
            os.truncate(folder / f"{at:05}.tif", 100)


@MANY
def test_a_folder_of_small_images_is_segmented_in_flat_memory(tmp_path, small_models, speckle, images):
    write_pictures(tmp_path / "in", speckle, images)
    command = command_words(
        "segment", tmp_path / "in", "-o", tmp_path / "out", "-m", small_models["least 1"], "--no-progress"
    )
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    seen = []
    with (
        open(tmp_path / "errors", "w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=unbuffered) as process,
    ):
        broken = images // 100
        for at, _ in enumerate(process.stdout):
            if at < images - broken - 2:  # then it may have ended
                seen.append(Held.by(process.pid))
    assert process.returncode == 3
    assert f"{broken} of {images} images failed" in (tmp_path / "errors").read_text()
    assert len(list((tmp_path / "out").iterdir())) == images - broken
    assert_flat(seen)


def after_each(calls, work) -> list[Held]:
    """What this process holds after each of so many calls."""
    seen = []
    for turn in range(calls):
        work(turn)
        if turn % 10 == 9:
            gc.collect()
            seen.append(Held.by("self"))
    return seen


@CALLS
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_one_model_segments_array_after_array_in_flat_memory(small_models, speckle, runtime, calls):
    pytest.importorskip(runtime)
    with api.open_model(small_models["one"], device="cpu", runtime=runtime, probabilities=True) as model:

        def work(turn):
            side = 64 + 8 * (turn % 7)
            api.segment(speckle[:side, : side + 5], model=model, probabilities=bool(turn % 2))
            with pytest.raises(ImageError):
                api.segment(np.zeros((2, 64, 64), np.uint8), model=model)

        assert_flat(after_each(calls, work))


@CALLS
def test_one_model_segments_file_after_file_in_flat_memory(tmp_path, small_models, speckle, calls):
    write_pictures(tmp_path / "in", speckle, 10)
    files = sorted((tmp_path / "in").iterdir())
    outputs = api.Outputs.beside(tmp_path / "mask.tif", overlay=True, objects=tmp_path / "cells.csv")
    with api.open_model(small_models["one"], device="cpu") as model:
        work = lambda turn: api.segment_file(files[turn % 10], outputs, model, api.Options(overwrite=True))  # noqa: E731
        assert_flat(after_each(calls, work))


@CALLS
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_models_are_opened_and_closed_in_flat_memory(tmp_path, small_models, speckle, runtime, calls):
    pytest.importorskip(runtime)
    (tmp_path / "cut.onnx").write_bytes(small_models["one"].read_bytes()[:-900])

    def work(turn):
        with api.open_model(small_models["one"], device="cpu", runtime=runtime) as model:
            api.segment(speckle[:80, :90], model=model)
        with pytest.raises(api.ModelError):
            api.open_model(tmp_path / "cut.onnx", device="cpu", runtime=runtime)

    assert_flat(after_each(calls, work))
