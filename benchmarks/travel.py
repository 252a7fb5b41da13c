"""What each part of the recipe is worth to laboratories that training never saw: the same training without it.

`python benchmarks/travel.py FOLDER... --held FOLDER... [--steps 1000] [--seeds 1] [--only NAME...]`: trains on the
folders and scores the held ones, whole, as `unet-deploy segment` would with no option. Rows that see images as they are
are scored so too, and take one seed: they differ by far more than seeds do. What is in the working folder is not made
again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from elsewhere import go
from record import save

from trainer.description import ModelDescription
from trainer.export import export
from trainer.recipe import PRESETS, Recipe, tailored
from trainer.sets import DataSet
from trainer.train import train
from unet_deploy.evaluation.record import record_decision
from unet_deploy.zoo import card_of, find_model

DIAMETER = 28.0
THE_RECIPE: Mapping[str, float] = {"strength": 3, "elsewhere": 0.3, "diameter": DIAMETER}
WIDE = 0.6
"""Standard deviation of the logarithm of the zoom: 95 % of the tiles lie between 0.3 and 3.2 times their size."""


def recipe_of(**changes: Any) -> Recipe:
    wanted = {key: value for key, value in {**THE_RECIPE, **changes}.items() if value is not None}
    return tailored(replace(PRESETS["modern"], width=16), **wanted)


def zooming() -> Recipe:
    recipe = recipe_of(diameter=None)
    return replace(recipe, augmentation=replace(recipe.augmentation, scale=WIDE))


ROWS: Mapping[str, Recipe] = {
    "the recipe": recipe_of(),
    "no tile as elsewhere": recipe_of(elsewhere=0.0),
    "augmentation as for one laboratory": recipe_of(strength=1),
    "no rescaling": recipe_of(diameter=None),
    "no rescaling, zoom from 0.3 to 3": zooming(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--held", type=Path, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=ROWS)
    parser.add_argument("--work", type=Path, default=Path("travel"))
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    rows: dict[str, Any] = {}
    for name in asked.only or ROWS:
        for seed in range(asked.seeds if ROWS[name].diameter else 1):
            model = trained(ROWS[name], asked, name, seed)
            for held in asked.held:
                scored = json.loads(go("evaluate", str(model), str(held), "--json", "--no-progress"))["overall"]
                rows.setdefault(name, {}).setdefault(held.name, []).append(scored)
                print(name, held.name, scored["object F1 at IoU 0.5"], flush=True)
    trained_on = [each.name for each in asked.folders]
    save("travel", {"steps": asked.steps, "trained on": trained_on, "rows": rows})


def trained(recipe: Recipe, asked: argparse.Namespace, name: str, seed: int) -> Path:
    """The model of a row, with the decision of the shipped one; its diameter only where it was trained to one.

    Its peak is left out: how sure a network is after so few steps is not what is asked.
    """
    stem = asked.work / f"{name.replace(' ', '-').replace(',', '')}-{asked.steps}-{seed}"
    weights, model = stem.with_suffix(".pt"), stem.with_suffix(".onnx")
    if not model.exists():
        sets = [DataSet(each, validation="every:10") for each in asked.folders]
        description = ModelDescription(classes=("background", "nucleus"))
        wanted = replace(recipe, steps=asked.steps, seed=seed)
        train(sets, weights, wanted, description, evaluate_every=asked.steps, overwrite=True)
        export(weights, model, overwrite=True)
        decided = replace(card_of(find_model("nuclei")).decision, peak=0.0)
        if recipe.diameter is None:
            decided = replace(decided, diameter=None, diameters=None)
        record_decision(model, model, decided, overwrite=True)
    return model


if __name__ == "__main__":
    main()
