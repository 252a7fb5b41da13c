"""What stored pixels are when they are looked at: a hash that changes when they do, whatever their times say.

Names, sizes and times tell most changes at no cost. Some tools set times back, so the bytes are looked at as well: all
of them where they are few, otherwise blocks that are spread evenly. Of 100 bytes in three files, where 30 are looked
at in blocks of 5:

    first, 40 bytes    |#####--------------#####------------|
    second, 20 bytes   |--#####------------|
    third, 40 bytes    |--#####--------------#####-----#####|
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np

from unet_deploy.errors import ChangedError, ImageError

WHOLE = 64 << 20
"""Bytes of an image up to which all are looked at: 40 ms, where a CPU takes 10 s to segment them."""

BLOCK = 64 << 10
"""Bytes of a block; so many blocks as fill WHOLE are looked at of a larger image."""

Stamp = tuple[int, int]


def stamp_of(path: Path) -> Stamp:
    """Size and time of a file: when they differ from those before, it is another. Raises OSError."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def state_of_file(path: Path, stamp: Stamp, layout: Callable[[Path], Iterable[bytes]] | None = None) -> str:
    """Return the state of an image in one file, which had this stamp when it was opened.

    layout: what of the file says where its pixels lie, which is looked at where not every byte is.
    Raises ChangedError where it is another file by now, and ImageError where it cannot be read.
    """
    try:
        if stamp_of(path) != stamp:
            raise changed(str(path))
        return state_of_files([path], layout(path) if layout and stamp[0] > WHOLE else ())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def state_of_files(files: Iterable[Path], facts: Iterable[bytes] = ()) -> str:
    """Return a hash of the sizes, times and bytes of files in their order, and of other facts on them.

    Files that are not there are a fact too: chunks that were never written. Raises OSError.
    """
    digest = sha256()
    for fact in facts:
        digest.update(fact)
    there: list[Path] = []
    sizes: list[int] = []
    for file in files:
        try:
            size, modified = stamp_of(file)
        except FileNotFoundError:
            digest.update(b"none;")
            continue
        digest.update(b"%d %d;" % (size, modified))
        there.append(file)
        sizes.append(size)
    for number, blocks in groupby(spread(sizes), key=lambda block: block[0]):
        with there[number].open("rb", buffering=0) as file:
            for _, offset, size in blocks:
                file.seek(offset)
                digest.update(file.read(size))
    return digest.hexdigest()


def spread(sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the blocks to look at, in order: the number of the file, the offset in it, the size.

    >>> list(spread([10, 0, 20]))
    [(0, 0, 10), (2, 0, 20)]
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if total <= WHOLE:
        for number, size in enumerate(sizes):
            for offset in range(0, size, WHOLE // 64):
                yield number, offset, min(WHOLE // 64, size - offset)
        return
    for start in evenly(total - BLOCK + 1, WHOLE // BLOCK):
        number = int(np.searchsorted(ends, start, side="right"))
        offset = start - int(ends[number]) + sizes[number]
        yield number, offset, min(BLOCK, sizes[number] - offset)


def evenly(count: int, most: int) -> list[int]:
    """Return up to so many of the numbers from 0 to `count` - 1, spread evenly, the first and the last among them.

    >>> evenly(3, 10), evenly(100, 4)
    ([0, 1, 2], [0, 33, 66, 99])
    """
    return [int(at) for at in np.linspace(0, count - 1, most)] if count > most else list(range(count))


def changed(name: str) -> ChangedError:
    """The error of an image that is not what it was when it was opened."""
    return ChangedError(f"{name}: was changed while it was read, so nothing is made of it; run again when it is whole")
