"""Killed at any moment, once or twice, a run goes on and ends in the bytes of one that was never stopped."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PHASES = ("start", "proof", "tiles", "assembly", "closing")
MOMENTS = len(PHASES)
"""Of each pair of formats: 20 in all."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory, speckle):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    image = np.tile(speckle, (3, 3))[:1300, :1400]
    tifffile.imwrite(path, np.stack([image, 255 - image]), tile=(256, 256), photometric="minisblack")
    return path


def begin(slide, folder, form, table, model):
    """Start a run with every output, which goes on where one was broken off."""
    outputs = ("-o", f"mask.{form}", "--objects", f"cells.{table}", "--instances", f"ids.{form}", "--overlay")
    settings = ("-m", str(model), "--tile-size", "300", "--runtime", "onnxruntime", "--resume")
    rules = ("--min-size", "60", "--split")
    return subprocess.Popen(
        [sys.executable, "-m", "unet_deploy.cli", "segment", str(slide), *outputs, *settings, *rules],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def phase_of(folder):
    """How far a run is, by the names in its folder."""
    names = os.listdir(folder)
    if any(name.startswith(("cells", "ids", "mask")) for name in names):
        return "closing"
    if any(name.startswith((".ids", ".cells")) for name in names):
        return "assembly"
    return "tiles" if names else "start"


def watch(process, folder):
    """Seconds that an unbroken run was in each phase; the proof is the end of its start."""
    seconds, began = Counter(), time.monotonic()
    while process.poll() is None:
        phase = phase_of(folder)
        seconds[phase] = time.monotonic() - began - sum(taken for name, taken in seconds.items() if name != phase)
        time.sleep(0.001)
    assert process.returncode == 0, process.stderr.read()
    return seconds


def kill(process, folder, phase, seconds, rng):
    """End a process by a signal somewhere in a phase, unless it was faster; returns whether it was ended."""
    if phase == "start":
        time.sleep(rng.uniform(0, 0.8) * seconds["start"])
    elif phase == "proof":
        time.sleep(rng.uniform(0.8, 1) * seconds["start"])
    else:
        while PHASES.index(phase_of(folder)) < PHASES.index(phase) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 1) * seconds[phase])
    ended = process.poll() is None
    process.send_signal(rng.choice(SIGNALS))
    process.communicate(timeout=60)
    return ended


def bytes_of(folder):
    """Every file of a folder, hidden ones too."""
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.long
@pytest.mark.parametrize("table", ["csv", "geojson"])
@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_killed_at_any_moment_it_ends_in_the_same_bytes(slide, small_models, tmp_path, form, table):
    if form == "zarr":
        pytest.importorskip("zarr")
    rng, kills = random.Random(f"{form} {table}"), Counter()
    job = (form, table, small_models["one"])
    once = tmp_path / "once"
    once.mkdir()
    seconds = watch(begin(slide, once, *job), once)
    expected = bytes_of(once)
    for moment in range(MOMENTS):
        folder = tmp_path / str(moment)
        folder.mkdir()
        phases = [PHASES[moment % len(PHASES)], *rng.choices(PHASES, k=rng.choice((0, 0, 1)))]
        for phase in phases:
            kills[phase] += kill(begin(slide, folder, *job), folder, phase, seconds, rng)
            if (folder / f"mask.{form}").exists():
                assert {path.name for path in once.iterdir()} <= set(os.listdir(folder)), "the mask comes last"
        process = begin(slide, folder, *job)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, f"{moment}, {phases}: {said}"
        found = bytes_of(folder)
        assert sorted(found) == sorted(expected), f"{moment}, {phases}"
        assert [name for name in found if found[name] != expected[name]] == [], f"{moment}, {phases}"
    print(f"{form}, {table}: {sum(kills.values())} kills, {dict(kills)}")
    assert sum(kills.values()) > MOMENTS / 2
