"""The core runs where this system answers as Windows does: `tests/as_on_windows.py` says in what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

FILES = ("system/test_windows_itself.py", "system/test_files.py", "images/test_state.py", "images/test_directories.py")

MASKS = ("masks", "segmentation/test_mask_formats.py::test_every_output_has_the_same_pixels_in_every_format")

_STATE = "tests/images/test_state.py"
LEFT_OUT = (
    f"{_STATE}::test_what_was_changed_after_it_was_opened_is_said",  # removes an image that is open: Windows refuses
    f"{_STATE}::test_behind_a_url_by_the_marks_of_its_server_or_by_content",  # ssl asks Windows for its certificates
)


@pytest.mark.skipif(sys.platform != "linux", reason="is for Linux to answer as Windows does")
@pytest.mark.parametrize("tests", [FILES, pytest.param(MASKS, marks=pytest.mark.long)], ids=["files", "masks"])
def test_the_core_runs_where_all_that_is_of_posix_is_hidden(tests):
    command = [sys.executable, "-m", "pytest", "-p", "as_on_windows", "-p", "no:cacheprovider"]
    command += [word for name in LEFT_OUT for word in ("--deselect", name)]
    where = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [*command, *(str(TESTS / name) for name in tests)],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "runs on Windows" not in done.stdout  # nothing was skipped for not being there
