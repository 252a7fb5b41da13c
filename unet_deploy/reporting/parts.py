"""What several pages have in common."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import datetime
from time import time

from psutil import Process

from unet_deploy._version import __version__
from unet_deploy.measure.words import card_rows
from unet_deploy.model.card import ModelCard
from unet_deploy.reporting.markup import Markup, element, joined, number
from unet_deploy.system.colours import Colour, class_colour, hex_colour
from unet_deploy.system.machine import peak_memory, processor_name, total_memory, usable_cores
from unet_deploy.system.words import bytes_text, time_text

Cells = Iterable[tuple[str, str]]
"""Names and values; a value that is Markup is taken as it is."""


def section(title: str, *inside: str) -> Markup:
    """Return a part of a page under a heading."""
    return element("section", element("h2", title), *inside)


def facts(rows: Cells) -> Markup:
    """Return a table of names and values."""
    lines = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    return element("table", element("tbody", *lines), class_="facts")


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Return a table with a heading over each column; it scrolls by itself where a screen is narrow."""
    titles = element("tr", *(element("th", each, scope="col") for each in head))
    lines = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    table = element("table", element("thead", titles), element("tbody", *lines), class_="grid")
    return element("div", table, class_="scroll")


def fitting(rows: Iterable[Sequence[str]], room: int) -> list[list[Markup]]:
    """Return the first rows of a table, as many as there is room for. room: in bytes, pictures included."""
    kept, taken = [], 0
    for row in rows:
        cells = [joined(cell) for cell in row]
        taken += sum(len(cell.encode()) + len("<td></td>") for cell in cells)
        if taken > room:
            break
        kept.append(cells)
    return kept


def key_figures(figures: Cells) -> Markup:
    """Return the few numbers that are looked at first."""
    boxes = (element("div", element("dd", value), element("dt", name)) for name, value in figures)
    return element("dl", *boxes, class_="figures")


def note(text: str) -> Markup:
    """Return a line that says how something is to be read."""
    return element("p", text, class_="note")


def warning(*lines: str) -> Markup:
    """Return what is to be seen first."""
    return element("div", *(element("p", line) for line in lines), class_="warning", role="note")


def legend(names: Iterable[tuple[str, Colour]]) -> Markup:
    """Return the names of colours."""
    keys = (element("span", chip(colour), name, class_="key") for name, colour in names)
    return element("p", *keys, class_="legend")


def class_keys(classes: Sequence[str]) -> list[tuple[str, Colour]]:
    """Return the names of classes, but of the background, with their colours, as `legend` takes them."""
    return [(name, class_colour(label)) for label, name in enumerate(classes) if label]


def chip(colour: Colour) -> Markup:
    """Return a small square of a colour."""
    return element("span", class_="chip", style=f"background:{hex_colour(colour)}")


def segmented_by(card: ModelCard, how: str = ".") -> Markup:
    """Return the line that says by what, and how."""
    return element("p", "Segmented by ", element("b", card.name), how, class_="lead")


def card_section(card: ModelCard) -> Markup:
    """Return all that the card of a model says."""
    return section("The model", facts(card_rows(card)))


def process_rows() -> Cells:
    """What the command took so far, its start included."""
    seconds = time() - Process().create_time()
    return [
        ("time of the command", number("seconds", seconds, time_text(seconds))),
        memory_row(peak_memory()),
    ]


def memory_row(peak: int) -> tuple[str, str]:
    """What the process held at most. peak: bytes."""
    return "peak memory", joined(number("peak_bytes", peak, bytes_text(peak)), " of the process")


def machine_rows() -> list[tuple[str, str]]:
    """What it ran on, and when."""
    return [
        ("written", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")),
        ("unet-deploy", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}"),
        ("processor", f"{processor_name()}, {usable_cores()} usable"),
        ("memory of the machine", bytes_text(total_memory())),
    ]
