"""How tables look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from unet_deploy.system.words import visible


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
