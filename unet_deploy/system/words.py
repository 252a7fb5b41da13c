"""How numbers, and text from outside, look to people: on a terminal and on a page."""

from __future__ import annotations

import unicodedata

from unet_deploy.errors import without_secrets

_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of Unicode: controls, halves of characters (as of a file name that is no UTF-8), separators of lines."""

_TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of writing, so that a name reads as another."""


def visible(text: str) -> str:
    """Return text on one line, with what a terminal would obey, rather than show, as escapes, and without secrets.

    >>> print(visible("a\\nb \\x1b[31m \\u202egpj.exe"))
    a\\nb \\x1b[31m \\u202egpj.exe
    """
    text = without_secrets(text)
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSEEN or each in _TURNING else each
        for each in text
    )


def bytes_text(count: int | float) -> str:
    """Word a number of bytes, in powers of ten.

    >>> bytes_text(1536000)
    '1.54 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def time_text(seconds: float) -> str:
    """Word a time.

    >>> time_text(90)
    '1.5 min'
    """
    for unit, size in (("s", 60), ("min", 60)):
        if seconds < 0.995 * size:
            return f"{seconds:.2g} {unit}"
        seconds /= size
    return f"{seconds:.3g} h"


def milliseconds(seconds: float) -> str:
    """Word a short time."""
    return f"{seconds * 1e3:.4g} ms"
