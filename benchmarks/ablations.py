"""What each part of the recipe is worth: the same training without it, on ISBI 2012, touching nuclei, and axons.

`python benchmarks/ablations.py isbi|nuclei|axons DATA [--steps 1000] [--only NAME...]`: DATA is the folder of the data
set, split as in data_sets.py; the last step, in PyTorch, without test-time augmentation, all rows alike. `nuclei` also
draws the held-back nuclei that touch most, with and without border weights (--picture). Networks and rows are kept in
--work: what is there is not trained again, and a row whose .json was deleted is scored again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import AXON_AUGMENTATION, AXONS, DEEPER, DEEPER_TILE, ISBI, NUCLEI, DataSet
from record import save
from torch import nn
from touching import draw_touching

from trainer.batches import batches
from trainer.data import Annotated, add_weights, read_annotated
from trainer.places import Places
from trainer.predict import predict
from trainer.recipe import PRESETS, Augmentation, Recipe, tailored
from trainer.run import start
from trainer.step import step
from trainer.unet import UNet
from unet_deploy.evaluation.evaluate import score_labels
from unet_deploy.evaluation.measures import GROUPS, USUAL, Scoring
from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.evaluation.scores import Evaluation
from unet_deploy.evaluation.split import split
from unet_deploy.evaluation.truths import Truth, read_truths
from unet_deploy.model.card import Normalization

BASE = replace(PRESETS["modern"], width=16)
EM = replace(BASE, learning_rate=ISBI.learning_rate)
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "border-weights.png"


class Padded(UNet):
    """The same network of padded convolutions: nothing is lost at its borders, and nothing true is seen beyond."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.padding = (1, 1)

    @property
    def margin(self) -> int:
        return 0

    @property
    def base(self) -> int:
        return self.stride

    def crop(self, level: int) -> int:
        return 0


Answer = Callable[[UNet, Annotated], np.ndarray]
"""Probabilities (K, H, W) of an image."""


def mirrored(network: UNet, each: Annotated) -> np.ndarray:
    return predict(network, each.image, torch.device("cpu")).softmax(0).numpy()


@torch.no_grad()
def zero_bordered(network: UNet, each: Annotated) -> np.ndarray:
    height, width = each.labels.shape
    sides = [-(side - 4) % network.stride for side in (height, width)]
    pads = [(0, 0), *((network.margin, network.margin + more) for more in sides)]
    logits = network.eval()(torch.from_numpy(np.pad(each.image, pads))[None])
    return logits[0, :, :height, :width].softmax(0).numpy()


@torch.no_grad()
def padded(network: UNet, each: Annotated) -> np.ndarray:
    return network.eval()(torch.from_numpy(each.image)[None])[0].softmax(0).numpy()


@dataclass(frozen=True)
class Row:
    """One training, and how its network answers."""

    recipe: Recipe
    network: type[UNet] = UNet
    answer: Answer = mirrored


def both(recipe: Recipe) -> dict[str, Row]:
    return {"the recipe": Row(recipe), "without border weights": Row(replace(recipe, w0=0))}


def axon(strength: float = AXON_AUGMENTATION, **changes: float) -> Row:
    """The recipe of the axons, as in quality.py, but for some changes."""
    return Row(tailored(BASE, strength=strength, **{"learning_rate": AXONS.learning_rate, "w0": 0.0, **changes}))


@dataclass(frozen=True)
class Experiment:
    """A data set, and what is taken from the recipe."""

    data_set: DataSet
    rows: dict[str, Row]
    result: str
    """The name of the result, and of the rows in the working folder."""
    scoring: Scoring = USUAL


EXPERIMENTS = {
    "isbi": Experiment(
        ISBI,
        {
            **both(EM),
            "without elastic deformation": Row(replace(EM, augmentation=Augmentation(elastic=0))),
            "without mirrored borders": Row(
                replace(EM, augmentation=Augmentation(border="zeros")), answer=zero_bordered
            ),
            "AdamW instead of Muon": Row(replace(EM, optimizer="adamw", learning_rate=1e-3)),
            # As many pixels of loss a step as 444 gives, nearly: 260 a side.
            "padded convolutions": Row(replace(EM, tile=256), Padded, padded),
            "width 32": Row(replace(EM, width=32)),
            "width 64": Row(replace(EM, width=64)),
        },
        "ablations",
        scoring=Scoring(frozenset(GROUPS)),
    ),
    "nuclei": Experiment(NUCLEI, both(replace(BASE, learning_rate=NUCLEI.learning_rate)), "border-weights"),
    "axons": Experiment(
        AXONS,
        {
            "the recipe": axon(),
            "augmentation as for other images": axon(strength=1),
            "with border weights": axon(w0=BASE.w0),
            "one level deeper": axon(depth=DEEPER, tile=DEEPER_TILE),
        },
        "axon-recipe",
    ),
}


