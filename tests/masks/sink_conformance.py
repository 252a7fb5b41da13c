"""What holds for every MaskSink, written once: each sink's own tests begin with a subclass."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.masks import Keep, MaskForm, MaskSink, format_of, open_mask
from unet_deploy.tiling import Region

NOTHING = Keep()
KEY = {"image": [1, 2], "model": "abc"}
PAGES, TALL, WIDE = 2, 1084, 1100
"""A mask with a pyramid, whose blocks end inside it whatever their side."""


def image(pages=1, height=600, width=700):
    return ImageInfo("image.tif", pages, 1, height, width, np.dtype("u1"), PixelSizes(0.25, 0.25))


def form(pages=1, height=600, width=700, planes=1, dtype=np.uint8, region=None):
    return MaskForm(image(pages, height, width), planes, np.dtype(dtype), region, ("background", "nucleus")[:planes])


def regions(height, width, tall, wide):
    return [
        Region(y, x, min(tall, height - y), min(wide, width - x))
        for y in range(0, height, tall)
        for x in range(0, width, wide)
    ]


def fill(mask, truth, todo):
    """Write the pixels (pages, planes, H, W) of some regions, each with its page."""
    for page, region in todo:
        mask.write(page, region, truth[(page, slice(None), *region.slices)])


def labels_of(pages, height, width):
    """Labels that are 0 in a corner: a block of zeros counts as finished too."""
    truth = np.random.default_rng(1).integers(0, 3, (pages, 1, height, width)).astype(np.uint8)
    truth[:, :, : height // 3, : width // 3] = 0
    return truth


TRUTH = labels_of(PAGES, TALL, WIDE)
JOBS = [(page, region) for page in range(PAGES) for region in regions(TALL, WIDE, 400, 700)]
"""Six regions a page; seven finish at least one block."""

many = settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
)


class SinkConformance:
    """The contract of MaskSink. A subclass says what a mask's name is and how a finished one is read."""

    kinds = ((1, np.uint8), (2, np.float32), (1, np.uint32))
    """Planes and types of pixels that it takes."""

    def name(self, folder: Path, asked: MaskForm) -> Path:
        """The name to give a mask in a folder."""
        raise NotImplementedError

    def levels(self, path: Path) -> list[np.ndarray]:
        """All levels of a finished mask, (pages, planes, H, W), the finest first."""
        raise NotImplementedError

    def open(self, path: Path, asked: MaskForm, keep: Keep = NOTHING) -> MaskSink:
        return open_mask(path, asked, keep)

    @many
    @given(
        st.integers(1, 1300),
        st.integers(1, 1300),
        st.integers(150, 900),
        st.integers(150, 900),
        st.integers(1, 2),
        st.integers(0, 2),
        st.randoms(use_true_random=False),
    )
    def test_any_order_of_any_regions_gives_the_same_pixels_on_every_level(
        self, tmp_path_factory, height, width, tall, wide, pages, kind, random
    ):
        planes, dtype = self.kinds[kind % len(self.kinds)]
        truth = np.random.default_rng(1).integers(0, 200, (pages, planes, height, width)).astype(dtype)
        asked = form(pages, height, width, planes, dtype)
        path = self.name(tmp_path_factory.mktemp("order"), asked)
        jobs = [(page, region) for page in range(pages) for region in regions(height, width, tall, wide)]
        random.shuffle(jobs)
        with self.open(path, asked) as mask:
            fill(mask, truth, jobs)
            page, region = jobs[0]
            np.testing.assert_array_equal(mask.read(page, region), truth[(page, slice(None), *region.slices)])
            mask.commit()
        for at, level in enumerate(self.levels(path)):
            assert level.dtype == dtype
            np.testing.assert_array_equal(level, truth[..., :: 2**at, :: 2**at])

    def test_only_a_region_is_written_and_the_rest_is_zero(self, tmp_path):
        region = Region(300, 250, 200, 300)
        asked = form(region=region)
        path = self.name(tmp_path, asked)
        with self.open(path, asked) as mask:
            mask.write(0, region, np.full((1, 200, 300), 7, np.uint8))
            mask.commit()
        expected = np.zeros((600, 700), np.uint8)
        expected[region.slices] = 7
        np.testing.assert_array_equal(self.levels(path)[0][0, 0], expected)

    def test_pixels_of_another_shape_are_a_bug_of_the_caller(self, tmp_path):
        asked = form()
        with self.open(self.name(tmp_path, asked), asked) as mask, pytest.raises(ValueError, match=r"shape|fill"):
            mask.write(0, Region(0, 0, 10, 10), np.zeros((2, 10, 10), np.uint8))

    def test_nothing_is_resumed_where_nothing_was_kept(self, tmp_path):
        asked = form()
        path = self.name(tmp_path, asked)
        for _ in range(2):
            with self.open(path, asked) as mask:
                assert not mask.resumed
                assert not mask.has(0, Region(0, 0, 1, 1))
                mask.write(0, Region(0, 0, 600, 700), np.ones((1, 600, 700), np.uint8))


