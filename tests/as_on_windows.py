"""A process in which this system answers as Windows does, where the two differ for us: `pytest -p as_on_windows`.

Modules, names of `os` and files of POSIX alone are not there, an open file is neither renamed nor removed, a folder is
not opened, a file that may only be read is not synced. What is asked of Windows itself is answered by this system.
Other packages are loaded before, and keep what they know.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import importlib
import io
import os
import shutil
import sys
import types
from contextlib import suppress

import psutil
import pytest

OTHERS = (
    *("numpy", "scipy.ndimage", "tifffile", "imagecodecs", "PIL.Image", "typer", "rich.progress", "onnx"),
    *("asyncio", "multiprocessing.pool", "onnxruntime", "openvino", "zarr", "fsspec", "hypothesis", "torch"),
    *("distributed", "pyarrow.csv"),
)

MODULES = ("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog", "posix")

NAMES = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "chown", "fchmod", "fdatasync", "fork"),
    *("getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "getxattr", "killpg", "lchown", "mkfifo"),
    *("nice", "posix_fadvise", "posix_fallocate", "pread", "pwrite", "sched_getaffinity", "sched_setaffinity"),
    *("sendfile", "setsid", "setxattr", "statvfs", "sysconf", "uname", "wait4"),
)

LOCKED = 33
"""ERROR_LOCK_VIOLATION."""


class NoSuchModule:
    """Finds nothing of POSIX."""

    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class Kernel:
    """kernel32, as far as locks go."""

    def LockFileEx(self, handle, how, reserved, low, high, place):  # noqa: N802
        assert (reserved, low, high) == (0, 1, 0)
        try:
            fcntl.flock(handle.value, fcntl.LOCK_EX | (fcntl.LOCK_NB if how & 1 else 0))
        except BlockingIOError:
            return 0
        return 1


class Native:
    """ntdll, where long paths are enabled."""

    def RtlAreLongPathsEnabled(self):  # noqa: N802
        return 1


def windows_error(code):
    error = PermissionError(errno.EACCES, "locked")
    error.winerror = code
    return error


def hidden(path):
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(("/proc/", "/sys/"))


def opened():
    """What this process has open or mapped, without links."""
    for each in LISTDIR("/proc/self/fd"):
        with suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{each}")
    with OPEN("/proc/self/maps") as file:
        for line in file:
            yield line.rstrip("\n")[73:]


def refuse_open(*paths):
    held = set(opened())
    for path in paths:
        whole = os.path.realpath(path)
        if whole in held or any(each.startswith(whole + "/") for each in held):
            raise PermissionError(errno.EACCES, "another handle is open", os.fspath(path))


def without_open_files(function, *, targets=False):
    """A function of `os` on a path, or on two, that Windows refuses where they are open."""

    def asked(path, *others, **options):
        refuse_open(path, *others[:1] if targets else ())
        return function(path, *others, **options)

    return asked


def rename(source, target, **options):
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "exists", os.fspath(target))
    refuse_open(source)
    return RENAME(source, target, **options)


def fsync(handle):
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "may only be read")
    return FSYNC(handle)


def open_handle(path, flags, *rest, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "a folder", os.fspath(path))
    return OPEN_HANDLE(path, flags, *rest, **options)


def open_file(path, *rest, **options):
    if hidden(path):
        raise FileNotFoundError(errno.ENOENT, "not on this system", os.fspath(path))
    if isinstance(path, str | os.PathLike) and ":" in os.path.basename(path):
        return Stream(*os.fspath(path).rsplit(":", 1), *rest[:1])
    return OPEN(path, *rest, **options)


class Stream(io.BytesIO):
    """A stream of NTFS beside a file, kept as an attribute of it."""

    def __init__(self, path, name, mode="r"):
        self._kept = path, f"user.{name}"
        try:
            super().__init__(b"" if "w" in mode else GETXATTR(*self._kept))
        except OSError as error:
            raise FileNotFoundError(errno.ENOENT, "no such stream", path) from error
        self._is_new = "w" in mode

    def close(self):
        if self._is_new and not self.closed:
            SETXATTR(*self._kept, self.getvalue())
        super().close()


class Process:
    """psutil's process, with what it has on Windows."""

    def cpu_affinity(self, cores=None):
        return os_affinity(0) if cores is None else os_pin(0, cores)

    def memory_info(self):
        with OPEN("/proc/self/statm") as file:
            held = int(file.read().split()[1]) * 4096
        return types.SimpleNamespace(rss=held, peak_wset=held)


LISTDIR, OPEN, RENAME, FSYNC, OPEN_HANDLE = os.listdir, io.open, os.rename, os.fsync, os.open
GETXATTR, SETXATTR = os.getxattr, os.setxattr
os_affinity, os_pin, disk_of = os.sched_getaffinity, os.sched_setaffinity, os.statvfs


def disk_usage(path):
    found = disk_of(path)
    return types.SimpleNamespace(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def begin():
    for name in OTHERS:
        with suppress(ImportError):
            importlib.import_module(name)
    memory = psutil.virtual_memory()
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, NoSuchModule())
    os.fsync, os.open, os.rename = fsync, open_handle, rename
    os.replace = without_open_files(os.replace, targets=True)
    os.unlink = os.remove = without_open_files(os.unlink)
    for name in NAMES:
        delattr(os, name)
    os.O_BINARY = os.O_NOINHERIT = 0
    builtins.open = io.open = open_file
    shutil._use_fd_functions, shutil.disk_usage = False, disk_usage
    ctypes.WinDLL = lambda name, use_last_error=False: {"kernel32": Kernel, "ntdll": Native}[name]()
    ctypes.get_last_error, ctypes.WinError = lambda: LOCKED, windows_error
    sys.modules["msvcrt"] = types.SimpleNamespace(get_osfhandle=lambda handle: handle)
    sys.modules["psutil"] = types.SimpleNamespace(
        Process=Process, virtual_memory=lambda: memory, cpu_count=lambda: len(os_affinity(0))
    )
    sys.platform = "win32"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    begin()
