"""How a model does on images of laboratories that it never met: each data set is held out whole, in turn.

`python benchmarks/elsewhere.py FOLDER FOLDER FOLDER... [--steps 3000] [--seed 0]`: trains on all folders but one and
scores the one left out as `unet-deploy segment` would with no option. Threshold, splitting, least size and holes are
chosen on the other sets, by models that were not trained on them, or with `--decision MODEL` are those of a model's
card. `--beside MODEL...` scores others on the same images, `--picture` draws what the first of them does worst, before
and after. What is in the working folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from record import save, unet_deploy
from strangers import draw_strangers, pair_of

from unet_deploy.evaluation.answers import Folder, see
from unet_deploy.evaluation.calibration import Seen, calibrate
from unet_deploy.evaluation.record import record_decision
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.zoo import card_of

RECIPE = ("--diameter", "28", "--elsewhere", "0.3", "--augmentation", "3", "--validation", "every:10")
"""Of `unet-deploy train`: every tenth image tells how training goes, and chooses nothing that is scored."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--classes", default="background,nucleus")
    parser.add_argument("--weights", type=lambda text: text.split(","), help="of the folders, as `train` takes them")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("elsewhere"))
    parser.add_argument("--hold-out", nargs="*", help="names of the sets to hold out in turn; by default each")
    parser.add_argument("--decision", type=Path, help="the model whose decision is taken, instead of choosing one")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="models that are scored as they are")
    parser.add_argument("--picture", type=Path, help="a PNG of the worst images, which wants --beside")
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    held = [each for each in asked.folders if not asked.hold_out or each.name in asked.hold_out]
    models = {folder: trained(asked, folder) for folder in held}
    seen = {} if asked.decision else {folder: seen_by(model, folder) for folder, model in models.items()}
    rows: dict[str, Any] = {}
    for folder, model in models.items():
        others = [each for other in seen if other != folder for each in seen[other]]
        decision = card_of(asked.decision or model).decision
        rows[folder.name] = scored(model, folder, calibrate(others, decision).decision if others else decision)
        rows[folder.name]["beside"] = {each.stem: evaluated(each, folder)["overall"] for each in asked.beside}
        print(folder.name, json.dumps(rows[folder.name], indent=1), flush=True)
    figures = {"width": asked.width, "steps": asked.steps, "seed": asked.seed, "rows": rows}
    save(f"elsewhere-{asked.width}-{asked.steps}", figures)
    if asked.picture and asked.beside:
        draw(asked.picture, asked.beside[0], models)


def draw(path: Path, before: Path, models: dict[Path, Path]) -> None:
    """The image of each set that a model does worst, and what the model of the other sets makes of it."""
    rows = []
    for folder, model in models.items():
        images = evaluated(before, folder)["images"]
        worst = min(images, key=lambda name: images[name]["f1"])
        rows.append((pair_of(folder, worst), (before, decided_file(model))))
    draw_strangers(path, rows, (before.stem, "of the other sets"))


def trained(asked: argparse.Namespace, held: Path) -> Path:
    """The model of all folders but one."""
    stem = asked.work / f"without-{held.name}-{asked.width}-{asked.steps}-{asked.seed}"
    model = stem.with_suffix(".onnx")
    if not model.exists():
        others = [str(each) for each in asked.folders if each != held]
        weights_of = dict(zip(asked.folders, asked.weights or ["1"] * len(asked.folders), strict=True))
        train = ["--classes", asked.classes, "--width", str(asked.width), "--steps", str(asked.steps)]
        train += ["--weights", ",".join(weights_of[each] for each in asked.folders if each != held)]
        train += [*RECIPE, "--evaluate-every", str(asked.steps // 2), "--seed", str(asked.seed)]
        weights, checkpoint = stem.with_suffix(".pt"), stem.with_name(f"{stem.name}.checkpoint.pt")
        go("train", *others, "-o", str(weights), *train, *(["--resume"] if checkpoint.exists() else []))
        go("export", str(weights), "-o", str(model))
    return model


def seen_by(model: Path, folder: Path) -> list[Seen]:
    with Models(model, Request(probabilities=True)) as models:
        return see(models, [Folder(folder)])[0]


def scored(model: Path, folder: Path, decided: Decision) -> dict[str, Any]:
    """Scores of a set: as the network says it, at its scale, and decided."""
    row: dict[str, Any] = {"decision": asdict(decided)}
    plain = Decision(diameter=decided.diameter, diameters=decided.diameters)
    for name, decision in (("as it is", UNDECIDED), ("at its scale", plain), ("decided", decided)):
        own = decided_file(model, name)
        record_decision(model, own, decision, overwrite=True)
        row[name] = evaluated(own, folder)["overall"]
    return row


def decided_file(model: Path, how: str = "decided") -> Path:
    return model.with_name(f"{model.stem}-{how.replace(' ', '-')}.onnx")


@cache
def evaluated(model: Path, folder: Path) -> dict[str, Any]:
    """What `unet-deploy evaluate` says of a folder, overall and of each image."""
    return json.loads(go("evaluate", str(model), str(folder), "--json", "--no-progress"))


def go(*arguments: str) -> str:
    return subprocess.run(unet_deploy(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
