"""What a tenth of the annotation is worth: rectangles or strokes of the masks, beside all of them, at equal steps.

`python benchmarks/annotated.py FOLDER... [--steps 600] [--share 0.1] [--seeds 1]`: of every image to train on only a
share of the pixels is annotated, the rest unknown; every fifth image is held back with its whole mask, and scored. What
is in the working folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from elsewhere import go
from record import save

from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.evaluation.split import split
from unet_deploy.evaluation.truths import read_mask
from unet_deploy.images import open_labels

RULE = "every:5"
UNKNOWN = 65535

Known = Callable[[tuple[int, int], float, np.random.Generator], np.ndarray]
"""Where an image of these sides is annotated, bool (H, W): a share of it."""


def rectangle(sides: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """One rectangle of the image's own shape, anywhere in it."""
    known = np.zeros(sides, bool)
    extent = [round(side * share**0.5) for side in sides]
    y, x = (rng.integers(0, side - inner + 1) for side, inner in zip(sides, extent, strict=True))
    known[y : y + extent[0], x : x + extent[1]] = True
    return known


def strokes(sides: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes of a brush seven pixels wide that wander through the image."""
    known, (height, width) = np.zeros(sides, bool), sides
    while known.mean() < share:
        y, x, angle = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(20, 60)):
            angle += rng.normal(0, 0.3)
            y, x = y + 3 * np.sin(angle), x + 3 * np.cos(angle)
            known[max(0, int(y) - 3) : max(0, int(y) + 4), max(0, int(x) - 3) : max(0, int(x) + 4)] = True
    return known


WAYS: dict[str, Known | None] = {"all": None, "rectangles": rectangle, "strokes": strokes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("annotated"))
    asked = parser.parse_args()
    rows: dict[str, Any] = {}
    for folder in asked.folders:
        for name in WAYS:
            for seed in range(asked.seeds):
                model = trained(asked, folder, name, seed)
                held = ["--validation", RULE, "--json", "--no-progress"]
                scored = json.loads(go("evaluate", str(model), str(folder), *held))["overall"]
                rows.setdefault(folder.name, {}).setdefault(name, []).append(scored)
                print(folder.name, name, json.dumps(scored), flush=True)
    save("annotated", {"steps": asked.steps, "share": asked.share, "rows": rows})


def trained(asked: argparse.Namespace, folder: Path, name: str, seed: int) -> Path:
    """The model of a folder whose masks are known so."""
    stem = asked.work / f"{folder.name}-{name}-{asked.steps}-{seed}"
    weights, model = stem.with_suffix(".pt"), stem.with_suffix(".onnx")
    if not model.exists():
        drawn = annotated(folder, stem, WAYS[name], asked.share, seed)
        train = ["--steps", str(asked.steps), "--evaluate-every", str(asked.steps), "--seed", str(seed)]
        train += ["--validation", RULE, "--ignore", str(UNKNOWN), "--width", "16", "--overwrite"]
        go("train", str(drawn), "-o", str(weights), *train)
        go("export", str(weights), "-o", str(model))
    return model


def annotated(folder: Path, copy: Path, where: Known | None, share: float, seed: int) -> Path:
    """A copy of a folder, its masks unknown but for a share of each image that is trained on."""
    pairs = find_pairs(folder)
    shutil.rmtree(copy, ignore_errors=True)
    for kind in ("images", "masks"):
        (copy / kind).mkdir(parents=True)
    _, held = split([pair.name for pair in pairs], RULE)
    rng = np.random.default_rng(seed)
    for at, pair in enumerate(pairs):
        (copy / "images" / pair.image.name).symlink_to(pair.image.resolve())
        numbers = numbers_of(pair)
        if where and at not in held:
            numbers = np.where(where(numbers.shape, share, rng), numbers, np.uint16(UNKNOWN))
        tifffile.imwrite(copy / "masks" / f"{pair.image.stem}.tif", numbers, compression="zlib")
    return copy


def numbers_of(pair: Pair) -> np.ndarray:
    with open_labels(pair.mask) as source:
        return read_mask(source, pair.page).numbers.astype(np.uint16)


if __name__ == "__main__":
    main()
