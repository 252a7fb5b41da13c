"""How far the labels of ISBI 2012 lie from its images, and a copy whose images lie where the labels are.

`python benchmarks/registration.py DATA OUT` measures on slices 0 to 23, moves all images, and leaves the labels alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from unet_deploy.evaluation.displacement import displacement

VOLUME, LABELS = "train-volume.tif", "train-labels.tif"


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    moved = register(source, target)
    print(f"images moved by {moved[0]:.2f} pixels down and {moved[1]:.2f} right: {target}")


def register(source: Path, target: Path) -> tuple[float, float]:
    """Write a registered copy of both stacks into `target`; returns by how many pixels down and right images moved."""
    target.mkdir(parents=True, exist_ok=True)
    images, labels = (tifffile.imread(source / name) for name in (VOLUME, LABELS))
    y, x = np.mean([offset(image, label == 0) for image, label in zip(images[:24], labels[:24], strict=True)], axis=0)
    moved = [ndimage.shift(image.astype(np.float32), (y, x), mode="mirror") for image in images]
    tifffile.imwrite(target / VOLUME, np.clip(np.round(moved), 0, 255).astype(np.uint8))
    tifffile.imwrite(target / LABELS, labels)
    return float(y), float(x)


def offset(image: np.ndarray, membrane: np.ndarray) -> tuple[float, float]:
    """Pixels down and right that bring the darkness of an image onto its membranes: before there is any model."""
    dark = ndimage.gaussian_filter(image, 15, output=np.float32) - ndimage.gaussian_filter(image, 1, output=np.float32)
    inner = (slice(20, -20), slice(20, -20))
    return displacement(np.stack([-dark[inner], dark[inner]]), membrane[inner])


if __name__ == "__main__":
    main()
