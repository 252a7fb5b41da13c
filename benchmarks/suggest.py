"""Whether the regions that `unet-deploy suggest` says teach a model more than as many drawn at random.

`python benchmarks/suggest.py MODEL FOLDER [--number 5] [--side PIXELS] [--seeds 0,1,2] [--steps 300]`: of a data set
that the model was not trained on, every third image is scored, and every fourth of the others, annotated whole, tells
how training goes. Of the rest so many regions are annotated, suggested or at random among those with something in them,
and all around is ignored; `unet-deploy train --from MODEL` learns from these, with each seed. What is in the working
folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from record import save, unet_deploy

from unet_deploy.cli.text import columns
from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.evaluation.split import split
from unet_deploy.evaluation.truths import read_truths
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.suggestion.run import Suggestion, Wanted, suggest
from unet_deploy.zoo import find_model

IGNORED = 65535
SCORES = ("Dice of nucleus, mean of images", "object F1 at IoU 0.5", "SEG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=5, help="regions")
    parser.add_argument("--side", type=int, help="of a region, in pixels of the image; by default as suggest says")
    parser.add_argument("--seeds", type=lambda text: list(map(int, text.split(","))), default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--from-nothing", action="store_true", help="train a new network instead, of width 16")
    parser.add_argument("--work", type=Path, default=Path("suggested"))
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    pool, validation, test = parted(find_pairs(asked.folder))
    written(asked.work / "test", test)
    everything = regions_of(pool, asked.model, Wanted(10**6, asked.side))
    suggested = regions_of(pool, asked.model, Wanted(asked.number, asked.side))
    rows = {"the model as it is": scored(find_model(asked.model), asked.work / "test")}
    for seed in asked.seeds:
        chosen = np.random.default_rng(seed).permutation(len(everything))[: asked.number]
        at_random = [everything[at] for at in chosen]
        for rule, regions in (("suggested", suggested), ("at random", at_random)):
            name = f"{rule}, {seed}"
            data = asked.work / name.replace(", ", "-").replace(" ", "-")
            annotated(data, pool, regions, validation)
            rows[name] = scored(trained(asked, data, validation, seed), asked.work / "test")
            print(name, rows[name], flush=True)
    for rule in ("suggested", "at random"):
        of_rule = [row for name, row in rows.items() if name.startswith(f"{rule}, ")]
        rows[f"{rule}, mean"] = {score: float(np.mean([row[score] for row in of_rule])) for score in SCORES}
    print(columns(["regions, seed", *SCORES], [[name, *row.values()] for name, row in rows.items()]))
    settings = {"folder": asked.folder.name, "number": asked.number, "side": asked.side, "steps": asked.steps}
    save(f"suggest-{asked.folder.name}-{asked.number}", settings | {"rows": rows})


def parted(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Images to annotate parts of, those that tell how training goes, and those that are scored."""
    others, test = split([each.name for each in pairs], "every:3")
    pool, validation = split([pairs[at].name for at in others], "every:4")
    return [pairs[others[at]] for at in pool], [pairs[others[at]] for at in validation], [pairs[at] for at in test]


def regions_of(pool: Sequence[Pair], model: str, wanted: Wanted) -> list[Suggestion]:
    with Models(model, Request(probabilities=True)) as models:
        return suggest([each.image for each in pool], models, wanted)


def annotated(data: Path, pool: Sequence[Pair], regions: Sequence[Suggestion], validation: Sequence[Pair]) -> None:
    """A data set of the images that have regions, known inside these alone, and of whole ones for validation."""
    by_image = {pair.image: [each.region for each in regions if each.image.path == pair.image] for pair in pool}
    written(data, validation)
    for pair in pool:
        if by_image[pair.image]:
            written(data, [pair])
            mask = data / "masks" / f"{pair.image.stem}.tif"
            objects = tifffile.imread(mask)
            known = np.full_like(objects, IGNORED)
            for region in by_image[pair.image]:
                known[region.slices] = objects[region.slices]
            tifffile.imwrite(mask, known)


def written(data: Path, pairs: Sequence[Pair]) -> None:
    """Images, which are links, and their numbered objects."""
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True, exist_ok=True)
    for pair, truth in zip(pairs, read_truths(pairs, ("background", "nucleus")), strict=True):
        link = data / "images" / pair.image.name
        if not link.exists():
            os.symlink(pair.image.resolve(), link)
        tifffile.imwrite(data / "masks" / f"{pair.image.stem}.tif", truth.objects.astype(np.uint16))


def trained(asked: argparse.Namespace, data: Path, validation: Sequence[Pair], seed: int) -> Path:
    weights, model = data.with_suffix(".pt"), data.with_suffix(".onnx")
    if not model.exists():
        held_back = "names:" + ",".join(each.image.stem for each in validation)
        how = ["--classes", "background,nucleus"] if asked.from_nothing else ["--from", str(find_model(asked.model))]
        how += ["--ignore", str(IGNORED), "--mask-kind", "instances", "--validation", held_back, "--seed", str(seed)]
        how += ["--steps", str(asked.steps), "--evaluate-every", str(asked.steps), "--overwrite"]
        go("train", str(data), "-o", str(weights), *how)
        go("export", str(weights), "-o", str(model))
    return model


def scored(model: Path, test: Path) -> dict[str, float]:
    found: dict[str, Any] = json.loads(go("evaluate", str(model), str(test), "--json", "--no-progress"))["overall"]
    return {score: found[score] for score in SCORES}


def go(*arguments: str) -> str:
    return subprocess.run(unet_deploy(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
