"""What tests of drawn shapes share: masks of objects that touch, with holes and in several pieces, and their shapes."""

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_deploy.annotations.shapes import Drawing, Shape

CLASSES = ("background", "nucleus", "debris")
NAMES = ("background", "nucleus", "nucleus", "debris", "nucleus", "debris")
"""The class of each number: objects of one class touch each other, and those of another."""

SQUARE = ((2.0, 2.0), (6.0, 2.0), (6.0, 6.0), (2.0, 6.0))


def numbered_masks():
    """Small masks (H, W) uint8 of numbers in no order, so that most have holes and several pieces."""
    sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
    return sides.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, len(NAMES) - 1)))


def classes_of(numbers):
    """The class index of each number."""
    return np.array([CLASSES.index(name) for name in NAMES], np.uint8)[numbers]


def partition(numbers):
    """The pixels of each object, whatever its number."""
    return {frozenset(np.flatnonzero(numbers == number).tolist()) for number in np.unique(numbers[numbers > 0])}


def drawing(*shapes, size=None):
    """A drawing of shapes, each rings and the name of a class."""
    return Drawing(
        "cells.geojson",
        tuple(
            Shape(f"shape {number}", of, (tuple(np.array(ring, np.float64) for ring in rings),))
            for number, (of, *rings) in enumerate(shapes, 1)
        ),
        size,
    )


def box(left, top, right, bottom):
    """The corners of a rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def feature(of, *rings, kind="annotation"):
    """A polygon of QuPath."""
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]},
        "properties": {"objectType": kind} | ({"classification": {"name": of}} if of else {}),
    }


def write_features(path: Path, *features):
    """Write a collection as QuPath exports it."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path
