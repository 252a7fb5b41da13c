"""What Windows does in a way of its own. The same functions are in `posix`; `kernel` chooses.

Windows renames and removes no file that is open, locks bytes rather than files, and tells little of owners.
"""

from __future__ import annotations

import ctypes
import errno
import msvcrt
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from ctypes import wintypes
from pathlib import Path
from typing import IO, Any

import psutil

assert sys.platform == "win32"

CUDA_DRIVER = "nvcuda.dll"
"""The library of NVIDIA's driver."""

_EXCLUSIVE, _AT_ONCE, _LOCKED = 2, 1, 33
"""LOCKFILE_EXCLUSIVE_LOCK and LOCKFILE_FAIL_IMMEDIATELY of minwinbase.h, ERROR_LOCK_VIOLATION of winerror.h."""

_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries: virus scanners and indexers open what is new, and let go of it soon."""


class _Overlapped(ctypes.Structure):
    """OVERLAPPED of minwinbase.h: says where in a file."""

    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    "conin$",
    "conout$",
    *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789"),
}


def longest_path() -> int:
    """Return the most bytes of a path, with room for what is beside it or in it: MAX_PATH is 260 by default."""
    return 32_000 if ctypes.WinDLL("ntdll").RtlAreLongPathsEnabled() & 1 else 200


def fault_of_name(name: str) -> str:
    """Return what keeps a name from being a file's, empty where nothing does.

    A colon would lead to a stream beside the file that nobody sees, a device would swallow what is written to it.
    """
    if found := next((each for each in name if each in '<>:"/\\|?*' or each < " "), ""):
        return f"has {found!r} in its name, which no file on Windows has"
    if name.partition(".")[0].rstrip().lower() in _DEVICES:
        return "is the name of a device on Windows"
    if name != name.rstrip(". "):
        return "ends in a dot or a space, which Windows leaves out"
    return ""


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file among processes until it is closed; return whether no other process holds the lock.

    A lock ends with its process, so a killed one leaves none behind. Raises OSError on a file system without locks.
    """
    try:
        _lock(file, _EXCLUSIVE | _AT_ONCE)
    except OSError as error:
        if error.winerror == _LOCKED:
            return False
        raise
    return True


def wait_for_lock(file: IO[Any]) -> None:
    """Lock an open file as `try_lock` does, once no other process holds the lock."""
    _lock(file, _EXCLUSIVE)


def _lock(file: IO[Any], how: int) -> None:
    """Lock a byte that no file is large enough to have: Windows lets nobody else read or write those it locks."""
    place = _Overlapped(offset_high=0x7FFFFFFF)
    handle = wintypes.HANDLE(msvcrt.get_osfhandle(file.fileno()))
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    if not kernel.LockFileEx(handle, how, 0, 1, 0, ctypes.byref(place)):
        raise ctypes.WinError(ctypes.get_last_error())


def take_room(file: IO[bytes], size: int) -> bool:
    """Return False: the room of a disk is not set aside here."""
    return False


def sync_data(file: IO[Any]) -> None:
    """Put the bytes of an open file on the disk."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Do nothing: Windows opens no folder, and keeps a journal of names."""


def set_mode(handle: int, mode: int) -> None:
    """Do nothing: who may read and write is what the folder says."""


def open_no_link(path: Path) -> int:
    """Open a file to read and write, made where it is missing; return its descriptor.

    Raises OSError: ELOOP or EISDIR where the name is that of a link or a folder.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT, 0o600)


def is_own(found: os.stat_result, folder: Path) -> bool:
    """Return True: whose a file is, Python does not tell here."""
    return True


def name_open(file: IO[Any], path: Path, name: Path) -> None:
    """Close the file at `path`, and give it a name, which another may have. Raises OSError where that one is open."""
    file.close()
    try:
        _patiently(lambda: os.replace(path, name))
    except PermissionError as error:
        if not name.exists():
            raise
        raise PermissionError(errno.EACCES, "another program has it open", str(name)) from error


def remove_open(file: IO[Any], path: Path) -> None:
    """Close the file at `path` and remove it, if it is still there and no other process has opened it meanwhile."""
    file.close()
    with suppress(PermissionError):
        _patiently(lambda: path.unlink(missing_ok=True))


def remove_folder_of(file: IO[Any], folder: Path) -> None:
    """Close an open file, and remove the folder in which it lies as far as that can be."""
    file.close()
    with suppress(OSError):
        _patiently(lambda: shutil.rmtree(folder))


def rename_folder(folder: Path, name: Path) -> None:
    """Give a folder a name that nothing has. Raises OSError where a file in it is open."""
    _patiently(lambda: folder.rename(name))


def put_attribute(path: Path, name: str, value: bytes) -> None:
    """Keep something with a file or folder, beside its bytes: a stream of NTFS. Raises OSError where there are none."""
    with _stream(path, name).open("wb") as stream:
        stream.write(value)


def attribute_of(path: Path, name: str) -> bytes:
    """Return what is kept with a file or folder by `put_attribute`.

    Raises OSError: ENOENT where there is no such thing, ENOTSUP where the file system keeps none.
    """
    try:
        return _stream(path, name).read_bytes()
    except OSError as error:
        if error.errno == errno.EINVAL:  # FAT and exFAT know no colon in a name
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(path)) from error
        raise


def _stream(path: Path, name: str) -> Path:
    return Path(f"{path.absolute()}:{name}")  # a name of one letter before a colon would be a drive


def _patiently(act: Callable[[], object]) -> None:
    """Do what an open file stands in the way of, now or within two seconds."""
    for pause in _PAUSES:
        with suppress(PermissionError):
            act()
            return
        time.sleep(pause)
    act()


def peak_memory() -> int:
    """Return the most bytes of memory that this process ever held."""
    return int(psutil.Process().memory_info().peak_wset)
