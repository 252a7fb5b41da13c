"""Trains, exports and evaluates: every figure of docs/results.md is from here.

`python benchmarks/quality.py EXPERIMENT DATA [--width 16] [--steps 4000]`: --help names the experiments, DATA is the
folder of the data set. All scores are of the exported model, through the command line. The last step is kept, never the
best on the images that are scored: --evaluate-every is as long as the training. What is in the working folder already
is not made again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from data_sets import AXON_AUGMENTATION, AXONS, DEEPER, DEEPER_TILE, ISBI, NUCLEI, DataSet
from record import save, unet_deploy
from registration import LABELS, VOLUME, register

REGISTERED = "registered images"
# Dice and areas count every pixel alike.
WITHOUT_BORDERS = ["--border-weight", "0"]


def trained_on(data_set: DataSet, *more: str, held_back: str | None = None) -> list[str]:
    """Of `unet-deploy train`."""
    split = ["--validation", held_back or data_set.held_back]
    return [*split, "--classes", ",".join(data_set.classes), "--learning-rate", str(data_set.learning_rate), *more]


EM = ("--pixel-size", "0.004")
AXON = (*WITHOUT_BORDERS, "--augmentation", f"{AXON_AUGMENTATION:g}")
EXPERIMENTS: dict[str, dict[str, list[str]]] = {
    "isbi": {name: trained_on(ISBI, *EM) for name in ("slices 24 to 29", REGISTERED)},
    "folds": {f"fold {k}": trained_on(ISBI, *EM, *WITHOUT_BORDERS, held_back=f"fold:{k}/5") for k in range(1, 6)},
    "axons": {"two images": trained_on(AXONS, *AXON)},
    "axons-deeper": {"two images": trained_on(AXONS, *AXON, "--depth", f"{DEEPER}", "--tile-size", f"{DEEPER_TILE}")},
    "nuclei": {"every tenth image": trained_on(NUCLEI)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("data", type=Path)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("quality"))
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    rows = {}
    for name, options in EXPERIMENTS[asked.experiment].items():
        stem = f"{asked.experiment}-{asked.width}-{asked.steps}-{asked.seed}-{name.replace(' ', '-')}"
        data, moved = asked.data, {}
        if name == REGISTERED:
            data = asked.work / "registered"
            moved = {"images moved down and right, pixels": register(asked.data, data)}
        rows[name] = moved | run_one(asked, data, asked.work / stem, options)
        print(name, json.dumps(rows[name]["tta"], indent=1), flush=True)
    figures = {"width": asked.width, "steps": asked.steps, "seed": asked.seed, "rows": rows}
    save(f"quality-{asked.experiment}-{asked.width}-{asked.steps}", figures)


def run_one(asked: argparse.Namespace, folder: Path, stem: Path, options: list[str]) -> dict[str, Any]:
    em = asked.experiment in ("isbi", "folds")
    data = [str(folder / VOLUME), "--masks", str(folder / LABELS)] if em else [str(folder)]
    weights, model = stem.with_suffix(".pt"), stem.with_suffix(".onnx")
    train = [*data, "-o", str(weights), *options, "--width", str(asked.width), "--steps", str(asked.steps)]
    train += ["--seed", str(asked.seed), "--evaluate-every", str(asked.steps)]
    checkpoint = stem.with_name(f"{stem.name}.checkpoint.pt")
    if not model.exists():
        go("train", *train, *(["--resume"] if checkpoint.exists() else []))
        go("export", str(weights), "-o", str(model))
    validation = ["--validation", options[options.index("--validation") + 1]]
    metrics = ["--metrics", "all" if em else "overlap,objects", "--json", "--no-progress"]
    command = shlex.join(["unet-deploy", "train", *train])
    row: dict[str, Any] = {"command": command.replace(str(folder), "DATA").replace(f"{stem.parent}/", "")}
    for key, extra in (("once", []), ("tta", ["--tta"])):
        done = go("evaluate", str(model), *data, *validation, *metrics, *extra)
        row[key] = json.loads(done)["overall"]
    sheet = stem.with_suffix(".png")
    go("evaluate", str(model), *data, *validation, "--tta", "--plot", str(sheet), "--overwrite")
    return row


def go(*arguments: str) -> str:
    return subprocess.run(unet_deploy(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
