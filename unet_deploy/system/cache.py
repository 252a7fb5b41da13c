"""The folder of what is worth keeping between runs: engines, kernels, and what was proved."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from unet_deploy.errors import UnetDeployError
from unet_deploy.system.files import file_errors, replacing
from unet_deploy.system.kernel import try_lock, wait_for_lock

T = TypeVar("T")


def cache_folder() -> Path:
    """$UNET_DEPLOY_CACHE, or unet-deploy under the user's cache folder. It may not be there yet."""
    given = os.environ.get("UNET_DEPLOY_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unet-deploy"


def key_of(*parts: object) -> str:
    """A short name for what all these parts decide together; they must be plain JSON values.

    >>> key_of("a", 1) == key_of("a", 1), key_of("a", 1) == key_of("a", 2)
    (True, False)
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def only_one(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock on `path` among processes. It ends with the process, so a killed one leaves none behind.

    waiting: called once where another process holds it, before it is waited for.
    """
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("w")
    with lock:
        if not try_lock(lock):
            waiting()
            wait_for_lock(lock)
        yield


def kept(name: str, parse: Callable[[Any], T]) -> T | None:
    """What `keep` wrote down under this name; None where there is nothing that can be read, or that `parse` refuses.

    parse: makes it of the JSON value, or raises ValueError, TypeError, KeyError or OverflowError.
    """
    with suppress(OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return parse(json.loads((cache_folder() / name).read_text()))
    return None


def keep(name: str, plain: Any) -> None:
    """Write a JSON value down in the folder; where that cannot be written to, the next process will not find it."""
    path = cache_folder() / name
    with suppress(UnetDeployError, OSError), only_one(path), replacing(path, overwrite=True) as beside:
        beside.write_text(json.dumps(plain))
