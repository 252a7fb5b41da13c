"""What each part of the recipe is worth: the same training without it, on ISBI 2012.

`python benchmarks/ablations.py DATA [--steps 1000] [--only NAME...]`: DATA is the folder of the ISBI 2012 stack.
Trained on slices 0 to 23, the last step scored on 24 to 29, in PyTorch, without test-time augmentation, all rows alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import save
from torch import nn

from trainer.augment import Augmentation
from trainer.data import Annotated, Sample, Truth, add_weights, find_pairs, read_annotated, split
from trainer.evaluate import Evaluation, score_labels
from trainer.predict import predict
from trainer.recipe import PRESETS, Recipe
from trainer.train import batches, start, step
from trainer.unet import UNet
from unet_deploy.card import Normalization

CLASSES = ("membrane", "cell")
BASE = replace(PRESETS["modern"], width=16)


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


ROWS: dict[str, tuple[Recipe, type[UNet], Answer]] = {
    "the recipe": (BASE, UNet, mirrored),
    "without elastic deformation": (replace(BASE, augmentation=Augmentation(elastic=0)), UNet, mirrored),
    "without border weights": (replace(BASE, w0=0), UNet, mirrored),
    "without mirrored borders": (replace(BASE, augmentation=Augmentation(border="zeros")), UNet, zero_bordered),
    # As many pixels of loss a step as 444 gives, nearly: 260 a side.
    "padded convolutions": (replace(BASE, tile=256), Padded, padded),
    "width 32": (replace(BASE, width=32), UNet, mirrored),
    "width 64": (replace(BASE, width=64), UNet, mirrored),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--work", type=Path, default=Path("quality"))
    asked = parser.parse_args()
    pairs = find_pairs(asked.data / "train-volume.tif", asked.data / "train-labels.tif")
    kept, held = split([pair.name for pair in pairs], "last:6")
    annotated = read_annotated(pairs, CLASSES, Normalization())
    judges = [annotated[index] for index in held]
    asked.work.mkdir(exist_ok=True)
    rows: dict[str, Any] = {}
    for name in asked.only:
        kept_row = asked.work / f"ablation-{asked.steps}-{name.replace(' ', '-')}.json"
        if not kept_row.exists():
            recipe, network, answer = ROWS[name]
            samples = add_weights(
                [annotated[index] for index in kept], 2, w0=recipe.w0, sigma=recipe.sigma, balance=recipe.balance
            )
            kept_row.write_text(
                json.dumps(measure(replace(recipe, steps=asked.steps), network, answer, samples, judges))
            )
        rows[name] = json.loads(kept_row.read_text())
        print(name, rows[name], flush=True)
    save(f"ablations-{asked.steps}", {"steps": asked.steps, "seed": BASE.seed, "rows": rows})


def measure(
    recipe: Recipe, network: type[UNet], answer: Answer, samples: list[Sample], judges: list[Annotated]
) -> dict[str, float]:
    device = torch.device("cpu")
    run = start(recipe, 1, 2, device, network)
    began = time.perf_counter()
    for batch in batches(samples, recipe, run.model, 0):
        step(run, batch, recipe, device)
    seconds = time.perf_counter() - began
    scores = []
    for each in judges:
        probabilities = answer(run.averaged, each)
        labels, truth = probabilities.argmax(0).astype(np.uint8), Truth(each.labels, each.objects)
        scores.append(score_labels(each.name, labels, truth, 2, probabilities, partitions=True))
    return {"training seconds": seconds, **Evaluation(CLASSES, tuple(scores)).overall()}


if __name__ == "__main__":
    main()
