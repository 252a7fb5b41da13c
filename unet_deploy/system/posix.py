"""What Linux and macOS do in a way of their own. The same functions are in `windows`; `kernel` chooses."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

assert sys.platform != "win32"

CUDA_DRIVER = "libcuda.so.1"
"""The library of NVIDIA's driver."""

_LONGEST_ATTRIBUTE = 4096


def longest_path() -> int:
    """Return the most bytes of a path, with room for what is beside it or in it: PATH_MAX is 4,096 on Linux."""
    return 4000


def fault_of_name(name: str) -> str:
    """Return an empty text: every name that a path can hold is one."""
    return ""


def put_attribute(path: Path, name: str, value: bytes) -> None:
    """Keep something with a file or folder, beside its bytes. Raises OSError where its file system keeps none."""
    if sys.platform == "linux":
        os.setxattr(path, name, value)
    else:
        _checked(_libc().setxattr(os.fsencode(path), name.encode(), value, len(value), 0, 0))


def attribute_of(path: Path, name: str) -> bytes:
    """Return what is kept with a file or folder by `put_attribute`.

    Raises OSError: of ENOTSUP where the file system keeps none, of another number where there is no such thing.
    """
    if sys.platform == "linux":
        return os.getxattr(path, name)
    value = ctypes.create_string_buffer(_LONGEST_ATTRIBUTE)
    size = _libc().getxattr(os.fsencode(path), name.encode(), value, len(value), 0, 0)
    return value.raw[: _checked(size)]


def _libc() -> ctypes.CDLL:
    """The library of macOS, whose attributes Python does not know: `getxattr(2)`, `setxattr(2)`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.getxattr.restype = ctypes.c_ssize_t
    place = [ctypes.c_size_t, ctypes.c_uint32, ctypes.c_int]
    libc.getxattr.argtypes = libc.setxattr.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, *place]
    return libc


def _checked(answer: int) -> int:
    """What a function of the library answered. Raises OSError where that is a failure."""
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file among processes until it is closed; return whether no other process holds the lock.

    A lock ends with its process, so a killed one leaves none behind. Raises OSError on a file system without locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def wait_for_lock(file: IO[Any]) -> None:
    """Lock an open file as `try_lock` does, once no other process holds the lock."""
    fcntl.flock(file, fcntl.LOCK_EX)


def take_room(file: IO[bytes], size: int) -> bool:
    """Set bytes of a disk aside for a file; return False where its file system or the system cannot do so.

    Raises OSError where the disk has no room for it.
    """
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        return False
    return True


def sync_data(file: IO[Any]) -> None:
    """Put the bytes of an open file on the disk; its times may follow later."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; a file system that cannot do that puts them there later."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def set_mode(handle: int, mode: int) -> None:
    """Say who may read and write an open file, by the bits of chmod(2)."""
    os.fchmod(handle, mode)


def open_no_link(path: Path) -> int:
    """Open a file to read and write, made for its owner alone where it is missing; return its descriptor.

    Raises OSError: ELOOP, EISDIR or ENXIO where the name is that of a link, a folder or a device.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def is_own(found: os.stat_result, folder: Path) -> bool:
    """Whether a file or folder in `folder` is this user's, or its owner's: a server gives all files to one user."""
    return found.st_uid in (os.geteuid(), folder.stat().st_uid)


def name_open(file: IO[Any], path: Path, name: Path) -> None:
    """Give the open file at `path` a name, which another may have. It stays locked: no other process removes it."""
    os.replace(path, name)


def remove_open(file: IO[Any], path: Path) -> None:
    """Remove the open file at `path`, if it is still there, and close it: in this order no other can have locked it."""
    try:
        path.unlink(missing_ok=True)
    finally:
        file.close()


def remove_folder_of(file: IO[Any], folder: Path) -> None:
    """Remove a folder in which an open file lies, as far as that can be, and close the file."""
    shutil.rmtree(folder, ignore_errors=True)
    file.close()


def rename_folder(folder: Path, name: Path) -> None:
    """Give a folder a name that nothing has."""
    folder.rename(name)


def peak_memory() -> int:
    """Return the most bytes of memory that this process ever held."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # ru_maxrss would count what the parent held when it started this process
                return int(line.split()[1]) * 1024
    return peak_of(resource.getrusage(resource.RUSAGE_SELF))


def peak_of(usage: resource.struct_rusage) -> int:
    """Return the peak memory of an account of resources in bytes; getrusage(2) counts in kilobytes but on macOS."""
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
