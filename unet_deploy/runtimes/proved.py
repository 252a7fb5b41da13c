"""What was proved of a runtime on this machine, kept in the cache folder so that it is not asked for again."""

from __future__ import annotations

from functools import partial

from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.request import Opened
from unet_deploy.system.cache import keep, kept


def kept_agreement(key: str) -> Agreement | None:
    """What `keep_agreement` wrote down under this key; None where there is nothing that can be read."""
    return kept(_name(key), Agreement.from_plain)


def keep_agreement(key: str, agreement: Agreement) -> None:
    """Write down in the cache folder that a runtime was compared with its model, so that it is not asked for again.

    Where the folder cannot be written to, it is asked for again by the next process, and holds all the same.
    """
    keep(_name(key), agreement.to_plain())


def opened(runtime: Runtime, key: str) -> Opened:
    """A runtime that is to be proved, unless it was before under this key, which covers all that decides its answer."""
    before = kept_agreement(key)
    return Opened(runtime, None if before and before.holds else partial(keep_agreement, key))


def _name(key: str) -> str:
    return f"proof-{key}.json"
