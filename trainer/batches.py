"""Batches drawn ahead of the step that takes them, by a thread."""

from __future__ import annotations

import threading
from collections.abc import Generator
from queue import Queue

from trainer.augment import TileBatch, draw_batch
from trainer.places import Places

AHEAD = 3
"""Batches that wait for their step, at most: a slow drawing now and then costs no time."""


def batches(places: Places, start: int) -> Generator[TileBatch, None, None]:
    """Yield the batches of steps `start` to the last. Each depends on the seed and its step alone.

    An error of the thread is raised here.
    """
    recipe = places.recipe
    ready: Queue[TileBatch | BaseException] = Queue(AHEAD)
    stop = threading.Event()

    def draw() -> None:
        try:
            for step in range(start, recipe.steps):
                tiles, seed = places.draw(step), [recipe.seed, step, 1]
                batch = draw_batch(places.samples, tiles, recipe.tile, places.margin, recipe.augmentation, seed)
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
