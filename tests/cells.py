"""A small data set of round cells, as a person would have it on disk; a conftest makes `folder` a fixture."""

import numpy as np
import pytest
import tifffile


def cells(rng: np.random.Generator, side: int = 90, count: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture (side, side) uint8 and its numbered cells uint16."""
    rows, columns = np.indices((side, side))
    objects = np.zeros((side, side), np.uint16)
    for label in range(1, count + 1):
        y, x, radius = rng.integers(0, side), rng.integers(0, side), rng.integers(5, 11)
        objects[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = label
    picture = 40 + 120 * (objects > 0) + rng.normal(0, 12, objects.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), objects


@pytest.fixture
def folder(tmp_path):
    """images/ and masks/ of six numbered pairs."""
    return drawn(tmp_path / "cells")


def drawn(root):
    """Six annotated images of round cells in a folder that is made; returns it."""
    rng = np.random.default_rng(1)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for at in range(6):
        picture, objects = cells(rng)
        tifffile.imwrite(root / "images" / f"cell{at}.tif", picture)
        tifffile.imwrite(root / "masks" / f"cell{at}.tif", objects)
    return root
