"""Files that are whole or not there, and that one process writes at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from unet_deploy.errors import ResourceError, UnetDeployError, UsageError
from unet_deploy.system.marks import put_mark

_LONGEST_NAME = 255 - len(".12345678.1234.part")
"""Bytes of a file's name: what is written beside it has a longer one."""

_LONGEST_PATH = 4000


def check_png(path: Path) -> None:
    """Raise UsageError where a picture would have the name of another kind of file."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: is drawn as PNG; give a name that ends in .png")


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


def check_room(path: Path, *sizes: int) -> None:
    """Raise ResourceError unless files of these bytes can be written beside `path`, all at once.

    Their room is taken for a moment, which sees quotas and limits too; raises as `file_errors`.
    """
    with file_errors(path), ExitStack() as taken:
        for size in sizes:
            file = taken.enter_context(_new_beside(path))
            taken.callback(Path(file.name).unlink, missing_ok=True)
            _take_room(file, size)


def _take_room(file: IO[bytes], size: int) -> None:
    """Raise OSError unless a disk has room for a file; where it cannot set it aside, by what it says is free."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:
        free = shutil.disk_usage(file.name).free
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        free = shutil.disk_usage(file.name).free
    else:
        return
    if free < size:
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
            with suppress(OSError):  # a file system without locks keeps what is left
                if try_lock(unfinished):
                    drop_leftovers(path)
            yield beside
            with beside.open("rb") as file:
                put_mark(beside)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(beside, path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)


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
    ours = re.compile(re.escape(f".{path.name}.") + r"\d+(\.[0-9a-f]{4})?\.part")
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError):
            if ours.fullmatch(left.name) and stat.S_ISREG(left.lstat().st_mode):
                with open_own(left) as file:
                    if try_lock(file):
                        left.unlink()


def open_own(path: Path) -> IO[bytes]:
    """Open a hidden file of ours to read and write, made where it is missing; its owner alone can read it.

    Raises UsageError where the name is that of something else: a link, a folder, a device, a file that has another
    name too or that is another user's. Raises OSError where it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_ours(path) from None
        raise
    found = os.fstat(handle)
    owners = (os.geteuid(), path.parent.stat().st_uid)  # the folder's, where a server gives all files to one user
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid not in owners:
        os.close(handle)
        raise _not_ours(path)
    with suppress(OSError):
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "r+b")


def own_folder(path: Path) -> None:
    """Make a hidden folder of ours, or take the one that is there; its owner alone can look into it.

    Raises UsageError where the name is that of something else: a link, a file, a folder of another user.
    """
    with suppress(FileExistsError):
        path.mkdir(0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), path.parent.stat().st_uid):
        raise _not_ours(path)
    with suppress(OSError):
        path.chmod(0o700)


def _not_ours(path: Path) -> UsageError:
    return UsageError(f"{path}: what is finished would be kept here, but this is something else; move it away")


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
