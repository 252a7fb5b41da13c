"""What parts objects that touch: distances inside the mask, a class for their rims, or a head that learns distances.

`python benchmarks/heads.py FOLDER [--steps 1200] [--hold-out last:6]`: three networks of equal steps that differ in
nothing but what they are to answer. Each answer becomes objects by its best rule, chosen on the very images that are
scored: what is compared is how far each can go.

- `mask`: two classes; components are parted by the distance to their border, as `unet-deploy segment` does.
- `rims`: a third class for the outer pixels of each object (Caicedo et al. 2019, "Nucleus segmentation across imaging
  experiments: the 2018 Data Science Bowl"); components of objects with rims are parted by how likely their inside is.
- `distances`: beside the two classes a plane that learns how far each pixel is from its object's border, 1 in its
  middle; components are parted by it.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import save
from scipy import ndimage
from torch import Tensor, nn

from trainer.augment import TileBatch
from trainer.batches import batches
from trainer.data import Annotated, Sample, add_weights
from trainer.description import ModelDescription
from trainer.places import Places
from trainer.predict import predict
from trainer.recipe import PRESETS, Recipe, tailored
from trainer.run import start
from trainer.sets import DataSet, read_sets
from trainer.step import loss_of, mixed_precision, step
from trainer.unet import UNet
from unet_deploy.evaluation.objects import match_objects, seg_measure
from unet_deploy.objects.split import SMOOTHING, Parting
from unet_deploy.objects.typical import diameter as typical

CPU = torch.device("cpu")
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
RIM = 2
"""Pixels of the network that the rim of an object is wide."""
RIM_WEIGHT = 3.0
"""What a pixel of a rim counts more than others: rims are few, and all that tells objects apart."""
STEPS_OF_DISTANCE = 200
"""In how many steps a distance is stored, from the border to the middle of an object."""
LEAST = (0.04, 0.08, 0.16)
"""Objects that are left out, in squared diameters."""


@dataclass(frozen=True)
class Head:
    """A way to answer."""

    planes: int
    coded: Callable[[Sample], Sample]
    """The sample with the labels that are learned."""
    loss: Callable[[UNet, TileBatch, torch.device], Tensor]
    depths: Sequence[float]
    """How far a peak must stand above its saddle: in diameters for distances inside the mask, else of 1."""


@dataclass(frozen=True)
class Answer:
    """What a network says of an image, and the truth."""

    foreground: np.ndarray
    """(H, W) float32, how likely a pixel is of an object."""
    heights: np.ndarray | None
    """(H, W) float32, by which objects are parted; None for the distance to the border of the mask."""
    objects: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--hold-out", default="last:6")
    parser.add_argument("--work", type=Path, default=Path("heads"))
    asked = parser.parse_args()
    asked.work.mkdir(exist_ok=True)
    rows = {}
    for name, head in HEADS.items():
        answers = answered(asked, name, head)
        rows[name] = best(head, answers)
        print(name, rows[name], flush=True)
    save("heads", {"data": asked.folder.name, "steps": asked.steps, "width": asked.width, "rows": rows})


def answered(asked: argparse.Namespace, name: str, head: Head) -> list[Answer]:
    """What a network trained for this says of the images held back; kept in the working folder."""
    kept = asked.work / f"{asked.folder.name}-{name}-{asked.steps}.pickle"
    if not kept.exists():
        recipe = replace(tailored(PRESETS["modern"], width=asked.width, steps=asked.steps), draw="uniform")
        description = ModelDescription(classes=("background", "object"))
        data = read_sets([DataSet(asked.folder, validation=asked.hold_out)], description)
        network = trained(add_weights(data.training, 2, recipe), recipe, head)
        kept.write_bytes(pickle.dumps([answer_of(network, each, name) for each in data.validation]))
    return pickle.loads(kept.read_bytes())


def trained(samples: Sequence[Sample], recipe: Recipe, head: Head) -> UNet:
    coded = [head.coded(each) for each in samples]
    run = start(recipe, len(coded[0].image), head.planes, CPU)
    for batch in batches(Places(coded, recipe, run.model.margin), 0):
        loss = step(run, batch, recipe, CPU, head.loss)
        if run.step % 100 == 0:
            print(f"step {run.step}: loss {loss:.4f}", flush=True)
    return run.averaged


@torch.no_grad()
def answer_of(network: UNet, image: Annotated, name: str) -> Answer:
    logits = predict(network, image.image, CPU)
    if name == "distances":
        return Answer(logits[:2].softmax(0)[1].numpy(), logits[2].numpy(), image.objects)
    shares = logits.softmax(0).numpy()
    return Answer(shares[1:].sum(0), shares[1] if name == "rims" else None, image.objects)


# -- what is learned -------------------------------------------------------------------------------------------------


def inside(objects: np.ndarray) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Of each numbered object (H, W): its window, where it is in it, and the distance to its border in pixels."""
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is not None:
            there = objects[box] == number
            yield box, there, ndimage.distance_transform_edt(np.pad(there, 1))[1:-1, 1:-1]


