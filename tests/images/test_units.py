"""Units are those that OME, OME-Zarr and ImageJ have, under all the names that they have there."""

import doctest

import pytest

from unet_deploy.images import units
from unet_deploy.images.units import micrometres_in, seconds_in

OME_LENGTHS = """Ym Zm Em Pm Tm Gm Mm km hm dam m dm cm mm µm nm pm fm am zm ym Å thou li in ft yd mi ua ly pc pt """
OME_TIMES = """Ys Zs Es Ps Ts Gs Ms ks hs das s ds cs ms µs ns ps fs as zs ys min h d """
ZARR_LENGTHS = """
    angstrom attometer centimeter decimeter exameter femtometer foot gigameter hectometer inch kilometer megameter
    meter micrometer mile millimeter nanometer parsec petameter picometer terameter yard yoctometer yottameter
    zeptometer zettameter
"""
ZARR_TIMES = """
    attosecond centisecond day decisecond exasecond femtosecond gigasecond hectosecond hour kilosecond megasecond
    microsecond millisecond minute nanosecond petasecond picosecond second terasecond yoctosecond yottasecond
    zeptosecond zettasecond
"""


def test_examples_are_true():
    assert doctest.testmod(units).failed == 0


def test_no_unit_of_the_specifications_is_missing():
    assert all(micrometres_in(unit) for unit in (OME_LENGTHS + ZARR_LENGTHS).split())
    assert all(seconds_in(unit) for unit in (OME_TIMES + ZARR_TIMES).split())


@pytest.mark.parametrize(
    ("names", "um"),
    [
        (("nm", "nanometer", "nanometers", "NM"), 1e-3),
        (("um", "micron", "Microns", "µm", "\u03bcm", "\\u00B5m", "micrometre", "UM"), 1.0),
        (("mm", "millimeters", "MM"), 1e3),
        (("cm", "centimetres"), 1e4),
        (("m", "meter", "metres"), 1e6),
        (("in", "inch", "inches"), 25_400.0),
        (("Mm", "megameter"), 1e12),
        (("pixel", "pixels", "", "ms", "s", "furlong"), None),
    ],
)
def test_a_unit_has_one_length_under_all_its_names(names, um):
    assert [micrometres_in(name) for name in names] == [um] * len(names)


def test_minutes_are_no_metres():
    assert [seconds_in(name) for name in ("ms", "min", "sec", "seconds", "Ms", "m")] == [1e-3, 60, 1, 1, 1e6, None]
