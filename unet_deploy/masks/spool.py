"""Finished blocks of an output, kept beside it until all are there: what a killed run goes on from.

A spool is a line of JSON, which says what the blocks are of, and then one record after another: block number, length,
CRC-32 of the bytes that begins with the number, bytes. A record that was cut short or damaged ends what is believed.
"""

from __future__ import annotations

import contextlib
import stat
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.masks import Keep
from unet_deploy.masks.unfinished import can_resume, check_record, header_of, is_over, key_of, lock
from unet_deploy.system.files import file_errors, open_own
from unet_deploy.system.kernel import remove_open, sync_data, try_lock

_RECORD = struct.Struct("<QII")
_SYNC_SECONDS = 20.0
"""A power cut costs no more than what was computed in this time."""


class Spool:
    """Blocks by number, written once each. It is not safe to use from two threads.

    blocks: how many there can be.
    Raises UsageError where an unfinished run of the same key is there and neither resume nor overwrite was asked for,
    where one of another key was to be resumed, or where another process is at it; UnetDeployError and ResourceError
    where it cannot be written.
    """

    def __init__(self, output: Path, blocks: int, keep: Keep) -> None:
        self._output, self._kept = output, keep.key is not None
        self.path = spool_of(output)
        self._places = np.zeros(blocks, np.int64)
        self._lengths = np.zeros(blocks, np.uint32)
        self.resumed = False
        with file_errors(output):
            self._file = open_own(self.path)
        try:
            lock(self._file, output)
            check_record(self.path, self._file)
            header = header_of(keep.key or {}).encode() + b"\n"
            if keep.key is not None and (keep.resume or not keep.overwrite):
                self._take_over(header, keep.resume)
            if not self.resumed:
                self._start(header)
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def __contains__(self, block: int) -> bool:
        return bool(self._places[block])

    def add(self, block: int, data: bytes) -> None:
        with file_errors(self._output):
            self._file.seek(self._end)
            self._file.write(_RECORD.pack(block, len(data), zlib.crc32(data, block)))
            self._file.write(data)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._file.flush()
                sync_data(self._file)
                self._synced = time.monotonic()
        self._places[block], self._lengths[block] = self._end + _RECORD.size, len(data)
        self._end += _RECORD.size + len(data)

    def get(self, block: int) -> bytes:
        """The bytes of a block that is there. Raises UnetDeployError where something else has cut the file short."""
        place, length = int(self._places[block]), int(self._lengths[block])
        with file_errors(self._output):
            self._file.flush()
            self._file.seek(place)
            data = self._file.read(length)
        if len(data) != length:
            raise UnetDeployError(f"{self._output}: its spool file was cut short by something else; run again")
        return data

    def close(self, *, keep: bool = True) -> None:
        """Let go; with `keep` a later run can go on from here, if there is anything to go on from."""
        with contextlib.suppress(OSError, ValueError):  # what could not be flushed is made again by a resume
            self._file.flush()
        with contextlib.suppress(OSError):  # whatever broke before is what is to be seen
            if not (keep and self._kept and self._places.any()):
                remove_open(self._file, self.path)
        with contextlib.suppress(OSError):
            self._file.close()

    def _start(self, header: bytes) -> None:
        with file_errors(self._output):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)
        self._end = len(header)

    def _take_over(self, header: bytes, resume: bool) -> None:
        """Find the blocks of an unfinished run."""
        found = self._file.readline()
        self._end = len(found)
        if found == header:
            self._scan()
            begun = bool(self._places.any())
        else:
            begun = bool(self._file.read(1))
        self.resumed = begun and can_resume(self._output, _text(found), _text(header), resume=resume)

    def _scan(self) -> None:
        while len(head := self._file.read(_RECORD.size)) == _RECORD.size:
            block, length, checksum = _RECORD.unpack(head)
            data = self._file.read(length)
            if block >= len(self._places) or len(data) != length or zlib.crc32(data, block) != checksum:
                return
            self._places[block], self._lengths[block] = self._end + _RECORD.size, length
            self._end += _RECORD.size + length


def spool_of(output: Path) -> Path:
    """Where the finished blocks of an output wait."""
    return output.with_name(f".{output.name}.spool")


def sweep(output: Path, key: Mapping[str, Any]) -> None:
    """Remove the spool of a run with this in its key that was killed after its output got its name.

    What another process is at stays, and what is another run's or none of ours.
    """
    path = spool_of(output)
    with contextlib.suppress(OSError, UsageError):
        if stat.S_ISREG(path.lstat().st_mode):
            with open_own(path) as file:
                if try_lock(file) and is_over(file.readline(), key):
                    remove_open(file, path)


def read_key(output: Path) -> dict[str, Any]:
    """The key of the unfinished run of an output; empty where there is none that this version could go on from."""
    try:
        with spool_of(output).open("rb") as file:
            return key_of(file.readline())
    except OSError:
        return {}


def _text(header: bytes) -> str:
    return header.decode(errors="replace").rstrip("\n")
