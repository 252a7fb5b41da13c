"""Many images: one that fails stops no other, one that is finished is left, and an interrupt is told before it acts."""

from pathlib import Path

import pytest

from unet_deploy.errors import ImageError, UsageError
from unet_deploy.segmentation.batch import Failed, Interrupted, Job, Made, MadeBefore, attempt_each
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
    found = list(attempt_each(jobs, raising({}), skip_finished=True))
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


def test_other_errors_are_raised_at_once(jobs):
    with pytest.raises(MemoryError):
        list(attempt_each(jobs, raising({"a": MemoryError()})))
