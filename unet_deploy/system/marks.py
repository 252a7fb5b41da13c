"""Marks on files that say which job made them, beside their bytes, where a file system keeps such."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from unet_deploy.system.kernel import attribute_of, put_attribute

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
    if mark := _current.get():
        with suppress(OSError):
            put_attribute(path, _NAME, mark.encode())


def bears(path: Path, mark: str) -> bool:
    """Whether a file or folder carries this mark, or lies where no file can carry one."""
    try:
        return attribute_of(path, _NAME) == mark.encode()
    except OSError as error:
        return error.errno in (errno.ENOTSUP, errno.ENOSYS)
