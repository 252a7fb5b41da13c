"""How numbers, tables and text from outside look on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

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


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first padded to its widest entry; each row stays one line."""
    rows = [(visible(name), visible(value)) for name, value in rows]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def columns(head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """A table with a heading over each column; numbers that are not whole get four decimals."""
    texts = [[f"{cell:.4f}" if isinstance(cell, float) else visible(str(cell)) for cell in row] for row in rows]
    head = list(map(visible, head))
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *texts)]
    return "\n".join("  ".join(line).rstrip() for line in lines)


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
