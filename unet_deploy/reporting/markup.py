"""Elements of a page as values. What is not made here is text: it is escaped where it enters, and cannot be forgotten.

>>> print(element("p", "a < b, ", element("b", "bold"), class_="note"))
<p class="note">a &lt; b, <b>bold</b></p>
"""

from __future__ import annotations

import re
from html import escape

from unet_deploy.system.words import visible

_EMPTY = frozenset({"br", "img", "meta", "wbr"})
"""Elements that have no inside, and no end."""


class Markup(str):
    """Text that is HTML. All other text is text of people, files and cards."""

    __slots__ = ()


def element(name: str, *inside: str, **attributes: str | float) -> Markup:
    """Return an element. Attributes may end in `_` where Python has the word, and have `_` where HTML has a hyphen."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    said = "".join(f' {key}="{_escaped(str(value))}"' for key, value in named.items())
    if name in _EMPTY:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{joined(*inside)}</{name}>")


def joined(*parts: str) -> Markup:
    """Return parts one after another."""
    return Markup("".join(part if isinstance(part, Markup) else _escaped(part) for part in parts))


def file_name(name: str) -> Markup:
    """Return a name that a line may break after its joints, and not between any two letters.

    >>> print(file_name("plate_7-B.tif"))
    plate_<wbr>7-<wbr>B.<wbr>tif
    """
    first, *more = re.split(r"(?<=[_.-])(?=[^_.-])", name)
    return joined(first, *(part for each in more for part in (element("wbr"), each)))


def number(name: str, value: float, text: str | None = None) -> Markup:
    """Return a number that people read as `text`, and programs as the value of a <data> of this name.

    >>> print(number("objects", 12345, "12 345"))
    <data data-name="objects" value="12345">12 345</data>
    """
    read = f"{value:,}".replace(",", "\u00a0") if text is None else text
    return element("data", read, data_name=name, value=repr(value))


def _escaped(text: str) -> str:
    """Text that ends no element and no attribute, on one line, without secrets and without what turns writing round."""
    return escape(visible(text))