@dataclass(frozen=True)
class Data:
    """A data set in memory. Truths are those of the images that are held back, objects that touch left as they are."""

    classes: tuple[str, ...]
    train: list[Annotated]
    validation: list[Annotated]
    pairs: list[Pair]
    truths: list[Truth]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--work", type=Path, default=Path("quality"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args()
    experiment = EXPERIMENTS[asked.experiment]
    if unknown := set(asked.only or ()) - experiment.rows.keys():
        parser.error(f"--only: there are {', '.join(map(repr, experiment.rows))}, not {unknown.pop()!r}")
    data = read(asked.data, experiment.data_set)
    asked.work.mkdir(exist_ok=True)
    networks: dict[str, UNet] = {}
    rows: dict[str, Any] = {}
    for name in asked.only or experiment.rows:
        row, stem = experiment.rows[name], f"{experiment.result}-{asked.steps}-{name.replace(' ', '-')}"
        figures = asked.work / f"{stem}.json"
        if not figures.exists() or asked.experiment == "nuclei":
            networks[name], seconds = trained(asked.work / f"{stem}.pt", row, asked.steps, data)
        if not figures.exists():
            scores = score(networks[name], row.answer, data, experiment)
            figures.write_text(json.dumps({"training seconds": seconds, **scores}))
        rows[name] = json.loads(figures.read_text())
        print(name, rows[name], flush=True)
    save(f"{experiment.result}-{asked.steps}", {"steps": asked.steps, "seed": BASE.seed, "rows": rows})
    if networks.keys() >= experiment.rows.keys() and asked.experiment == "nuclei":
        labels = [[labels_of(mirrored(networks[name], each)) for each in data.validation] for name in experiment.rows]
        asked.picture.parent.mkdir(exist_ok=True)
        names = ("with border weights", "without border weights")
        draw_touching(asked.picture, data.pairs, data.truths, names, labels)
        print(f"drawn: {asked.picture}")


def read(folder: Path, data_set: DataSet) -> Data:
    stacks = (folder / "train-volume.tif", folder / "train-labels.tif")
    pairs = find_pairs(*stacks) if stacks[0].exists() else find_pairs(folder)
    training, validation = split([pair.name for pair in pairs], data_set.held_back)
    annotated = read_annotated(pairs, data_set.classes, Normalization())
    truths = read_truths(pairs, data_set.classes)
    return Data(
        data_set.classes,
        [annotated[index] for index in training],
        [annotated[index] for index in validation],
        [pairs[index] for index in validation],
        [truths[index] for index in validation],
    )


def trained(path: Path, row: Row, steps: int, data: Data) -> tuple[UNet, float]:
    """The network that was kept under this name, or a new one, and the seconds that its training took."""
    recipe, device = replace(row.recipe, steps=steps), torch.device("cpu")
    run = start(recipe, 1, len(data.classes), device, row.network)
    if path.exists():
        saved = torch.load(path, weights_only=True)
        run.averaged.load_state_dict(saved["state"])
        return run.averaged, saved["seconds"]
    samples = add_weights(data.train, len(data.classes), recipe)
    began = time.perf_counter()
    for batch in batches(Places(samples, recipe, run.model.margin), 0):
        step(run, batch, recipe, device)
    seconds = time.perf_counter() - began
    torch.save({"state": run.averaged.state_dict(), "seconds": seconds}, path)
    return run.averaged, seconds


def score(network: UNet, answer: Answer, data: Data, experiment: Experiment) -> dict[str, float]:
    scores = []
    for each, truth in zip(data.validation, data.truths, strict=True):
        probabilities = answer(network, each)
        labels = labels_of(probabilities)
        shown = probabilities if experiment.scoring.by_threshold else None
        scores.append(score_labels(each.name, labels, truth, len(data.classes), shown, experiment.scoring))
    return Evaluation(data.classes, tuple(scores)).overall()


def labels_of(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(0).astype(np.uint8)


if __name__ == "__main__":
    main()
