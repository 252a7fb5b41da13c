"""The trainer's presets beside each other, at equal time on the same data, split and network.

python benchmarks/presets.py DATA [--seconds 300] [--width 16] [--validation every:10]
"""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import record
import typer

from trainer.recipe import PRESETS, Recipe
from trainer.sets import DataSet
from trainer.told import State, Told
from trainer.train import train

_CALIBRATION = 12


def seconds_a_step(data: Path, folder: Path, recipe: Recipe, validation: str) -> float:
    """Median time of a training step, the first few left out."""
    stamps: list[float] = []

    def stamp(state: State) -> None:
        stamps.append(time.perf_counter())

    train(
        DataSet(data, validation=validation),
        folder / "w.pt",
        replace(recipe, steps=_CALIBRATION),
        overwrite=True,
        evaluate_every=10**6,
        told=Told(progress=stamp),
    )
    gaps = [b - a for a, b in itertools.pairwise(stamps)]
    return sorted(gaps)[len(gaps) // 2]


def main(
    data: Annotated[Path, typer.Argument()],
    seconds: Annotated[float, typer.Option()] = 300,
    width: Annotated[int, typer.Option()] = 16,
    validation: Annotated[str, typer.Option()] = "every:10",
) -> None:
    figures = {}
    for name, preset in PRESETS.items():
        recipe = replace(preset, width=width)
        with tempfile.TemporaryDirectory() as folder:
            step = seconds_a_step(data, Path(folder), recipe, validation)
            steps = max(1, round(seconds / step))
            trained = train(
                DataSet(data, validation=validation),
                Path(folder, "w.pt"),
                replace(recipe, steps=steps),
                overwrite=True,
                evaluate_every=max(1, steps // 3),
            )
        figures[name] = {"seconds_a_step": step, "steps": steps, "mean_dice": trained.score}
        print(f"{name}: {steps} steps of {step:.3f} s, validation Dice {trained.score:.4f}", flush=True)
    record.save("presets", {"data": data.name, "seconds": seconds, "width": width, **figures})


if __name__ == "__main__":
    typer.run(main)
