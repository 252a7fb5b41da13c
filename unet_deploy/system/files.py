"""Files that are whole or not there, and that one process writes at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError

_LONGEST_NAME = 255 - len(".12345678.1234.part")
"""Bytes of a file's name: what is written beside it has a longer one."""

_LONGEST_PATH = 4000


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise unless a file may be made under this name.

    Raises UsageError when it exists, is a folder or is too long a name, UnetDeployError where its folder is not there
    or cannot be written to.
    """
    check_length(path)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or give another name")
    if not path.parent.is_dir():
        raise UnetDeployError(f"{path}: there is no folder {path.parent}; make it first")
    check_writable(path)


def check_length(path: Path) -> None:
    """Raise UsageError unless the name, and those of hidden files beside it that begin with it, are short enough."""
    size = len(os.fsencode(path.name))
    if size > _LONGEST_NAME or len(os.fsencode(path.absolute())) > _LONGEST_PATH:
        raise UsageError(f"{path.name[:40]}...: this name of {size} bytes is too long for a file; give a shorter one")


def check_writable(path: Path) -> None:
    """Raise UnetDeployError where nothing can be made beside `path`."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UnetDeployError(f"{path}: its folder cannot be written to; choose another place")


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the name `path` when the block ends without an error.

    What killed processes left of such a file is removed. Raises as `check_free`; an error of the file system becomes
    one line that names `path`.
    """
    check_free(path, overwrite=overwrite)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with file_errors(path), beside.open("wb") as unfinished:
        try:
            with suppress(OSError):  # a file system without locks keeps what is left
                if try_lock(unfinished):
                    _drop_leftovers(path)
            yield beside
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def _drop_leftovers(path: Path) -> None:
    """Remove the unfinished files of `path` that no process holds a lock on any more."""
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError), left.open("rb") as file:
            if try_lock(file):
                left.unlink()


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


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; a system that cannot do that puts them there later."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into one line: ResourceError for a full disk, UnetDeployError otherwise."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{path}: no space left on its disk; free some and run again") from error
        raise UnetDeployError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text; it is read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
