"""What a mask takes over from its image is tried out when the image is opened: no finished mask fails on a tag."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from tifffile import TiffWriter

_NAMES = {274: "the orientation"}


def writable(tags: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return those of the tags, as tifffile writes them, that can be written, and names of the others."""
    if not tags or _can_write(tags):
        return tags, []
    kept: dict[str, Any] = {}
    lost = []
    for name, part in _parts(tags):
        if not _can_write(part):
            lost.append(name)
        elif "extratags" in part:
            kept.setdefault("extratags", []).extend(part["extratags"])
        else:
            kept.update(part)
    return kept, lost


def lost_note(lost: list[str]) -> str:
    """Say what does not go to the mask; empty where all does."""
    return f"the mask cannot take over {', '.join(lost)}" if lost else ""


def _parts(tags: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what can be written without the rest, each with a name for people."""
    if "resolution" in tags:
        yield "the resolution", {key: tags[key] for key in ("resolution", "resolutionunit") if key in tags}
    if "iccprofile" in tags:
        yield "the colour profile", {"iccprofile": tags["iccprofile"]}
    for tag in tags.get("extratags", ()):
        yield _NAMES.get(tag[0], f"its place on Earth (tag {tag[0]})"), {"extratags": [tag]}


def _can_write(tags: dict[str, Any]) -> bool:
    """Return whether a small mask with these tags can be written."""
    try:
        with TiffWriter(BytesIO(), bigtiff=False) as tiff:
            tiff.write(np.zeros((16, 16), np.uint8), photometric="minisblack", tile=(16, 16), metadata=None, **tags)
    except Exception:  # whatever the writer says of a value, it says it now
        return False
    return True
