"""Whether a licence goes with that of the model that a training begins with, as far as a name tells."""

from __future__ import annotations

import re

from unet_deploy.model.parent import Parent

_FREE = re.compile(r"\b(CC0|CC-BY|MIT|BSD|APACHE|ISC|UNLICENSE|PDDL|PUBLIC-DOMAIN)\b")
"""That ask for their name at most, which the card of what is made from them keeps."""

_ALIKE = re.compile(r"\b(SA|ODBL|[AL]?GPL|MPL|EPL)(V\d|\b)")
"""That ask for themselves of what is made from them."""


def objection(parent: Parent, license: str) -> str | None:
    """Why a model made from `parent` may not be under `license`, in a line; None where nothing speaks against it.

    license: an SPDX name or expression, or any words; empty for the parent's own.

    >>> objection(Parent("cells", "0" * 64, "CC-BY-NC-4.0"), "MIT")
    "note: model 'cells' is under CC-BY-NC-4.0, which allows no commercial use, and --license says MIT"
    """
    choices = [_objection(choice, license or parent.license) for choice in re.split(r"\s+OR\s+", parent.license)]
    if not parent.license or None in choices:
        return None
    return f"note: model {parent.name!r} is under {parent.license}, {choices[0]}"


def _objection(theirs: str, ours: str) -> str | None:
    """What the first part of a licence says that does not go with ours, as the end of a sentence."""
    return next(filter(None, (_of_part(part, ours) for part in re.split(r"\s+AND\s+", theirs))), None)


def _of_part(theirs: str, ours: str) -> str | None:
    theirs, new = _plain(theirs), _plain(ours)
    if _has("ND", theirs):
        return "which allows nothing that is made from it: ask whose it is before you pass the new one on"
    if _has("NC", theirs) and not _has("NC", new):
        return f"which allows no commercial use, and --license says {ours}"
    if theirs in new:
        return None
    if _ALIKE.search(theirs):
        return f"which asks for the same of what is made from it, and --license says {ours}"
    return None if _FREE.search(theirs) else f"and --license says {ours}: see that the two go together"


def _plain(licence: str) -> str:
    """A name of a licence as SPDX spells it, whether a person put blanks or hyphens."""
    return re.sub(r"[\s_]+", "-", licence.strip(" ()").upper())


def _has(term: str, licence: str) -> bool:
    """Whether a term of Creative Commons is in a licence."""
    return bool(re.search(rf"\b{term}\b", licence))
