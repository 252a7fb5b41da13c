"""Files that are whole or not there, and that one process writes at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError
from unet_deploy.system.kernel import (
    fault_of_name,
    is_own,
    longest_path,
    name_open,
    open_no_link,
    remove_open,
    set_mode,
    sync_folder,
    take_room,
    try_lock,
)
from unet_deploy.system.marks import put_mark

_LEFT_OVER = re.compile(r"\d+(\.[0-9a-f]{4})?\.part")
"""How the name of an unfinished file ends, after that of the file and a dot."""

_LONGEST_NAME = 255 - len(".12345678.1234.part")
"""Bytes of a file's name: what is written beside it has a longer one."""


def check_png(path: Path) -> None:
    """Raise UsageError where a picture would have the name of another kind of file."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: is drawn as PNG; give a name that ends in .png")


def check_ends(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Raise UsageError where what is written would have the name of another kind of file.

    what: in the plural. suffixes: that it may have, the usual one first.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: {what} end in {suffixes[0]}; try {path.stem or 'file'}{suffixes[0]}")


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise unless a file may be made under this name.

    Raises UsageError when it exists, is a folder or is too long a name, UnetDeployError where its folder is not there
    or cannot be written to.
    """
    check_name(path)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or give another name")
    if not path.parent.is_dir():
        raise UnetDeployError(f"{path}: there is no folder {path.parent}; make it first")
    check_writable(path)


def check_name(path: Path) -> None:
    """Raise UsageError unless a file can have this name, and hidden files beside it one that begins with it."""
    if fault := fault_of_name(path.name):
        raise UsageError(f"{path}: {fault}; give another name")
    size, whole = len(os.fsencode(path.name)), len(os.fsencode(path.absolute()))
    if size > _LONGEST_NAME:
        raise UsageError(f"{path.name[:40]}...: this name of {size} bytes is too long for a file; give a shorter one")
    if whole > longest_path():
        raise UsageError(f"{path.name[:40]}: its path of {whole} bytes is too long; take a folder of a shorter one")


def check_writable(path: Path) -> None:
    """Raise UnetDeployError where nothing can be made beside `path`."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UnetDeployError(f"{path}: its folder cannot be written to; choose another place")


def check_room(path: Path, *sizes: int) -> None:
    """Raise ResourceError unless files of these bytes can be written beside `path`, all at once.

    Their room is taken for a moment, which sees quotas and limits too; raises as `file_errors`.
    """
    with file_errors(path), ExitStack() as taken:
        for size in sizes:
            file = taken.enter_context(_new_beside(path))
            taken.callback(remove_open, file, Path(file.name))
            _check_free(file, size)


def _check_free(file: IO[bytes], size: int) -> None:
    """Raise OSError unless a disk has room for a file: set aside, or else by what it says is free."""
    if not take_room(file, size) and shutil.disk_usage(file.name).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the name `path` when the block ends without an error.

    Until then its owner alone can read it. What killed processes left of such a file is removed. Raises as
    `check_free`; an error of the file system becomes one line that names `path`.
    """
    check_free(path, overwrite=overwrite)
    with file_errors(path), _new_beside(path) as unfinished:
        beside = Path(unfinished.name)
        mode = os.fstat(unfinished.fileno()).st_mode & 0o777
        try:
            os.chmod(beside, 0o600)
            drop_leftovers(path)
            yield beside
            with beside.open("r+b") as file:
                put_mark(beside)
                set_mode(file.fileno(), mode)
                os.fsync(file.fileno())
            name_open(unfinished, beside, path)
            sync_folder(path.parent)
        finally:
            remove_open(unfinished, beside)


def _new_beside(path: Path) -> IO[bytes]:
    """A new hidden file beside `path`: what has its name already, a link above all, is never opened."""
    while True:
        beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(2)}.part")
        with suppress(FileExistsError):
            file = beside.open("xb")
            if _is_held(file):
                return file
            file.close()


def _is_held(file: IO[bytes]) -> bool:
    """Lock a new file, and say whether it is there still: until then another process may take it for a leftover."""
    with suppress(OSError):  # a file system without locks, where none is taken away
        if not try_lock(file):
            return False
    return os.fstat(file.fileno()).st_nlink > 0


def drop_leftovers(path: Path) -> None:
    """Remove the unfinished files of `path` that no process holds a lock on any more."""
    begins, left_over = f".{path.name}.", list[str]()
    with suppress(OSError):
        left_over = [name for name in os.listdir(path.parent) if name.startswith(begins)]
    for left in (path.with_name(name) for name in left_over if _LEFT_OVER.fullmatch(name, len(begins))):
        with suppress(OSError):
            if stat.S_ISREG(left.lstat().st_mode):
                with open_own(left) as file:
                    if try_lock(file):
                        remove_open(file, left)


def open_own(path: Path) -> IO[bytes]:
    """Open a hidden file of ours to read and write, made where it is missing; its owner alone can read it.

    Raises UsageError where the name is that of something else: a link, a folder, a device, a file that has another
    name too or that is another user's. Raises OSError where it cannot be opened.
    """
    try:
        handle = open_no_link(path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_ours(path) from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or not is_own(found, path.parent):
        os.close(handle)
        raise _not_ours(path)
    with suppress(OSError):
        set_mode(handle, 0o600)
    return os.fdopen(handle, "r+b")


def own_folder(path: Path) -> None:
    """Make a hidden folder of ours, or take the one that is there; its owner alone can look into it.

    Raises UsageError where the name is that of something else: a link, a file, a folder of another user.
    """
    with suppress(FileExistsError):
        path.mkdir(0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or not is_own(found, path.parent):
        raise _not_ours(path)
    with suppress(OSError):
        path.chmod(0o700)


def _not_ours(path: Path) -> UsageError:
    return UsageError(f"{path}: what is finished would be kept here, but this is something else; move it away")


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into one line: ResourceError for a full disk, UnetDeployError otherwise."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise ResourceError(f"{path}: no space left on its disk; free some and run again") from error
        raise UnetDeployError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk is full. NumPy's has no number: it says how much it could not write."""
    if error.errno is None:
        return re.search(r"\d+ requested and \d+ written", str(error)) is not None
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text; it is read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
