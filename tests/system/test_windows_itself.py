"""What Windows does in a way of its own: on Windows, and where `as_on_windows` answers for it."""

import sys
import threading

import pytest

if sys.platform != "win32":
    pytest.skip("runs on Windows, and in test_as_on_windows.py", allow_module_level=True)

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.system import machine, marks, windows
from unet_deploy.system.files import check_free, replacing


def write(path, text):
    with replacing(path, overwrite=True) as beside:
        beside.write_text(text)


def test_a_file_that_another_program_has_open_stays_and_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "_PAUSES", (0.01,))
    path = tmp_path / "mask.tif"
    path.write_text("before")
    with path.open("rb"), pytest.raises(UnetDeployError, match=r"mask\.tif: .*another program has it open"):
        write(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_open_for_a_moment_is_waited_for(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_text("before")
    scanner = path.open("rb")
    timer = threading.Timer(0.1, scanner.close)
    timer.start()
    write(path, "after")
    timer.join()
    assert path.read_text() == "after"


def test_a_lock_keeps_nobody_from_reading_and_writing(tmp_path):
    path = tmp_path / "spool"
    with path.open("w+b") as first, path.open("r+b") as second:
        assert windows.try_lock(first)
        second.write(b"12")
        second.flush()
        assert first.read() == b"12"
        assert not windows.try_lock(second)


def test_a_file_that_no_job_marked_is_not_taken_for_one_of_it(tmp_path):
    path, strange = tmp_path / "mask.tif", tmp_path / "mine.tif"
    with marks.marking("job"):
        write(path, "made")
    strange.write_text("mine")
    assert [marks.bears(each, "job") for each in (path, strange)] == [True, False]
    assert not marks.bears(path, "another")


def test_memory_and_processors_are_known():
    assert 0 < machine.resident_memory() <= machine.peak_memory() < machine.total_memory()
    assert machine.usable_cores() > 0


@pytest.mark.parametrize(
    "name", ["nul", "AUX.tif", "com1.ome.tif", "mask.tif:hidden", "what?.tif", "mask.tif.", "mask "]
)
def test_what_is_no_name_of_a_file_here_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="give another name"):
        check_free(tmp_path / name, overwrite=True)


@pytest.mark.parametrize("name", ["console.tif", "com10.tif", "a.nul.tif", ".hidden", "κύτταρο.tif"])
def test_what_only_looks_like_a_device_is_taken(tmp_path, name):
    check_free(tmp_path / name, overwrite=True)


def test_a_path_is_too_long_where_long_paths_are_not_enabled(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_deploy.system.files.longest_path", lambda: 200)
    with pytest.raises(UsageError, match="its path of"):
        check_free(tmp_path / ("a" * 200), overwrite=True)