def rims(sample: Sample) -> Sample:
    """0 outside, 1 inside of objects, 2 in the pixels next to their border."""
    labels = (sample.objects > 0).astype(np.uint8)
    for box, there, distance in inside(sample.objects):
        labels[box][there & (distance <= RIM / sample.zoom)] = 2
    return replace(sample, labels=labels, weights=sample.weights + np.float32(RIM_WEIGHT) * (labels == 2))


def distances(sample: Sample) -> Sample:
    """0 outside, from 1 at the border of an object to 1 + STEPS_OF_DISTANCE in its middle."""
    labels = np.zeros(sample.objects.shape, np.uint8)
    for box, there, distance in inside(sample.objects):
        labels[box][there] = 1 + np.round(STEPS_OF_DISTANCE * distance[there] / distance.max())
    return replace(sample, labels=labels)


def loss_of_distances(model: UNet, batch: TileBatch, device: torch.device) -> Tensor:
    """The paper's loss of two classes, and twice the mean error of the distance."""
    with mixed_precision(device):
        answer = model(batch.image)
    answer, there = answer.float(), batch.labels > 0
    entropy = nn.functional.cross_entropy(answer[:, :2], there.long(), reduction="none")
    wanted = (batch.labels - 1).clamp_min(0) / STEPS_OF_DISTANCE
    error = (answer[:, 2] - wanted).abs()
    return ((entropy + 2 * error) * batch.weights).sum() / batch.weights.sum().clamp_min(1e-6)


HEADS = {
    "mask": Head(2, lambda sample: sample, loss_of, (0.04, 0.06, 0.09)),
    "rims": Head(3, rims, loss_of, (0.1, 0.2, 0.3, 0.5)),
    "distances": Head(3, distances, loss_of_distances, (0.1, 0.2, 0.3, 0.5)),
}


# -- what becomes of it ----------------------------------------------------------------------------------------------


def best(head: Head, answers: Sequence[Answer]) -> dict[str, Any]:
    """The scores by the rule with the best F1 over IoU 0.5 to 0.9."""
    diameter = typical(np.concatenate([np.bincount(each.objects.ravel())[1:] for each in answers])) or 1.0
    rules = product((0.4, 0.5, 0.6), head.depths, LEAST)
    return max(
        (scored(answers, diameter, *rule) for rule in rules), key=lambda row: row["F1, mean over IoU 0.5 to 0.9"]
    )


def scored(
    answers: Sequence[Answer], diameter: float, threshold: float, depth: float, least: float
) -> dict[str, float]:
    found = [objects_of(each, diameter, threshold, depth, least) for each in answers]
    pairs = [(one, each.objects) for one, each in zip(found, answers, strict=True)]
    f1 = np.array([[matches.f1 for matches in match_objects(*pair, THRESHOLDS)] for pair in pairs])
    seg = [seg_measure(*pair).mean or 0.0 for pair in pairs]
    return {
        "F1 at IoU 0.5": float(f1[:, 0].mean()),
        "F1, mean over IoU 0.5 to 0.9": float(f1.mean()),
        "SEG": float(np.mean(seg)),
        "threshold": threshold,
        "depth": depth,
        "least": least,
    }


def objects_of(answer: Answer, diameter: float, threshold: float, depth: float, least: float) -> np.ndarray:
    """Numbered objects (H, W): components without holes, parted, the least left out."""
    mask = ndimage.binary_fill_holes(answer.foreground > threshold)
    objects, count = ndimage.label(mask)
    parting = Parting(depth * (diameter if answer.heights is None else 1), SMOOTHING * diameter, 4)
    heights = None if answer.heights is None else ndimage.gaussian_filter(answer.heights, SMOOTHING * diameter)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        shape = objects[box] == number
        if heights is None:
            [parts] = parting.parts_of([shape])
        else:
            parts = parting.parts_by(np.pad(np.where(shape, np.maximum(heights[box], 1e-3), 0), 1).astype(np.float32))
        if parts is not None:
            objects[box][shape] = count + parts[shape]
            count += int(parts.max())
    small = np.bincount(objects.ravel()) < least * diameter**2
    small[0] = False
    objects[small[objects]] = 0
    return objects


if __name__ == "__main__":
    main()
