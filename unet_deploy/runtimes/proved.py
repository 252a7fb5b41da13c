"""What was proved of a runtime on this machine, kept in the cache folder so that it is not asked for again."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

from unet_deploy.errors import UnetDeployError
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.request import Opened
from unet_deploy.system.cache import cache_folder, only_one
from unet_deploy.system.files import replacing


def kept_agreement(key: str) -> Agreement | None:
    """What `keep_agreement` wrote down under this key; None where there is nothing that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return Agreement.from_plain(json.loads((cache_folder() / f"proof-{key}.json").read_text()))
    return None


def keep_agreement(key: str, agreement: Agreement) -> None:
    """Write down in the cache folder that a runtime was compared with its model, so that it is not asked for again.

    Where the folder cannot be written to, it is asked for again by the next process, and holds all the same.
    """
    path = cache_folder() / f"proof-{key}.json"
    with suppress(UnetDeployError, OSError), only_one(path), replacing(path, overwrite=True) as beside:
        beside.write_text(json.dumps(agreement.to_plain()))


def opened(runtime: Runtime, key: str) -> Opened:
    """A runtime that is to be proved, unless it was before under this key, which covers all that decides its answer."""
    kept = kept_agreement(key)
    return Opened(runtime, None if kept and kept.holds else partial(keep_agreement, key))
