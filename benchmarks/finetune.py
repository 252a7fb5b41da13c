"""What a few annotated images are worth to a model that never saw their laboratory, beside a training from nothing.

`python benchmarks/finetune.py FOLDER=PARENT... [--images 1 3 5 10] [--minutes 10 or --steps 1300] [--seeds 1]`: PARENT,
a model file, is scored on every third of a folder's images as it is, then after `train --from` on so many of the
others, and on all of them; `train` from nothing has the same images and minutes. With --steps, time is not limited:
`--from` takes its own steps, and a training from nothing these, which is the same on every machine. What was
forgotten is seen on images of another of the folders. What is in the working folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from elsewhere import go
from record import save

from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.zoo import card_of, find_model

MEASURES = ("object F1 at IoU 0.5", "SEG", "Dice of nucleus, mean of images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=lambda text: tuple(map(Path, text.split("="))), nargs="+")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 3, 5, 10])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="from nothing, in place of --minutes")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--no-all", action="store_true", help="leave out the training on all images")
    parser.add_argument("--work", type=Path, default=Path("finetune"))
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    rows: dict[str, Any] = {}
    for folder, parent in asked.sets:
        rows[folder.name] = row = {}
        few, test = parted(asked.work, folder)
        row["parent"] = [scored(parent, test)]
        print(folder.name, "parent", figures(row["parent"][0]), flush=True)
        for count in asked.images + ([] if asked.no_all else [len(few)]):
            some = [few[round(at)] for at in np.linspace(0, len(few) - 1, count)]
            data = subset(asked.work / f"{folder.name}-{count}", some)
            for way, options in (("from", ["--from", str(parent)]), ("nothing", [])):
                if way == "nothing" and count == len(few):
                    continue
                models = [trained(asked, data, way, options, seed) for seed in range(asked.seeds)]
                row[f"{way}, {count} images"] = [scored(model, test) for model in models]
                for each in row[f"{way}, {count} images"]:
                    print(folder.name, way, count, figures(each), flush=True)
        row["forgotten"] = [forgotten(asked, folder, parent)]
        print(folder.name, "forgotten", row["forgotten"], flush=True)
    save("finetune", {"minutes": asked.minutes, "steps": asked.steps, "rows": rows})


def parted(work: Path, folder: Path) -> tuple[list[Pair], Path]:
    """The pairs that may be learned from, and a folder of those that are scored, which are never among them."""
    pairs = find_pairs(folder)
    return [pair for at, pair in enumerate(pairs) if at % 3 != 2], subset(work / f"{folder.name}-test", pairs[2::3])


def subset(copy: Path, pairs: list[Pair]) -> Path:
    """A folder of some pairs."""
    shutil.rmtree(copy, ignore_errors=True)
    for kind in ("images", "masks"):
        (copy / kind).mkdir(parents=True)
    for pair in pairs:
        (copy / "images" / pair.image.name).symlink_to(pair.image.resolve())
        (copy / "masks" / pair.mask.name).symlink_to(pair.mask.resolve())
    return copy


def trained(asked: argparse.Namespace, data: Path, way: str, options: list[str], seed: int) -> Path:
    stem = asked.work / f"{data.name}-{way}-{limit_of(asked)}-{seed}"
    weights, model = stem.with_suffix(".pt"), stem.with_suffix(".onnx")
    if not model.exists():
        limit = ["--max-minutes", str(asked.minutes)] if not asked.steps else []
        limit = ["--steps", str(asked.steps)] if asked.steps and way == "nothing" else limit
        how = ["--classes", "background,nucleus", "--seed", str(seed), "--overwrite"]
        go("train", str(data), "-o", str(weights), *how, *options, *limit)
        go("export", str(weights), "-o", str(model))
    return model


def limit_of(asked: argparse.Namespace) -> str:
    return f"{asked.steps}steps" if asked.steps else f"{asked.minutes:g}"


def scored(model: Path, test: Path) -> dict[str, float]:
    found = json.loads(go("evaluate", str(model), str(test), "--json", "--no-progress"))["overall"]
    return {name: found[name] for name in found if name in MEASURES}


def figures(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def forgotten(asked: argparse.Namespace, folder: Path, parent: Path) -> dict[str, Any]:
    """F1 on a folder that the parent was trained on, or might have been: of the parent, and of what came of it."""
    others = [other for other, _ in asked.sets if other != folder]
    if not others:
        return {}
    kin = subset(asked.work / f"{folder.name}-kin", find_pairs(others[0])[:8])
    children = sorted(asked.work.glob(f"{folder.name}-*-from-{limit_of(asked)}-0.onnx"))
    return {card_of(find_model(model)).name: scored(model, kin) for model in (parent, *children)}


if __name__ == "__main__":
    main()
