"""No output is an input: names compared through links, hard links and other spellings."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from unet_deploy.errors import UsageError
from unet_deploy.images import is_url

_LABELS = "labels"
"""The folder of an OME-Zarr image in which its masks lie, and the only part of an input that outputs go to."""


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path] = ()) -> None:
    """Raise UsageError where an output is an input, lies in one or holds one, and where two outputs are one file.

    Links, hard links, `..` and, where the file system takes them for the same, upper and lower case are seen through;
    the files need not be there. Outputs may lie among the labels of an OME-Zarr image. A URL of a local file is that
    file; other URLs are nobody's output.

    >>> check_apart([Path("mask.tif"), Path("cells.csv")], [Path("slide.tif")])
    >>> check_apart([Path("here/../slide.tif")], [Path("slide.tif")])
    Traceback (most recent call last):
        ...
    unet_deploy.errors.UsageError: here/../slide.tif: is what is to be read, and would be lost; give another name
    """
    given: dict[Hashable, Path] = {}
    around: dict[Hashable, Path] = {}
    for path in filter(None, map(_local, inputs)):
        whole = _whole(path)
        given.update(dict.fromkeys(_identities(whole), path))
        around.update(dict.fromkeys(_above(whole.parent), path))
    taken: dict[Hashable, Path] = {}
    wholes: dict[Path, Path] = {}
    for path in outputs:
        whole = wholes[path] = _whole(path)
        names = _identities(whole)
        if any(name in given for name in names):
            raise UsageError(f"{path}: is what is to be read, and would be lost; give another name")
        if held := around.get(_spelled(whole)):
            raise UsageError(f"{path}: holds the input {held}; give another name")
        _check_outside(path, whole, given)
        for name in names:
            if name in taken:
                raise UsageError(f"{path}: {taken[name]} would be written there too; give each output its own name")
        taken.update(dict.fromkeys(names, path))
    _check_side_by_side(wholes, taken)


def _check_outside(path: Path, whole: Path, given: dict[Hashable, Path]) -> None:
    """Raise UsageError where an output lies in an input, but among its labels."""
    for steps, folder in enumerate(_above(whole.parent)):
        image = given.get(folder)
        if image and (whole.relative_to(whole.parents[steps]).parts[0] != _LABELS or steps == 0):
            raise UsageError(f"{path}: lies in the input {image}; give another place")


def _check_side_by_side(wholes: dict[Path, Path], taken: dict[Hashable, Path]) -> None:
    """Raise UsageError where one output lies in another."""
    for path, whole in wholes.items():
        for folder in _above(whole.parent):
            if other := taken.get(folder):
                raise UsageError(f"{path}: lies in {other}, which is written too; give another place")


def _local(path: Path) -> Path | None:
    """The file or folder that an input is; None for a URL of another machine."""
    if not is_url(path):
        return path
    spelled = path.as_posix()
    found = re.match(r"(?:file|local):/+", spelled)
    return Path("/", spelled[found.end() :]) if found else None


def _identities(whole: Path) -> list[Hashable]:
    """What a file is known by: its name without links, and its place on the disk where it is there."""
    return [_spelled(whole), *_inode(whole)]


def _inode(path: Path) -> Iterator[Hashable]:
    with suppress(OSError):
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):  # of /dev/null there is but one
            yield found.st_dev, found.st_ino


def _whole(path: Path) -> Path:
    """A name from the root on, without links; a circle of links ends it and raises nothing."""
    return Path(os.path.realpath(path))


@lru_cache(maxsize=1024)
def _above(folder: Path) -> tuple[str, ...]:
    """A folder and those that it lies in, each as its file system compares it, up to the root."""
    return tuple(map(_spelled, (folder, *folder.parents)))


def _spelled(path: Path) -> str:
    """A name without links as its file system compares it."""
    if not _ignores_case(path.parent):
        return str(path)
    return unicodedata.normalize("NFC", str(path)).casefold()


@lru_cache(maxsize=1024)
def _ignores_case(place: Path) -> bool:
    """Whether a name in other letters is the same; asked of the first folder from here up that can tell."""
    folder = str(place)
    while (above := os.path.dirname(folder)) != folder:
        other = os.path.join(above, os.path.basename(folder).swapcase())
        if other != folder and os.path.exists(folder):
            return os.path.exists(other) and os.path.samefile(other, folder)
        folder = above
    return False
