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


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise unless a file may be made under this name: UsageError when it exists, UnetDeployError without a folder."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or give another name")
    if not path.parent.is_dir():
        raise UnetDeployError(f"{path}: there is no folder {path.parent}; make it first")


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
