"""What an earlier page says of images, for a run that goes on and does not segment them again."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

from unet_deploy.reporting.several import Line


def lines_before(page: Path) -> dict[str, tuple[Line, bytes]]:
    """Return the rows of a page of many images, by the name of the image, each with its picture, which may be empty.

    What is no such row is left out.
    """
    reader = _Reader()
    with suppress(OSError, UnicodeDecodeError, AssertionError):  # the last is what a parser may raise for no HTML
        reader.feed(page.read_text(encoding="utf-8"))
    return reader.lines


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, tuple[Line, bytes]] = {}
        self._picture = b""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "tr":
            self._picture = b""
        elif tag == "img":
            _, _, data = (said.get("src") or "").partition("base64,")
            with suppress(ValueError):
                self._picture = b64decode(data, validate=True)
        elif row := said.get("data-line"):
            with suppress(ValueError, TypeError, KeyError):
                line = Line.from_plain(json.loads(row))
                self.lines[line.image] = line, self._picture
