"""Many images: one that fails stops no other, one that is finished is left, and an interrupt is told before it acts."""

import errno
import re
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import unet_deploy

import unet_deploy as api
from unet_deploy.errors import ImageError, MissingPackageError, UsageError
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.proved import keep_agreement, kept_agreement
from unet_deploy.segmentation import inputs
from unet_deploy.segmentation.batch import Failed, Interrupted, Job, Made, MadeBefore, attempt_ahead, attempt_each
from unet_deploy.segmentation.inputs import find_images
from unet_deploy.segmentation.outputs import Outputs, unfinished


@pytest.fixture
def jobs(tmp_path):
    return [Job(Path(f"{name}.tif"), Outputs(tmp_path / f"{name}.mask.tif")) for name in "abc"]


def raising(errors):
    """Work that raises for some images, and returns the name of any other."""

    def work(job):
        if error := errors.get(job.image.stem):
            raise error
        return job.image.stem

    return work


def test_each_image_is_worked_on_in_turn(jobs):
    assert list(attempt_each(jobs, raising({}))) == [Made(job, job.image.stem) for job in jobs]


def test_an_image_that_fails_stops_no_other(jobs):
    error = ImageError("b.tif: is broken")
    a, b, c = attempt_each(jobs, raising({"b": error}))
    assert (a, c) == (Made(jobs[0], "a"), Made(jobs[2], "c"))
    assert b == Failed(jobs[1], error, can_resume=False)


def test_finished_images_are_left_only_where_that_is_asked_for(jobs):
    jobs[0].outputs.mask.write_bytes(b"whole")
    assert next(attempt_each(jobs, raising({}))) == Made(jobs[0], "a")
    found = list(attempt_each(jobs, raising({}), is_made=lambda job: job.outputs.mask.exists()))
    assert found == [MadeBefore(jobs[0]), Made(jobs[1], "b"), Made(jobs[2], "c")]


def test_what_is_kept_of_a_failed_image_can_be_resumed_unless_the_options_are_wrong(jobs):
    for job in jobs:
        unfinished(job.outputs.mask).write_bytes(b"blocks")
    errors = {"a": ImageError("a.tif: ends early"), "b": UsageError("b.mask.tif exists")}
    a, b, _ = attempt_each(jobs, raising(errors))
    assert a.can_resume
    assert not b.can_resume


def test_an_interrupt_is_told_and_then_raised(jobs):
    unfinished(jobs[1].outputs.mask).write_bytes(b"blocks")
    outcomes = attempt_each(jobs, raising({"b": KeyboardInterrupt()}))
    assert next(outcomes) == Made(jobs[0], "a")
    assert next(outcomes) == Interrupted(jobs[1], can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)


def test_the_end_of_one_image_is_done_beside_the_next(jobs):
    b_begun, told = threading.Event(), []

    def begin(job):
        if job.image.stem == "b":
            b_begun.set()
        return lambda: told.append(job.image.stem) or b_begun.wait(10)

    assert list(attempt_ahead(jobs, begin)) == [Made(job, True) for job in jobs]
    assert told == ["a", "b", "c"]


def test_ahead_as_in_turn_what_fails_is_told_in_its_place(jobs):
    errors = {"b": ImageError("b.tif: is broken")}
    work = raising(errors)
    expected = list(attempt_each(jobs, work))
    assert list(attempt_ahead(jobs, lambda job: partial(work, job))) == expected

    def begin(job):
        made = work(job)
        return lambda: made

    assert list(attempt_ahead(jobs, begin)) == expected


def test_an_interrupt_lets_what_is_ending_end(jobs):
    work = raising({"b": KeyboardInterrupt()})

    def begin(job):
        made = work(job)
        return lambda: made

    outcomes = attempt_ahead(jobs, begin)
    assert [next(outcomes), next(outcomes)] == [Made(jobs[0], "a"), Interrupted(jobs[1], can_resume=False)]
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (MemoryError(), "a.tif: out of memory; take a smaller --tile-size", 6),
        (OSError(errno.ENOSPC, "No space left on device"), "a.tif: no space left on a disk", 6),
        (OSError("4096 requested and 17 written"), "a.tif: no space left on a disk", 6),
        (OSError(errno.EIO, "Input/output error"), r"a.tif: .*Input/output error", 1),
        (RuntimeError("jpeg2k\nfailed"), r"a.tif: failed .RuntimeError: jpeg2k failed.", 1),
        (KeyError("tag"), r"a.tif: failed .KeyError: 'tag'.", 1),
    ],
)
def test_no_error_of_one_image_ends_the_batch(jobs, error, said, code):
    a, *others = attempt_each(jobs, raising({"a": error}))
    assert re.match(said, str(a.error))
    assert "\n" not in str(a.error)
    assert a.error.exit_code == code
    assert others == [Made(jobs[1], "b"), Made(jobs[2], "c")]


def test_a_mask_that_cannot_be_looked_at_ends_no_batch(jobs):
    assert [type(each) for each in attempt_each(jobs, raising({}), is_made=lambda job: 1 / 0)] == [Failed] * 3


def test_a_batch_ends_with_what_failed(tmp_path, small_models):
    for name in "abc":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((60, 60), np.uint8))
    (tmp_path / "b.tif").write_bytes(b"II*\0broken")
    (tmp_path / "c.mask.tif").mkdir()
    _, told = unet_deploy("segment", tmp_path, "-m", small_models["one"], "--no-progress", code=3)
    said = told.splitlines()
    assert "2 of 3 images failed:" in said
    table = said[said.index("2 of 3 images failed:") + 1 :]
    assert [line.split() for line in table] == [["3", str(tmp_path / "b.tif")], ["2", str(tmp_path / "c.tif")]]
    assert (tmp_path / "a.mask.tif").exists()


def test_a_proof_needs_no_cache_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file, where a folder should be")
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    keep_agreement("key", Agreement(pixels=1_000_000, labels_differ=3, image="a.tif"))
    assert kept_agreement("key") is None


def test_what_a_folder_leaves_out_is_said(tmp_path):
    for name in ("a.tif", "b.mask.tif", "c.overlay.png", "d.txt"):
        (tmp_path / name).touch()
    said = []
    assert find_images([str(tmp_path)], said.append) == [tmp_path / "a.tif"]
    assert said == ["note: left out, masks, overlays or numbers of a run: b.mask.tif and 1 more"]


def test_a_mask_of_any_name_is_no_image_of_its_folder(tmp_path, small_models):
    tifffile.imwrite(tmp_path / "a.tif", np.full((90, 80), 40, np.uint8))
    api.segment(tmp_path / "a.tif", tmp_path / "cells.tif", model=small_models["one"])
    said = []
    assert find_images([str(tmp_path)], said.append) == [tmp_path / "a.tif"]
    assert said == ["note: left out, masks, overlays or numbers of a run: cells.tif"]
    assert find_images([str(tmp_path / "cells.tif")]) == [tmp_path / "cells.tif"]


def test_an_image_has_a_name():
    with pytest.raises(UsageError, match="empty name"):
        find_images([""])


def test_an_image_that_cannot_be_asked_stays_one(tmp_path, monkeypatch):
    def missing(path):
        raise MissingPackageError("zarr is not installed")

    (tmp_path / "slide.zarr").mkdir()
    monkeypatch.setattr(inputs, "origin_of", missing)
    assert find_images([str(tmp_path)]) == [tmp_path / "slide.zarr"]
