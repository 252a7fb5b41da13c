"""What a stored number of a picture means: the one place where colour tables, min-is-white and alpha are weighed.

Some programs write them to say how numbers are to be shown, others to say what they are. A table whose colours get
brighter step by step is a scale that intensities are shown on (a LUT); a table in any other order is the palette of a
colour picture. ImageJ and Fiji always mean the first. In a mask, the stored numbers are labels whatever stands beside.

Alpha says how much of a pixel is there, and is never an intensity; where it is 0 there is no data. A sample is alpha
only where the file says so: others beyond grey, or red, green and blue, are channels like these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Palette = Literal["auto", "index", "colour"]
"""How a picture with a colour table is read: by the rule above, as its stored numbers, or as their colours."""

Meaning = Literal["auto", "index", "colour", "labels"]
"""The same, and labels: numbers of classes or objects, as they are stored."""

UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2
"""Kinds of samples beyond the first ones of a pixel (TIFF 6.0, ExtraSamples): a channel, and two kinds of alpha.

Of the first kind of alpha the colours are stored multiplied by it.
"""

MOST_STEP = 0.1
"""Share of full brightness by which neighbours in a LUT differ at most, in each of red, green and blue."""


@dataclass(frozen=True)
class Stored:
    """How a file says that its numbers are stored."""

    bits: int
    """Of a number."""
    table: np.ndarray | None = None
    """(3, entries) uint16, the red, green and blue of each number; None where numbers are grey values or samples."""
    white_is_zero: bool = False
    unsigned: bool = True
    """Whether numbers are whole and none is negative: of others nobody says which is black."""
    shown_only: bool = False
    """Whether it is of a program that writes them only to show pictures by: ImageJ and Fiji, tables Bio-Formats too."""
    samples: int = 1
    """Of a pixel."""
    extra: tuple[int, ...] = ()
    """The kinds of the last of them."""
    bands: str = ""
    """What the first of them are, where it is neither grey nor red, green and blue."""


@dataclass(frozen=True)
class Samples:
    """What becomes of stored numbers."""

    colours: np.ndarray | None = None
    """(C, entries) uint8 or uint16, where numbers stand for colours or greys."""
    white: int | None = None
    """What numbers are taken from, where 0 is white."""
    note: str = ""
    bands: str = ""
    """What the channels are, where that is neither grey nor red, green and blue."""
    channels: tuple[int, ...] = (0,)
    """Which samples of a pixel are grey values, colours or labels."""
    alpha: int | None = None
    """Which of them says how much of the pixel is there, if one does; where it is 0 nothing is."""
    full: int | None = None
    """What alpha is where all of a pixel is there, as an integer whose colours are multiplied by it.

    None where they are not.
    """

    @property
    def count(self) -> int:
        """How many channels there are."""
        return len(self.channels) if self.colours is None else len(self.colours)

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Turn stored numbers (samples, h, w) into grey values, colours or labels (channels, h, w)."""
        numbers = stored[list(self.channels)] if len(self.channels) < len(stored) else stored
        if numbers.dtype.kind == "b":
            numbers = numbers.astype(np.uint8)
        if self.colours is not None:
            return self.colours[:, numbers[0]]
        if self.alpha is not None and self.full:
            numbers = _divided(numbers, stored[self.alpha], self.full)
        if self.white is not None:
            return numbers.dtype.type(self.white) - numbers
        return numbers

    def value(self, stored: float) -> float | None:
        """Turn one stored number into what `values` makes of it; None where that is a colour."""
        if self.colours is not None:
            return None
        return stored if self.white is None else self.white - stored


def meaning_of(stored: Stored, meaning: Meaning) -> Samples:
    """Decide what becomes of the numbers of a picture."""
    if meaning == "labels":
        return _with_alpha(Samples(), stored, used=False)
    return _with_alpha(_of_numbers(stored, meaning), stored, used=True)


