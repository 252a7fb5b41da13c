"""Read a report as a program does, and hold it to what every page promises."""

import re
from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"br", "img", "meta", "wbr"}
KNOWN = EMPTY | {"html", "head", "title", "style", "body", "main", "h1", "h2", "p", "b", "code", "span", "div"}
KNOWN |= {"dl", "dt", "dd", "section", "figure", "figcaption", "footer", "data"}
KNOWN |= {"table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "circle", "polyline", "text"}


class Page(HTMLParser):
    """The numbers of a page by name, its text, and its elements, which close in order."""

    def __init__(self, source):
        super().__init__()
        self.numbers, self.elements, self.texts = {}, [], []
        self._open, self._goes_on = [], False
        self.source = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        self.feed(self.source)
        assert not self._open, self._open
        assert self.source.startswith("<!doctype html>")
        assert [
            said for tag, said in self.elements if tag == "meta" and "default-src 'none'" in said.get("content", "")
        ]
        assert len(self.source.encode()) < 5e6
        self._hold_to_promises()

    def _hold_to_promises(self):
        for tag, attributes in self.elements:
            assert tag in KNOWN, tag
            assert not [name for name in attributes if name.startswith("on") or name in ("href", "action")]
            assert attributes.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
            assert tag != "img" or attributes["alt"]
        styles = re.findall(r"<style>(.*?)</style>", self.source, re.DOTALL)
        assert len(styles) == 1
        assert "url(" not in styles[0]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._goes_on = tag == "wbr"
        if tag not in EMPTY:
            self._open.append(tag)
        if tag == "data":
            said = dict(attributes)
            self.numbers.setdefault(said["data-name"], []).append(float(said["value"]))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._goes_on:
            data = self.texts.pop() + data
        self._goes_on = False
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)

    def number(self, name):
        """The only number of a name, however often it is said."""
        (value,) = {*self.numbers[name]}
        return value

    def pictures(self):
        return [attributes for tag, attributes in self.elements if tag == "img"]
