"""Histograms, curves and shares, drawn as SVG: their colours are those of the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self

from unet_deploy.reporting.markup import Markup, element, joined
from unet_deploy.system.colours import Colour, hex_colour

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 380, 200, 44, 10, 10, 42
"""Of a chart and of what lies around its field, in units of about a pixel."""
_BINS = 32
_WIDE = 50
"""Times that the largest value is the least from which bins grow with the values: small objects differ as well."""


@dataclass(frozen=True)
class Bins:
    """How many values lie between which: those at an edge count to the bin above it, the largest to the last."""

    edges: np.ndarray
    """(n + 1,) float64."""
    counts: np.ndarray
    """(n,) int64."""
    growing: bool = False
    """Whether each bin is as many times as wide as the one before it."""

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Bins of finite numbers, one at least; they are as wide as each other unless the values span much.

        >>> Bins.of(np.array([1.0, 1.0])).counts.tolist()
        [2]
        """
        low, high = float(values.min()), float(values.max())
        if low == high:
            return cls(np.array([low, high]), np.array([len(values)]))
        growing = low > 0 and high > _WIDE * low
        edges = np.geomspace(low, high, _BINS + 1) if growing else np.linspace(low, high, _BINS + 1)
        edges[0], edges[-1] = low, high
        return cls(edges, np.histogram(values, edges)[0], growing)


def histogram(values: np.ndarray, words: str) -> Markup:
    """Draw how numbers are spread. values: (n,), not all of them need be finite. words: what they are, and their unit.

    Numbers that are not finite are not drawn; where none is left, a line says so.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return element("p", f"No {words} to draw.", class_="note")
    bins = Bins.of(finite)
    field_width, field_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step, most = field_width / len(bins.counts), int(bins.counts.max())
    bars = []
    for at, count in enumerate(bins.counts.tolist()):
        tall = field_height * count / most
        said = f"{bins.edges[at]:.4g} to {bins.edges[at + 1]:.4g}: {count}"
        bars.append(
            element(
                "rect",
                element("title", said),
                x=f"{_LEFT + at * step + 0.5:.1f}",
                y=f"{_TOP + field_height - tall:.1f}",
                width=f"{max(step - 1, 0.5):.1f}",
                height=f"{tall:.1f}",
                class_="bar",
            )
        )
    at_ends = bins.edges[[0, len(bins.edges) // 2, -1]] if len(bins.counts) > 1 else bins.edges[:1]
    places = np.linspace(_LEFT, _WIDTH - _RIGHT, len(at_ends)) if len(at_ends) > 1 else [_LEFT + field_width / 2]
    ticks = [_tick_below(x, f"{edge:.4g}") for x, edge in zip(places, at_ends, strict=True)]
    scale = ", bins that grow" if bins.growing else ""
    return _chart(
        f"Histogram of {words}",
        *_grid([(0, "0"), (1, str(most))]),
        *bars,
        *ticks,
        _words_below(f"{words}{scale}"),
    )


def curve(places: Sequence[float], values: Sequence[float], words: tuple[str, str]) -> Markup:
    """Draw values of 0 to 1 over places that grow. words: of the places, and of the values."""
    first, last = places[0], places[-1]
    xs = [_LEFT + (_WIDTH - _LEFT - _RIGHT) * (place - first) / (last - first) for place in places]
    ys = [_y(value) for value in values]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    points = [
        element(
            "circle",
            element("title", f"{place:.2f}: {value:.4f}"),
            cx=f"{x:.1f}",
            cy=f"{y:.1f}",
            r=3.5,
            class_="point",
        )
        for x, y, place, value in zip(xs, ys, places, values, strict=True)
    ]
    ticks = [_tick_below(x, f"{place:.2g}") for x, place in list(zip(xs, places, strict=True))[::2]]
    return _chart(
        f"{words[1]} over {words[0]}",
        *_grid([(0, "0"), (0.25, ""), (0.5, "0.5"), (0.75, ""), (1, "1")]),
        element("polyline", points=line, class_="line"),
        *points,
        *ticks,
        _words_below(words[0]),
    )


def shares(parts: Sequence[tuple[str, float, Colour | None]]) -> Markup:
    """Draw parts of a whole as one bar. parts: the name, the share (0 to 1) and the colour of each; None for grey."""
    x, drawn = 0.0, []
    for name, share, colour in parts:
        style = {"fill": hex_colour(colour)} if colour else {"class_": "rest"}
        said = element("title", f"{name}: {100 * share:.2f} %")
        drawn.append(element("rect", said, x=f"{x:.3f}", y=0, width=f"{100 * share:.3f}", height=5, **style))
        x += 100 * share
    words = ", ".join(f"{name} {100 * share:.2f} %" for name, share, _ in parts)
    return element(
        "svg",
        *drawn,
        viewBox="0 0 100 5",
        preserveAspectRatio="none",
        class_="shares",
        role="img",
        aria_label=words,
    )


def _chart(said: str, *inside: Markup) -> Markup:
    return element("svg", *inside, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", class_="chart", role="img", aria_label=said)


def _grid(lines: Sequence[tuple[float, str]]) -> list[Markup]:
    """Lines across the field at these heights, 0 the bottom and 1 the top, and what stands beside them."""
    drawn = []
    for at, text in lines:
        y = f"{_y(at):.1f}"
        line = element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid")
        words = element("text", text, x=_LEFT - 6, y=f"{_y(at) + 4:.1f}", text_anchor="end")
        drawn.append(joined(line, words if text else Markup()))
    return drawn


def _y(value: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value)


def _tick_below(x: float, text: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=_HEIGHT - _BOTTOM + 16, text_anchor=_anchor(x))


def _anchor(x: float) -> str:
    """How a text lies about its place, so that it stays in the chart."""
    if x < _LEFT + 8:
        return "start"
    return "end" if x > _WIDTH - _RIGHT - 8 else "middle"


def _words_below(words: str) -> Markup:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return element("text", words, x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="words")