class FileSinkConformance(SinkConformance):
    """The contract of a sink whose mask is a file or a folder, which keeps what a run did not finish."""

    def leftovers(self, path: Path) -> list[str]:
        """What lies hidden beside a mask."""
        return sorted(each.name for each in path.parent.glob(f".{path.name}.*"))

    def contents(self, path: Path) -> dict[str, bytes]:
        """The bytes of all files of a finished mask."""
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        return {str(each.relative_to(path)): each.read_bytes() for each in files}

    def whole(self, folder: Path) -> tuple[Path, MaskForm, dict[str, bytes]]:
        """The name of a mask, what it is, and its bytes when nothing happens to it."""
        asked = form(PAGES, TALL, WIDE)
        once, again = folder / "once", folder / "again"
        once.mkdir()
        again.mkdir()
        path = self.name(once, asked)
        with self.open(path, asked) as mask:
            fill(mask, TRUTH, JOBS)
            mask.commit()
        return self.name(again, asked), asked, self.contents(path)

    def begin(self, path, asked, key=KEY, todo=JOBS[:7], **keep) -> bool:
        """Write a part of a mask and break off; returns whether it went on from another."""
        with self.open(path, asked, Keep(key, **keep)) as mask:
            fill(mask, TRUTH, todo)
            return mask.resumed

    def test_its_name_is_there_when_it_is_whole_and_nothing_else(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        with self.open(path, asked, Keep(KEY)) as mask:
            for job in JOBS:
                fill(mask, TRUTH, [job])
                assert not path.exists()
            assert all(mask.has(*job) for job in JOBS)
            mask.commit()
            assert path.exists()
        assert not self.leftovers(path)
        assert format_of(path).is_finished(path)
        assert format_of(path).unfinished_key(path) == {}

    def test_what_is_not_committed_is_kept_where_it_can_be_gone_on_from(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        self.begin(path, asked, key=None, todo=JOBS)
        self.begin(path, asked, todo=[(0, Region(0, 0, 100, 300))])  # no block is whole
        assert not self.leftovers(path)
        self.begin(path, asked, todo=JOBS)
        assert self.leftovers(path) == [format_of(path).unfinished(path).name]
        assert format_of(path).unfinished_key(path)["model"] == "abc"
        assert not format_of(path).is_finished(path)
        assert not path.exists()

    def test_a_run_broken_off_anywhere_resumes_to_the_same_bytes(self, tmp_path):
        path, asked, expected = self.whole(tmp_path)
        done = 0
        for stop in (1, 5, 7, len(JOBS)):
            begun = bool(self.leftovers(path))
            with self.open(path, asked, Keep(KEY, resume=True)) as mask:
                finished = [job for job in JOBS if mask.has(*job)]
                assert mask.resumed == begun
                assert len(finished) >= done
                done = len(finished)
                for page, region in finished:
                    np.testing.assert_array_equal(mask.read(page, region), TRUTH[(page, slice(None), *region.slices)])
                fill(mask, TRUTH, [job for job in JOBS[:stop] if job not in finished])
                if stop == len(JOBS):
                    mask.commit()
        assert done > 2
        assert self.contents(path) == expected
        assert not self.leftovers(path)

    def test_an_unfinished_run_is_neither_mixed_nor_thrown_away(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        other = {**KEY, "model": "other"}
        assert not self.begin(path, asked)
        with pytest.raises(UsageError, match="is kept beside it; go on with --resume, or start anew with --overwrite"):
            self.begin(path, asked)
        with pytest.raises(UsageError, match="the unfinished run had another model; resume with the same, or start"):
            self.begin(path, asked, key=other, resume=True)
        assert self.begin(path, asked, resume=True)
        assert not self.begin(path, asked, overwrite=True)
        with pytest.raises(
            UsageError, match="of another model; go on with that and --resume, or start anew with --over"
        ):
            self.begin(path, asked, key=other)
        assert not self.begin(path, asked, key=other, overwrite=True)
        assert not self.begin(path, asked, key=None, todo=[], overwrite=True)
        assert not self.leftovers(path)

    def test_an_unfinished_run_of_an_older_version_is_refused_in_one_line(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        self.begin(path, asked)
        record = format_of(path).unfinished(path)
        record = record / "run.json" if record.is_dir() else record
        header, newline, rest = record.read_bytes().partition(b"\n")
        older = json.loads(header)
        assert older.pop("version of the record") > 1
        record.write_bytes(json.dumps(older, sort_keys=True).encode() + newline + rest)
        assert format_of(path).unfinished_key(path) == {}
        with pytest.raises(UsageError) as refusal:
            self.begin(path, asked, resume=True)
        assert str(refusal.value) == (
            f"{path}: the unfinished run is of another version of this program, which kept it in another way; "
            "start anew with --overwrite in place of --resume"
        )
        assert not self.begin(path, asked, overwrite=True)

    def test_other_processes_write_where_the_format_is_shared(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        with self.open(path, asked) as mask:
            assert (mask.tree is not None) == format_of(path).shared
            if mask.tree is None:
                with pytest.raises(UsageError, match="only one process can write such a mask"):
                    format_of(path).writer(tmp_path, path)
                return
            fill(format_of(path).writer(mask.tree, path), TRUTH, JOBS)
            mask.commit()
        np.testing.assert_array_equal(self.levels(path)[0], TRUTH)

    def test_two_runs_do_not_meet(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        with self.open(path, asked, Keep(KEY)) as mask:
            fill(mask, TRUTH, JOBS)
            for keep in (Keep(KEY, resume=True), Keep(KEY, overwrite=True), Keep()):
                with pytest.raises(UsageError, match="another run is writing it"):
                    self.open(path, asked, keep)
            mask.commit()
        np.testing.assert_array_equal(self.levels(path)[0], TRUTH)

    def test_a_mask_with_a_hole_is_never_committed(self, tmp_path):
        asked = form(PAGES, TALL, WIDE)
        path = self.name(tmp_path, asked)
        with self.open(path, asked) as mask:
            fill(mask, TRUTH, JOBS[:-1])
            with pytest.raises(RuntimeError, match=r"\d (blocks|chunks) were never written"):
                mask.commit()
        assert not path.exists()
        assert not self.leftovers(path)

    def test_an_existing_mask_is_kept_unless_told_otherwise(self, tmp_path):
        asked = form(height=10, width=10)
        path = self.name(tmp_path, asked)
        for value, overwrite in ((1, False), (2, True)):
            with self.open(path, asked, Keep(overwrite=overwrite)) as mask:
                mask.write(0, Region(0, 0, 10, 10), np.full((1, 10, 10), value, np.uint8))
                assert path.exists() == overwrite
                mask.commit()
            for refused in (self.open, format_of(path).check):
                with pytest.raises(UsageError, match="exists; pass --overwrite"):
                    refused(path, asked, Keep())
            assert (self.levels(path)[0] == value).all()
        format_of(path).check(path, asked, Keep(overwrite=True))
        assert not self.leftovers(path)

    def test_a_mask_that_was_named_before_its_run_failed_is_gone_on_from(self, tmp_path):
        path, asked, expected = self.whole(tmp_path)
        with self.open(path, asked, Keep(KEY)) as mask:
            fill(mask, TRUTH, JOBS)
            mask.commit()
            mask.keep()
        with self.open(path, asked, Keep(KEY, resume=True)) as mask:
            assert mask.resumed
            assert all(mask.has(*job) for job in JOBS)
            mask.commit()
        assert self.contents(path) == expected
        assert not self.leftovers(path)

    @pytest.mark.parametrize("jobs", [7, len(JOBS)])
    def test_a_killed_process_leaves_what_a_resume_goes_on_from(self, tmp_path, jobs):
        path, asked, expected = self.whole(tmp_path)
        assert self.in_another_process("killed", path, jobs).returncode == -signal.SIGKILL
        assert path.exists() == (jobs == len(JOBS))
        assert self.leftovers(path) == [format_of(path).unfinished(path).name]
        with self.open(path, asked, Keep(KEY, resume=True)) as mask:
            assert mask.resumed
            fill(mask, TRUTH, [job for job in JOBS if not mask.has(*job)])
            mask.commit()
        assert self.contents(path) == expected

    def killed(self, path: Path, jobs: int) -> None:
        """Write some of a mask, give it its name where that is all, and die."""
        with self.open(path, form(PAGES, TALL, WIDE), Keep(KEY)) as mask:
            fill(mask, TRUTH, JOBS[:jobs])
            if jobs == len(JOBS):
                mask.commit()
            os.kill(os.getpid(), signal.SIGKILL)

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, tmp_path):
        path = self.name(tmp_path, form(1, 1024, 1024))
        ended = self.in_another_process("full_disk", path, 100_000)
        assert ended.stdout == f"6 {path}: no space left on its disk; free some and run again\n", ended.stderr
        assert not path.exists()
        assert not self.leftovers(path)

    def full_disk(self, path: Path, most: int) -> None:
        """Write noise where no file may grow beyond so many bytes, and print what is said."""
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        noise = np.random.default_rng(0).integers(0, 255, (1, 1024, 1024), dtype=np.uint8)
        try:
            with self.open(path, form(1, 1024, 1024)) as mask:
                mask.write(0, Region(0, 0, 1024, 1024), noise)
                mask.commit()
        except UnetDeployError as error:
            print(error.exit_code, error)

    def in_another_process(self, method: str, path: Path, number: int) -> subprocess.CompletedProcess:
        """Call a method of this class there, with a mask's name and a number."""
        module, name = type(self).__module__, type(self).__name__
        script = (
            f"import sys; sys.path[:0] = {sys.path!r}; from pathlib import Path; import {module}; "
            f"{module}.{name}().{method}(Path(sys.argv[1]), int(sys.argv[2]))"
        )
        command = [sys.executable, "-c", script, str(path), str(number)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


class NewFileSinkConformance(FileSinkConformance):
    """The contract of a sink whose mask lies in a folder that is anyone's."""

    def test_a_folder_that_is_missing_or_closed_is_one_line(self, tmp_path):
        asked = form()
        name = self.name(tmp_path, asked).name
        for refused in (self.open, format_of(Path(name)).check):
            with pytest.raises(UnetDeployError, match="there is no folder"):
                refused(tmp_path / "no" / name, asked, Keep())
        with pytest.raises(UnetDeployError, match=rf"/proc/{name}: cannot be written"):
            self.open(Path("/proc") / name, asked)

    def test_what_is_something_else_is_not_replaced(self, tmp_path):
        asked = form()
        path = self.name(tmp_path, asked)
        path.mkdir()
        (path / "mine").touch()
        for keep in itertools.starmap(Keep, itertools.product([None], [False, True], [False, True])):
            with pytest.raises(UsageError, match=f"{path}"):
                self.open(path, asked, keep)
        assert (path / "mine").exists()
