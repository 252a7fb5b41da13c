"""Whether `segment` knows a bad mask without a truth: its confidence beside the true F1 of images no model saw.

`python benchmarks/trust.py MODEL:FOLDER... [--bad blur,noise,haze] [--of nuclei]`: each model scores a data set that it
was not trained on, such as those that elsewhere.py leaves, as the card of --of decides; then again with every image
made as bad as --bad says. What a model was never made for can be one of the folders. An image is bad where its F1 at
IoU 0.5 is under 0.6, and warned of where `segment` would.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from record import save
from scipy import ndimage, stats

from unet_deploy.evaluation.answers import Folder, see
from unet_deploy.evaluation.calibration import BAD
from unet_deploy.evaluation.pairs import find_pairs, read_pixels
from unet_deploy.evaluation.record import record_decision
from unet_deploy.evaluation.truths import read_truths
from unet_deploy.model.decision import Decision
from unet_deploy.objects.typical import diameter
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.zoo import card_of, find_model

Harm = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""Takes float32 pixels (h, w), the diameter of their objects in pixels and chance, and makes them worse."""

Judged = tuple[float, float]
"""Confidence and true F1 of an image; an confidence of 0 is one with nothing found."""


def blurred(pixels: np.ndarray, across: float, _: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(pixels, across / 4)


def noisy(pixels: np.ndarray, _: float, chance: np.random.Generator) -> np.ndarray:
    return pixels + chance.normal(0, 0.6 * contrast(pixels), pixels.shape)


def hazy(pixels: np.ndarray, across: float, chance: np.random.Generator) -> np.ndarray:
    dim = 0.3 * pixels + 0.7 * ndimage.gaussian_filter(pixels, across)
    return dim + chance.normal(0, 0.05 * contrast(pixels), pixels.shape)


def contrast(pixels: np.ndarray) -> float:
    return float(np.percentile(pixels, 99.5) - np.percentile(pixels, 5))


HARMS: Mapping[str, Harm] = {"blur": blurred, "noise": noisy, "haze": hazy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", help="MODEL:FOLDER")
    parser.add_argument("--validation", default="", help="FOLDER=RULE: only what the rule holds back of that folder")
    parser.add_argument("--bad", default="blur,noise,haze")
    parser.add_argument("--of", default="nuclei", help="the model whose card decides")
    parser.add_argument("--work", type=Path, default=Path("trust"))
    asked = parser.parse_args()
    decision = card_of(find_model(asked.of)).decision
    rules = dict(each.split("=", 1) for each in asked.validation.split(";") if each)
    rows = dict[str, list[Judged]]()
    for pair in asked.pairs:
        model, folder = map(Path, pair.rsplit(":", 1))
        decided = asked.work / model.name
        asked.work.mkdir(exist_ok=True)
        record_decision(model, decided, decision, overwrite=True)
        for harm in ["", *filter(None, asked.bad.split(","))]:
            place = harmed(folder, harm, asked.work) if harm else folder
            name = f"{folder.name}, {harm}" if harm else folder.name
            rows[name] = judged(decided, Folder(place, validation=rules.get(folder.name)), decision)
            print(name, figures(rows[name], decision.trusted_from), flush=True)
    groups = {
        "images as they are": [each for name, told in rows.items() if ", " not in name for each in told],
        "all": [each for told in rows.values() for each in told],
    }
    found = {name: figures(told, decision.trusted_from) for name, told in (rows | groups).items()}
    save("trust", {"trusted from": decision.trusted_from, "bad": BAD, "rows": found})


def harmed(folder: Path, how: str, work: Path) -> Path:
    """A copy of a data set whose images are worse, made once."""
    copy = work / f"{folder.name}-{how}"
    if not copy.exists():
        for name in ("images", "masks"):
            (copy / name).mkdir(parents=True)
        pairs = find_pairs(folder)
        for at, (pair, truth) in enumerate(zip(pairs, read_truths(pairs, ("background", "object")), strict=True)):
            across = diameter(np.bincount(truth.objects.ravel())[1:]) or 1.0
            worse = HARMS[how](read_pixels(pair)[0].astype(np.float32), across, np.random.default_rng(at))
            tifffile.imwrite(copy / "images" / f"{pair.image.stem}.tif", (worse - worse.min()).astype(np.float32))
            shutil.copy(pair.mask, copy / "masks")
    return copy


def judged(model: Path, folder: Folder, decision: Decision) -> list[Judged]:
    with Models(model, Request(probabilities=True)) as models:
        seen = see(models, [folder])[0]
    return [(each.confidence(decision), each.f1(decision)[0]) for each in seen]


def figures(told: list[Judged], trusted_from: float) -> dict[str, float | None]:
    """How well the confidence of images tells their F1; None where there are too few to say."""
    sure, f1 = np.array(told).T
    bad, warned = f1 < BAD, sure < trusted_from
    return {
        "images": len(told),
        "F1, mean": float(f1.mean()),
        "confidence, median": float(np.median(sure)),
        "Spearman": float(stats.spearmanr(sure, f1)[0]) if f1.std() and sure.std() else None,
        "bad": int(bad.sum()),
        "bad, warned of": int((bad & warned).sum()),
        "good, warned of": int((~bad & warned).sum()),
    }


if __name__ == "__main__":
    main()
