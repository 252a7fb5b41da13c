"""What is the same for every way of keeping the finished blocks of a mask: whose they are, and who may go on.

A record begins with the key of its run as JSON, which says what must be the same for another run to go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from unet_deploy.errors import UsageError
from unet_deploy.system.kernel import try_lock

KEY_VERSION = 3
"""Of what the keys of all runs mean. It counts up when what is kept can no longer be gone on from."""

_VERSION = "version of the record"

_ANEW = "start anew with --overwrite in place of --resume"


def header_of(key: Mapping[str, Any]) -> str:
    """A key as a record has it, on one line."""
    return json.dumps({**key, _VERSION: KEY_VERSION}, sort_keys=True)


def key_of(header: str | bytes) -> dict[str, Any]:
    """The key that a record begins with; empty where that is none of this version."""
    try:
        key = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return key if isinstance(key, dict) and key.pop(_VERSION, None) == KEY_VERSION else {}


def is_over(header: bytes, key: Mapping[str, Any]) -> bool:
    """Whether no later run goes on from a record, when all is made of what has this in its key.

    It is of such a run, or of one that keeps nothing, or was not begun.
    """
    ours = json.loads(json.dumps(key))
    return header.strip() in (b"", header_of({}).encode()) or ours.items() <= key_of(header).items()


def lock(file: IO[Any], output: Path) -> None:
    """Keep other processes off an unfinished output. Raises UsageError where one is at it."""
    with suppress(OSError):  # of a file system without locks
        if not try_lock(file):
            raise UsageError(f"{output}: another run is writing it; wait for it, or give another name")


def check_record(path: Path, file: IO[bytes]) -> None:
    """Raise UsageError unless a file is empty or begins as a record does: nobody else's file is written over."""
    begins = file.read(2)
    file.seek(0)
    if begins not in (b"", b"{", b'{"'):
        raise UsageError(f"{path}: what is finished would be kept here, but this is something else; move it away")


def can_resume(output: Path, found: str, wanted: str, *, resume: bool) -> bool:
    """Whether what an unfinished run left, by the header of its record, is what this one would make.

    Raises UsageError where some run could go on from it and this one was not to, and where this one cannot and was.
    """
    theirs, ours = key_of(found), key_of(wanted)
    if resume and found != wanted:
        raise UsageError(f"{output}: the unfinished run {_difference(theirs, ours)}")
    if not resume and (theirs or found == wanted):
        name = _differing(theirs, ours)
        how = f", of another {name}; go on with that and --resume" if name else "; go on with --resume"
        raise UsageError(f"{output}: an unfinished run is kept beside it{how}, or start anew with --overwrite")
    return found == wanted


def _differing(theirs: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first in which a run differs from this one."""
    names = [name for name in ours if theirs.get(name) != ours[name]]
    return "threshold" if "threshold" in names else next(iter(names), None)  # the model's fingerprint follows it


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """How a run differs from this one, and what to do."""
    name = _differing(theirs, ours)
    if not theirs or name is None:
        return f"is of another version of this program, which kept it in another way; {_ANEW}"
    which = f" ({theirs.get(name)})" if name == "runtime" else ""
    return f"had another {name}{which}; resume with the same, or {_ANEW}"
