"""Files that are whole or not there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

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
    """Yields a name beside `path` to write to; it takes the name `path` when the block ends without an error.

    What killed processes left of such a file goes. Raises as `check_free`; an error of the file system becomes one line
    that names `path`.
    """
    check_free(path, overwrite=overwrite)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with file_errors(path), beside.open("wb") as held:
        try:
            with suppress(OSError):  # a file system without locks keeps what is left
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _drop_leftovers(path)
            yield beside
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def _drop_leftovers(path: Path) -> None:
    """Files that nobody holds a lock on any more."""
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def sync_folder(folder: Path) -> None:
    """A name that was given is on the disk; where a system cannot do that, it is later."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of writing `path` into one line: ResourceError for a full disk, UnetDeployError otherwise."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{path}: no space left on its disk; free some and run again") from error
        raise UnetDeployError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as hexadecimal text, read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
