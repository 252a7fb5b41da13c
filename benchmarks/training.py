"""Training steps a second: this trainer against a plain loop, and what each of its measures is worth.

`python benchmarks/training.py [--width 16] [--rounds 5]`. The plain loop is float32 in PyTorch's default layout and
draws each batch when it needs it. All loops make the same steps on the same generated images; they take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from record import Spread, save

from trainer import optimizer
from trainer import step as stepping
from trainer.augment import Source, TileBatch, draw_batch
from trainer.batches import batches
from trainer.data import Sample
from trainer.places import Place, Places
from trainer.recipe import PRESETS, Recipe
from trainer.run import Run, start
from trainer.weight_map import border_weights
from unet_deploy.evaluation.objects import connected_objects
from unet_deploy.system.machine import bf16_pays

STEPS = 6


@dataclass(frozen=True)
class Way:
    channels_last: bool = True
    bf16: bool = True
    ahead: bool = True
    """Whether a thread draws batches ahead of the step."""
    compiled: bool = False
    optimizer: Literal["muon", "adamw"] = "muon"


WAYS = {
    "this trainer": Way(),
    "plain loop": Way(channels_last=False, bf16=False, ahead=False),
    "without bfloat16": Way(bf16=False),
    "without channels-last": Way(channels_last=False),
    "without drawing ahead": Way(ahead=False),
    "with torch.compile": Way(compiled=True),
    "with AdamW instead of Muon": Way(optimizer="adamw"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    samples = [generated(seed) for seed in range(8)]
    recipe = replace(PRESETS["modern"], width=asked.width, steps=(asked.rounds + 1) * STEPS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loops = {name: Loop(way, samples, recipe, device) for name, way in WAYS.items()}
    for loop in loops.values():
        loop.go()  # kernels are chosen, and a graph is compiled
        loop.reset()
    for _ in range(asked.rounds):
        for loop in loops.values():
            loop.go()
    rows: dict[str, Any] = {}
    ours = loops["this trainer"].seconds
    for name, loop in loops.items():
        rows[name] = {
            "images_per_s": recipe.batch * STEPS / statistics.median(loop.seconds),
            "times_ours": vars(Spread.of([theirs / mine for theirs, mine in zip(loop.seconds, ours, strict=True)])),
            "waiting_for_data": loop.waited / sum(loop.seconds),
        }
        print(name, rows[name], flush=True)
    save(f"training-{asked.width}", {"width": asked.width, "tile": recipe.tile, "batch": recipe.batch, "rows": rows})


class Loop:
    """One way of training, a few steps at a time."""

    def __init__(self, way: Way, samples: list[Sample], recipe: Recipe, device: torch.device) -> None:
        recipe = replace(recipe, optimizer=way.optimizer)
        self._way, self._recipe, self._device = way, recipe, device
        self._run = start(recipe, 1, 2, device)
        self._batches = (
            batches(Places(samples, recipe, self._run.model.margin), 0) if way.ahead else self._on_demand(samples)
        )
        if not way.channels_last:
            self._run.model.to(memory_format=torch.contiguous_format)
        if way.compiled:
            self._run.model.compile()
        self.reset()

    def reset(self) -> None:
        self.seconds: list[float] = []
        self.waited = 0.0

    def go(self) -> None:
        for module in (stepping, optimizer):
            module.bf16_pays = bf16_pays if self._way.bf16 else lambda: False
        began = time.perf_counter()
        for _ in range(STEPS):
            self.step(self._run)
        self.seconds.append(time.perf_counter() - began)

    def step(self, run: Run) -> None:
        began = time.perf_counter()
        batch = next(self._batches)
        if not self._way.channels_last:
            batch = replace(batch, image=batch.image.contiguous())
        self.waited += time.perf_counter() - began
        stepping.step(run, batch, self._recipe, self._device)

    def _on_demand(self, samples: list[Sample]) -> Iterator[TileBatch]:
        recipe = self._recipe
        for at in range(recipe.steps):
            picked = np.random.default_rng(at).choice(len(samples), recipe.batch)
            places = [Place(int(index)) for index in picked]
            yield draw_batch(Source(samples), places, recipe.tile, self._run.model.margin, recipe.augmentation, [at])


def generated(seed: int) -> Sample:
    """Discs on noise, (512, 512)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:512, :512]
    mask = np.zeros((512, 512), bool)
    for centre_y, centre_x, radius in zip(*rng.integers(0, 512, (2, 60)), rng.integers(5, 25, 60), strict=True):
        mask |= (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
    objects = connected_objects(mask)
    image = (mask * 0.6 + rng.normal(0.2, 0.05, mask.shape))[None].astype(np.float32)
    return Sample(str(seed), image, mask.astype(np.uint8), objects, 1 + border_weights(objects))


if __name__ == "__main__":
    main()
