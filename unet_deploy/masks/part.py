"""The hidden folder beside an OME-Zarr mask in which it grows, and from which a later run goes on.

.mask.zarr.part/
    run.json    what the run is of; the process that is at it holds a lock on it
    tree/       the mask, which is renamed to mask.zarr when it is whole
    named       there when `tree` was renamed, or is about to be: the run as a whole has not ended yet
    old/        what had the mask's name before
    fresh/      the mask without a chunk, until it is on the disk
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from unet_deploy.errors import UsageError
from unet_deploy.masks import Keep
from unet_deploy.masks.unfinished import can_resume, check_record, header_of, key_of, lock
from unet_deploy.system.files import open_own, own_folder
from unet_deploy.system.kernel import remove_folder_of, rename_folder, sync_folder, try_lock
from unet_deploy.system.marks import put_mark

_OURS = ("run.json", "tree", "named", "old", "fresh")


class PartFolder:
    """The unfinished run of one mask, held by this process. `create` makes a mask without a chunk in a new folder.

    Where `keep` and what is there allow it, an earlier run is `resumed`; otherwise `tree` is a new mask.
    Raises UsageError where another process is at it, and as `can_resume`; OSError where it cannot be written.
    """

    def __init__(self, path: Path, keep: Keep, create: Callable[[Path], None]) -> None:
        self._path, self._folder = path, part_of(path)
        self._kept = keep.key is not None
        self.tree = self._folder / "tree"
        self._named = self._folder / "named"
        self._check_folder()
        own_folder(self._folder)
        self._run = open_own(self._folder / "run.json")
        try:
            lock(self._run, path)
            check_record(self._folder / "run.json", self._run)
        except UsageError:
            self._run.close()
            raise
        try:
            self.resumed = self._may_resume(keep)
            if self.resumed:
                self._take_name_back()
            else:
                self._start(header_of(keep.key or {}), create)
        except BaseException:
            self.close()
            raise

    def _check_folder(self) -> None:
        """Raise UsageError where a folder of that name is none of ours: it would be emptied."""
        if self._folder.is_dir() and any(each.name not in _OURS for each in self._folder.iterdir()):
            raise UsageError(f"{self._folder}: the mask would grow here, but this is something else; move it away")

    @property
    def closed(self) -> bool:
        return self._run.closed

    def give_name(self) -> None:
        """Bring the mask to the disk and rename it; what had the name before is kept until `close`."""
        settle(self.tree)
        put_mark(self.tree)
        self._named.touch()
        if self._path.exists():
            shutil.rmtree(self._folder / "old", ignore_errors=True)
            rename_folder(self._path, self._folder / "old")
        rename_folder(self.tree, self._path)

    def close(self, *, ended: bool = False) -> None:
        """Let go. Unless the run has ended, a later one can go on from here, if there is anything to go on from."""
        if self.closed:
            return
        if ended or not (self._kept and self._begun()):
            remove_folder_of(self._run, self._folder)
        self._run.close()

    def _begun(self) -> bool:
        """Whether a chunk is finished, in the tree or under the mask's name."""
        return self._has_name() or has_chunks(self.tree)

    def _has_name(self) -> bool:
        """Whether the tree was renamed by a run that did not end."""
        return self._named.exists() and not self.tree.exists() and self._path.exists()

    def _may_resume(self, keep: Keep) -> bool:
        if keep.key is None or (keep.overwrite and not keep.resume) or not self._begun():
            return False
        return can_resume(
            self._path, self._run.read().decode(errors="replace"), header_of(keep.key), resume=keep.resume
        )

    def _take_name_back(self) -> None:
        if self._has_name():
            rename_folder(self._path, self.tree)
        self._named.unlink(missing_ok=True)

    def _start(self, header: str, create: Callable[[Path], None]) -> None:
        self._named.unlink(missing_ok=True)
        fresh = self._folder / "fresh"
        for folder in (self.tree, fresh):
            if folder.exists():
                shutil.rmtree(folder)
        self._run.seek(0)
        self._run.truncate()
        self._run.write(header.encode())
        self._run.flush()
        create(fresh)
        settle(fresh)
        rename_folder(fresh, self.tree)


def part_of(path: Path) -> Path:
    """The hidden folder of a mask."""
    return path.with_name(f".{path.name}.part")


def has_chunks(tree: Path) -> bool:
    """Whether a chunk of the finest level is finished."""
    return any(each.name.isdigit() and each.is_file() for each in (tree / "0").rglob("*"))


def sweep(path: Path, finish: Callable[[], None]) -> None:
    """Remove the folder of a mask that has its name, which a run left that was killed before its end.

    finish: does what that run did not come to. A folder in which a mask grows stays, by whose run ever: one that has
    its name has left it. So does what another process is at, and what is none of ours.
    """
    folder = part_of(path)
    with suppress(OSError, UsageError):
        names = {each.name for each in folder.iterdir()}
        if names <= set(_OURS) and not folder.is_symlink():
            with open_own(folder / "run.json") as run:
                if try_lock(run) and not has_chunks(folder / "tree"):
                    finish()
                    remove_folder_of(run, folder)


def read_key(path: Path) -> dict[str, Any]:
    """The key of the unfinished run of a mask; empty where there is none that this version could go on from."""
    try:
        return key_of((part_of(path) / "run.json").read_bytes())
    except OSError:
        return {}


def settle(tree: Path) -> None:
    """Bring all of a folder to the disk; what killed processes left of chunks goes."""
    for folder, _, files in os.walk(tree):
        for name in files:
            file = Path(folder, name)
            if file.suffix == ".partial":
                file.unlink()
            else:
                _sync(file)
        sync_folder(Path(folder))


def _sync(path: Path) -> None:
    with path.open("r+b") as file:  # Windows brings only what may be written to the disk
        os.fsync(file.fileno())