def _with_alpha(samples: Samples, stored: Stored, *, used: bool) -> Samples:
    """Say which of the samples of a pixel are channels, and which is alpha; of labels alpha is not used."""
    first = stored.samples - len(stored.extra)
    alphas = [at for at, kind in enumerate(stored.extra, start=first) if kind in (PREMULTIPLIED, ALPHA) and at > 0]
    channels = tuple(at for at in range(stored.samples) if at not in alphas)
    bands = f"its channels are {stored.bands}" if stored.bands else ""
    if not alphas or not used:
        said = "its alpha is not used" if alphas else ""
        note = "; ".join(filter(None, (samples.note, bands, said)))
        return replace(samples, channels=channels, bands=stored.bands, note=note)
    premultiplied = stored.extra[alphas[0] - first] == PREMULTIPLIED
    said = "where its alpha is 0 there is no data" + (", and colours are divided by it" if premultiplied else "")
    return replace(
        samples,
        channels=channels,
        bands=stored.bands,
        alpha=alphas[0],
        full=2**stored.bits - 1 if premultiplied else None,
        note="; ".join(filter(None, (samples.note, bands, said))),
    )


def _divided(colours: np.ndarray, alpha: np.ndarray, full: int) -> np.ndarray:
    """Return colours (channels, h, w) as they were before they were multiplied by alpha (h, w); 0 where it is 0.

    >>> _divided(np.array([[[100, 50, 0]]], np.uint8), np.array([[255, 51, 0]], np.uint8), 255).tolist()
    [[[100, 250, 0]]]
    """
    if colours.dtype.kind not in "uf":
        return colours
    most = 1.0 if colours.dtype.kind == "f" else float(full)
    if (alpha == most).all():
        return colours
    share = np.where(alpha > 0, alpha, np.inf) / most
    whole = colours / share
    if colours.dtype.kind == "f":
        return whole.astype(colours.dtype)
    return np.minimum(np.rint(whole), most).astype(colours.dtype)


def _of_numbers(stored: Stored, meaning: Meaning) -> Samples:
    """Decide what single numbers of an image are."""
    turned = stored.white_is_zero and stored.unsigned and not stored.shown_only
    white = 2**stored.bits - 1 if turned else None
    if stored.table is None:
        inverted = stored.white_is_zero and not turned
        return Samples(white=white, note="it is shown inverted; its numbers are read as stored" if inverted else "")
    if meaning == "index" or (meaning == "auto" and _is_shown_by(stored, stored.table)):
        taken = "its colours are taken for a scale to show it by (--palette colour reads them)"
        return Samples(note="" if meaning == "index" or _is_plain(stored.table) else taken)
    colours = _narrow(stored.table)
    taken = "its numbers stand for the colours of a table (--palette index reads the numbers)"
    return Samples(colours, note=taken if meaning == "auto" and len(colours) == 3 else "")


def is_lut(table: np.ndarray) -> bool:
    """Return whether the colours of a table (3, entries) uint16 get brighter from each to the next, in small steps.

    Brightness is luma (ITU-R BT.601). A ramp of one hue is such a table, and so are fire, viridis and a narrowed
    window of greys; the palettes of photographs and of labels are not.

    >>> green = np.zeros((3, 256), np.uint16)
    >>> green[1] = np.arange(256) * 257
    >>> is_lut(green), is_lut(green[:, ::-1])
    (True, False)
    """
    colours = table.astype(np.float64) / 65535
    luma = np.array([0.299, 0.587, 0.114]) @ colours
    brighter = (np.diff(luma) >= -1 / 255).all() and luma[-1] > luma[0] and luma[-1] >= luma.max() - 1 / 255
    return bool(brighter and np.abs(np.diff(colours)).max() <= MOST_STEP)


def _is_shown_by(stored: Stored, table: np.ndarray) -> bool:
    """Return whether a table is how numbers are shown, and not what they are.

    Few greys in order are those of a picture that was packed; a window of greys has an entry for every number.
    """
    if stored.shown_only:
        return True
    packed = (table == table[0]).all() and table.shape[1] < 2**stored.bits
    return is_lut(table) and not packed


def _is_plain(table: np.ndarray) -> bool:
    """Return whether a table only says that each number is itself, as a grey."""
    ramp = np.linspace(0, 65535, table.shape[1])
    return bool((np.abs(table - ramp) < 257).all())


def _narrow(table: np.ndarray) -> np.ndarray:
    """Return a table as (3, entries) uint8 or uint16 colours, (1, entries) where all are grey."""
    colours = np.asarray(table, np.uint16)
    if (colours == colours[0]).all():
        colours = colours[:1]
    # 8-bit colours are stored times 257 (TIFF 6.0, ColorMap).
    return (colours >> 8).astype(np.uint8) if (colours % 257 == 0).all() else colours
