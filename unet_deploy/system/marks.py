"""Marks on files that say which job made them, beside their bytes: extended attributes, where there are such."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_NAME = "user.unet_deploy.job"

_current: ContextVar[str] = ContextVar("mark", default="")


@contextmanager
def marking(mark: str) -> Iterator[None]:
    """Let what this thread makes inside the block carry a mark before it gets its name; an empty one is none."""
    token = _current.set(mark)
    try:
        yield
    finally:
        _current.reset(token)


def put_mark(path: Path) -> None:
    """Put the mark of the `marking` around the call on a file or folder, where its file system keeps marks."""
    if (mark := _current.get()) and hasattr(os, "setxattr"):
        with suppress(OSError):
            os.setxattr(path, _NAME, mark.encode())


def bears(path: Path, mark: str) -> bool:
    """Whether a file or folder carries this mark, or lies where no file can carry one."""
    if not hasattr(os, "getxattr"):
        return True
    try:
        return os.getxattr(path, _NAME) == mark.encode()
    except OSError as error:
        return error.errno in (errno.ENOTSUP, errno.ENOSYS)
