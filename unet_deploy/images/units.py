"""Units of length and time, as OME, OME-Zarr and ImageJ name them.

The names are those of the OME schema 2016-06 (UnitsLength, UnitsTime), of OME-Zarr (UDUNITS-2), and ImageJ's.
"""

from __future__ import annotations

_PREFIXES = {
    ("yotta", "Y"): 24,
    ("zetta", "Z"): 21,
    ("exa", "E"): 18,
    ("peta", "P"): 15,
    ("tera", "T"): 12,
    ("giga", "G"): 9,
    ("mega", "M"): 6,
    ("kilo", "k"): 3,
    ("hecto", "h"): 2,
    ("deca", "da"): 1,
    ("", ""): 0,
    ("deci", "d"): -1,
    ("centi", "c"): -2,
    ("milli", "m"): -3,
    ("micro", "µ"): -6,
    ("nano", "n"): -9,
    ("pico", "p"): -12,
    ("femto", "f"): -15,
    ("atto", "a"): -18,
    ("zepto", "z"): -21,
    ("yocto", "y"): -24,
}


def _with_prefixes(name: str, symbol: str, exponent: int) -> dict[str, float]:
    """Return a unit under all its names, in what 10**-exponent of it makes one."""
    units = {}
    for (prefix, letter), power in _PREFIXES.items():
        # From text: the powers of ten that floating point makes are not always the nearest numbers.
        units[prefix + name] = units[letter + symbol] = float(f"1e{power + exponent}")
    return units


_INCH = 25_400.0

_UM = _with_prefixes("meter", "m", 6) | {
    "um": 1.0,
    "micron": 1.0,
    "angstrom": 1e-4,
    "å": 1e-4,
    "Å": 1e-4,
    "thou": _INCH / 1000,
    "mil": _INCH / 1000,
    "pt": _INCH / 72,
    "li": _INCH / 12,
    "in": _INCH,
    "inch": _INCH,
    "inche": _INCH,
    "ft": 12 * _INCH,
    "foot": 12 * _INCH,
    "feet": 12 * _INCH,
    "yd": 36 * _INCH,
    "yard": 36 * _INCH,
    "mi": 63_360 * _INCH,
    "mile": 63_360 * _INCH,
    "ua": 1.495978707e17,
    "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22,
    "parsec": 3.0856775814913673e22,
}

_S = _with_prefixes("second", "s", 0) | {
    "us": 1e-6,
    "sec": 1.0,
    "msec": 1e-3,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
}


def micrometres_in(unit: str) -> float | None:
    """Return the length of a unit in micrometres; None where it is none, as pixels are.

    >>> [micrometres_in(unit) for unit in ("nm", "Microns", "\\\\u00B5m", "millimetre", "inch", "Mm", "pixel")]
    [0.001, 1.0, 1.0, 1000.0, 25400.0, 1000000000000.0, None]
    """
    return _find(unit, _UM)


def seconds_in(unit: str) -> float | None:
    """Return the length of a unit in seconds; None where it is none.

    >>> [seconds_in(unit) for unit in ("ms", "sec", "minutes", "m")]
    [0.001, 1.0, 60.0, None]
    """
    return _find(unit, _S)


def _find(unit: str, units: dict[str, float]) -> float | None:
    """Look a unit up as it is written, where mega and milli differ; then in small letters, as one of several."""
    # ImageJ writes the micro sign as an escape, and Unicode has two of them.
    written = unit.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("μ", "µ")
    small = written.lower().replace("metre", "meter")
    one = small.removesuffix("s") if len(small) > 3 else small  # ms are no metres
    return next((units[name] for name in (written, small, one) if name in units), None)
