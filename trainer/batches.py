"""Batches drawn ahead of the step that takes them, by a thread, on the device that trains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from queue import Queue

import torch

from trainer.augment import CPU, Source, TileBatch, draw_batch
from trainer.places import Places

AHEAD = 3
"""Batches that wait for their step, at most: a slow drawing now and then costs no time."""

KEPT = 1 / 8
"""Of what is free of a GPU's memory, how much images may take that lie there; the network needs the rest."""


def batches(places: Places, start: int, device: torch.device = CPU) -> Generator[TileBatch, None, None]:
    """Yield the batches of steps `start` to the last. Each depends on the seed and its step alone.

    device: that deforms the tiles, and has the batches; on each they are the same but for rounding. Whoever takes a
    batch of a GPU has done all work with it before the next is taken. An error of the thread is raised here.
    """
    recipe = places.recipe
    ready: Queue[TileBatch | BaseException] = Queue(AHEAD)
    stop = threading.Event()

    def draw() -> None:
        try:
            with _beside(device) as finish:
                source = Source(places.samples, device, _room(device))
                for step in range(start, recipe.steps):
                    tiles, seed = places.draw(step), [recipe.seed, step, 1]
                    batch = draw_batch(source, tiles, recipe.tile, places.margin, recipe.augmentation, seed)
                    finish()
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


def _room(device: torch.device) -> int:
    """Bytes of images that may stay on a device."""
    return int(KEPT * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


@contextmanager
def _beside(device: torch.device) -> Iterator[Callable[[], None]]:
    """Work on a GPU beside its other work; yields what waits until it is done.

    In the stream of the steps each upload of a few numbers would wait for the step that is under way.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        yield stream.synchronize
