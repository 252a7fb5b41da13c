"""What Linux and macOS do in a way of their own, and what they do where a file system does less."""

import errno
import sys

import pytest

from unet_deploy.errors import ResourceError
from unet_deploy.system.files import check_room, replacing
from unet_deploy.system.kernel import try_lock

fcntl = pytest.importorskip("fcntl")
resource = pytest.importorskip("resource")

from unet_deploy.system import posix  # noqa: E402
from unet_deploy.system.posix import peak_of  # noqa: E402  (only where there is POSIX)


def refuse(code):
    def flock(file, how):
        raise OSError(code, "no")

    return flock


def test_a_file_system_without_locks_is_no_other_process(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    with (tmp_path / "output").open("w") as file, pytest.raises(OSError, match="no"):
        try_lock(file)
    with replacing(tmp_path / "mask") as beside:
        beside.write_text("done")
    assert (tmp_path / "mask").read_text() == "done"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_room_that_a_disk_lacks_is_told_before_anything_is_written(tmp_path, monkeypatch, error):
    def lacking(*_):
        raise OSError(error, "lacking")

    monkeypatch.setattr("os.posix_fallocate", lacking)
    with pytest.raises(ResourceError, match=r"w\.pt: no space left on its disk"):
        check_room(tmp_path / "w.pt", 10, 20)
    assert list(tmp_path.iterdir()) == []


def test_where_no_room_can_be_set_aside_what_is_free_counts(tmp_path, monkeypatch):
    monkeypatch.delattr("os.posix_fallocate")
    check_room(tmp_path / "w.pt", 1000)
    with pytest.raises(ResourceError, match="no space left"):
        check_room(tmp_path / "w.pt", 1 << 60)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_what_is_kept_beside_the_bytes_of_a_file_is_read_again(tmp_path, monkeypatch, platform):
    path = tmp_path / "mask.tif"
    path.write_bytes(b"1")
    monkeypatch.setattr(posix.sys, "platform", platform)  # Linux answers both ways of asking
    try:
        posix.put_attribute(path, "user.a", b"one")
    except OSError:
        pytest.skip("the file system keeps no attributes")
    assert posix.attribute_of(path, "user.a") == b"one"
    with pytest.raises(OSError, match="No data available"):
        posix.attribute_of(path, "user.b")


def test_peak_memory_is_in_bytes_on_linux_and_on_macos(monkeypatch):
    """getrusage counts in kilobytes on the first and in bytes on the second."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    monkeypatch.setattr(sys, "platform", "linux")
    assert peak_of(usage) == usage.ru_maxrss * 1024
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_of(usage) == usage.ru_maxrss
