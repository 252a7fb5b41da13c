"""A file is whole or not there, and one process is at it."""

import errno
import hashlib

import pytest

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError
from unet_deploy.system.files import check_free, check_room, file_errors, replacing, sha256_of
from unet_deploy.system.kernel import try_lock


def test_a_lock_is_held_by_one_until_it_is_closed(tmp_path):
    path = tmp_path / "output"
    with path.open("w") as first, path.open("w") as second:
        assert try_lock(first)
        assert not try_lock(second)
        first.close()
        assert try_lock(second)


def test_a_file_appears_when_it_is_whole_and_leaves_nothing_when_it_fails(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(TypeError), replacing(path) as beside:
        beside.write_text(None)
    assert list(tmp_path.iterdir()) == []
    with replacing(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


def test_names_that_are_taken_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "there").write_text("")
    with pytest.raises(UsageError, match="pass --overwrite"):
        check_free(tmp_path / "there", overwrite=False)
    check_free(tmp_path / "there", overwrite=True)
    with pytest.raises(UsageError, match="is a folder"):
        check_free(tmp_path, overwrite=True)
    with pytest.raises(UnetDeployError, match="make it first"):
        check_free(tmp_path / "no" / "such", overwrite=True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, ResourceError), (errno.EDQUOT, ResourceError), (errno.EIO, UnetDeployError)],
)
def test_an_error_of_the_disk_is_one_line_that_names_the_file(tmp_path, code, kind):
    with pytest.raises(kind, match=r"^[^\n]*mask\.tif: [^\n]+$") as seen, file_errors(tmp_path / "mask.tif"):
        raise OSError(code, "broken")
    assert type(seen.value) is kind


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 10_000  # more than one piece
    (tmp_path / "model").write_bytes(content)
    assert sha256_of(tmp_path / "model") == hashlib.sha256(content).hexdigest()


def test_room_that_a_disk_has_is_given_back(tmp_path):
    check_room(tmp_path / "w.pt", 1000, 1 << 20)
    assert list(tmp_path.iterdir()) == []
