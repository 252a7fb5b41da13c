"""Batches drawn ahead of the step that takes them, by a thread."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from queue import Queue

import numpy as np

from trainer.augment import TileBatch, draw_batch
from trainer.data import Sample
from trainer.recipe import Recipe

AHEAD = 3
"""Batches that wait for their step, at most: a slow drawing now and then costs no time."""


def batches(samples: Sequence[Sample], recipe: Recipe, margin: int, start: int) -> Generator[TileBatch, None, None]:
    """Yield the batches of steps `start` to the last. Each depends on the seed and its step alone.

    margin: pixels a side that the network's output lacks. An error of the thread is raised here.
    """
    # A larger image shows more, though not in proportion: its pixels are alike.
    chances = np.sqrt([sample.labels.size for sample in samples]) * [sample.share for sample in samples]
    chances /= chances.sum()
    ready: Queue[TileBatch | BaseException] = Queue(AHEAD)
    stop = threading.Event()

    def draw() -> None:
        try:
            for step in range(start, recipe.steps):
                picked = np.random.default_rng([recipe.seed, step]).choice(len(samples), recipe.batch, p=chances)
                batch = draw_batch(samples, picked, recipe.tile, margin, recipe.augmentation, [recipe.seed, step, 1])
                if stop.is_set():
                    return
                ready.put(batch)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=draw, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(start, recipe.steps):
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()  # one that still draws when the process ends takes it down with it
