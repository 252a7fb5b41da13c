"""Whether regions that a model is unsure of are those where it is wrong: Spearman's rank correlation.

`python benchmarks/doubt.py MODEL:FOLDER... [--side 256]`: each model says its doubt of every region of a data set that
it was not trained on, and of each the number of wrong objects is counted, missed or invented, and of wrong pixels.
Beside the doubt of `unet-deploy suggest` stand the mean of what it is made of, and the length of borders.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from record import save
from scipy import ndimage, stats

from unet_deploy.evaluation.answers import answer
from unet_deploy.evaluation.contingency import Contingency
from unet_deploy.evaluation.pairs import find_pairs, read_image
from unet_deploy.evaluation.truths import Truth, read_truths
from unet_deploy.images.grey import measure_page
from unet_deploy.model.decision import Decision
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.suggestion.cells import Cells, Grid
from unet_deploy.suggestion.choice import doubt, worth_a_look
from unet_deploy.tiling import Tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", help="MODEL:FOLDER")
    parser.add_argument("--side", type=int, default=256, help="of a region, in pixels of the image")
    parser.add_argument("--images", type=int, help="so many of each folder, from all over it")
    asked = parser.parse_args()
    rows = {}
    for pair in asked.pairs:
        model, folder = map(Path, pair.rsplit(":", 1))
        told = [np.concatenate(each) for each in zip(*regions(model, folder, asked.side, asked.images), strict=True)]
        *said, objects, pixels = told
        names = ("doubt", "mean of u", "mean of u squared", "length of borders")
        rows[folder.name] = {
            name: {"wrong objects": _rank(each, objects), "wrong pixels": _rank(each, pixels)}
            for name, each in zip(names, said, strict=True)
        } | {"regions": len(objects), "wrong objects of a region": float(objects.mean())}
        print(folder.name, rows[folder.name], flush=True)
    save("doubt", {"side": asked.side, "rows": rows})


def regions(model: Path, folder: Path, side: int, images: int | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Of the regions of each image that have something in them: what the model says, and how wrong it is."""
    found = find_pairs(folder)
    pairs = found[:: max(1, len(found) // images)] if images else found
    with Models(model, Request(probabilities=True)) as models:
        truths = read_truths(pairs, models.card.classes)
        for pair, truth in zip(pairs, truths, strict=True):
            image = read_image(pair)
            labels, scores = answer(models, image, probabilities=True)
            assert scores is not None
            whole = image.info.region
            grid = Grid.over(whole, side, pair.name)
            grey = measure_page(image, 0, models.card.normalization)
            cells = Cells(grid, grey, models.card)
            cells(DoneTile(0, Tile(whole, whole), image.crop(0, whole), labels, scores, whole))
            sums, wrong = cells.regions, labels != truth.labels
            there = worth_a_look(sums)
            plain = _sums(np.asarray(Decision().doubts(scores)), grid)
            said = (doubt(sums), plain, sums.doubt, sums.borders)
            yield tuple(each[there] for each in (*said, _sums(wrong_objects(labels, truth), grid), _sums(wrong, grid)))


def wrong_objects(labels: np.ndarray, truth: Truth) -> np.ndarray:
    """How many objects that were missed or invented have their middle at each pixel, (H, W)."""
    found, _ = ndimage.label(labels > 0)
    table = Contingency.of(found, truth.objects)
    marks = np.zeros(labels.shape)
    hits = table.iou > 0.5
    for objects, ids, matched in (
        (found, table.predicted.ids, table.rows[hits]),
        (truth.objects, table.truth.ids, table.columns[hits]),
    ):
        missed = np.delete(ids, matched)
        for y, x in ndimage.center_of_mass(np.ones(labels.shape), objects, missed) if len(missed) else ():
            marks[int(y), int(x)] += 1
    return marks


def _sums(plane: np.ndarray, grid: Grid) -> np.ndarray:
    """Sums of (H, W) over the regions of a grid."""
    cells = (
        plane[grid.covered.slices].reshape(grid.rows, grid.cell, grid.columns, grid.cell).sum(axis=(1, 3), dtype=float)
    )
    return cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]


def _rank(said: np.ndarray, wrong: np.ndarray) -> float:
    return round(float(stats.spearmanr(said, wrong)[0]), 3)


if __name__ == "__main__":
    main()
