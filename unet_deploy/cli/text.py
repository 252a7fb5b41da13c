"""How numbers and tables look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first padded to its widest entry."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def columns(head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """A table with a heading over each column; numbers that are not whole get four decimals."""
    texts = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
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
