"""Proof that a fast runtime says what the model says: the two on the same real tiles.

A runtime in less than float32, or an engine, comes out of `open_model` as `Unproved`. `prove` settles it on the first
image with something in it, before an answer is used.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError, VerificationError
from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, measure_page, read_tile
from unet_deploy.runtimes import Answer, OutOfMemoryError, Runtime
from unet_deploy.runtimes.agreement import Agreement, compare, together
from unet_deploy.runtimes.choice import Choice
from unet_deploy.stream.stand_in import StandIn
from unet_deploy.stream.timed import Timed
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Tile, TilePlan

TILES = 4
"""Tiles that a first use is proved on."""


@dataclass(frozen=True)
class Proof:
    """What is still to be shown of a runtime before its first answer may be used."""

    open_reference: Callable[[], Runtime]
    """Opens the float32 model with probabilities. Raises VerificationError where it is not to be found."""
    keep: Callable[[Agreement], None]
    """Writes the result down, so that it is not asked for again."""
    instead: Instead | None = None
    """What is taken where it does not hold, or is slow; None where the one is an error and the other no matter."""


@dataclass(frozen=True)
class Instead:
    """What takes over from a runtime that nobody asked for by name, where that fails, is wrong or is no faster."""

    open: Callable[[str], Runtime]
    """Told why."""
    keep: Callable[[Choice], None]
    """Writes down what came of it, so that it is not tried again."""


class Unproved(StandIn):
    """A Runtime that answers as another one does, and carries what that one has still to show.

    proof: None once it is settled. proving: held by the thread that settles it; others wait for what comes of it.
    """

    def __init__(self, runtime: Runtime, proof: Proof) -> None:
        self._runtime = runtime
        self.proof: Proof | None = proof
        self.proving = threading.Lock()

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    def give_way(self, runtime: Runtime) -> None:
        """Answer as another runtime from now on, and let the one go that was not proved."""
        self._runtime.close()
        self._runtime, self.proof = runtime, None


def without_proof(runtime: Runtime) -> Runtime:
    """The runtime itself, for those who measure it and do not use its answer."""
    inner = runtime.runtime if isinstance(runtime, StandIn) else runtime
    return without_proof(inner) if isinstance(inner, Unproved) else inner


def prove(
    runtime: Runtime, source: ImageSource, plan_of: Callable[[], TilePlan], progress: Progress | None = None
) -> Agreement | None:
    """Settle what a runtime has still to show, on tiles of the image that it is about to segment.

    plan_of: the image's plan within the runtime's limits; asked again when short memory has lowered them.
    progress: told that there is something to show, which on a slow CPU may take a minute.
    Returns what was measured, None where there was nothing to show. On tiles of one class it is measured but not
    settled: an image with something in it will be asked again. A runtime that may give way to another one does so
    where it fails, and the other is proved. Raises VerificationError.
    """
    if not isinstance(runtime, Unproved):
        return None
    with runtime.proving:
        if runtime.proof is None:
            return None
        if progress:
            progress(0, len(plan_of()), f"comparing with the model on {TILES} tiles")
        try:
            agreement = _show(runtime, runtime.proof, source, plan_of)
        except (VerificationError, DeviceError, OutOfMemoryError) as error:
            if runtime.proof.instead is None:
                raise
            runtime.give_way(runtime.proof.instead.open(str(error)))
            return prove(runtime.runtime, source, plan_of, progress)
        if agreement.classes > 1:
            runtime.proof.keep(agreement)
            runtime.proof = None
        return agreement


def _show(runtime: Runtime, proof: Proof, source: ImageSource, plan_of: Callable[[], TilePlan]) -> Agreement:
    """Compare a runtime with its reference, on smaller tiles where memory is short. Raises VerificationError."""
    with proof.open_reference() as reference:
        while True:
            limits = runtime.limits
            try:
                agreement = _measure(runtime, reference, proof, source, plan_of())
                break
            except OutOfMemoryError:
                runtime.shrink(limits)
    agreement.require(runtime.name)
    return agreement


def _measure(
    runtime: Runtime, reference: Runtime, proof: Proof, source: ImageSource, plan: Sequence[Tile]
) -> Agreement:
    """How the two agree, and where another runtime may be taken whether it had better be: then DeviceError says so."""
    if proof.instead is None:
        return compare_on_tiles(runtime, reference, source, plan, tiles=TILES)
    fast, exact = Timed(runtime), Timed(reference)
    tiles = spread(plan, TILES - 1)  # the first comes again when all is warm: of a shape it is slow
    agreement = compare_on_tiles(fast, exact, source, [*tiles, tiles[0]])
    choice = Choice(agreement, exact.seconds / fast.seconds)
    if choice.settled:
        proof.instead.keep(choice)
    if agreement.holds and choice.speedup <= 1:
        raise DeviceError(f"{runtime.name} is no faster than this processor ({choice.speedup:.2g} times as fast)")
    return agreement


def compare_on_tiles(
    runtime: Runtime,
    reference: Runtime,
    source: ImageSource,
    plan: Sequence[Tile],
    *,
    tiles: int | None = None,
    limit_ppm: float | None = None,
    grey: GreyScale | None = None,
) -> Agreement:
    """Compare a runtime with a reference that answers with probabilities, on tiles of the first page.

    tiles: how many, spread over the plan; all by default. Where the runtime keeps several submissions in flight, each
    of its slots is filled to the last place at least twice, and of all its answers to a tile the worst counts.
    limit_ppm: labels in a million that may differ; by default what the card says. grey: the page's grey scale, where it
    is known.
    """
    grey = grey or measure_page(source, 0, runtime.card.normalization)
    chosen = spread(plan, tiles or len(plan))
    rounds = 1 if runtime.slots == 1 else -(-2 * runtime.slots // len(chosen))
    answers = _answers(runtime, [tile for tile in chosen for _ in range(rounds)], source, grey)
    classes: set[int] = set()
    parts = []
    for tile in chosen:
        truth = _cut(reference.result(reference.submit([read_tile(source, 0, tile.read, grey)[0]], [grey])), tile)
        classes.update(np.unique(truth.labels).tolist())
        given = [_cut(next(answers), tile) for _ in range(rounds)]
        parts.append(_worst(truth, given, runtime.card.decision.threshold))
    whole = together(parts, source.info.name)
    limit = runtime.card.limit_ppm if limit_ppm is None else limit_ppm
    return replace(whole, classes=len(classes), limit_ppm=limit, limit_probability=None)


def _cut(answer: Answer, tile: Tile) -> Answer:
    """An answer to a tile without what hangs over the image."""
    area = np.s_[..., : tile.write.height, : tile.write.width]
    return Answer(answer.labels[area], None if answer.probabilities is None else answer.probabilities[area])


def _worst(truth: Answer, answers: Sequence[Answer], threshold: float) -> Agreement:
    """The agreement of one tile, by the worst of its answers in every place of every submission."""
    assert truth.probabilities is not None
    found = []
    for answer in answers:
        scores = answer.probabilities if answer.probabilities is not None else [None] * len(answer.labels)
        for labels, probabilities in zip(answer.labels, scores, strict=True):
            expected = truth.labels[0], truth.probabilities[0]
            found.append(compare(*expected, labels, probabilities, threshold=threshold))
    every = together(found, "")
    most = max(found, key=lambda each: each.labels_differ)
    return replace(most, worst_probability=every.worst_probability, not_finite=every.not_finite)


def _answers(runtime: Runtime, tiles: list[Tile], source: ImageSource, grey: GreyScale) -> Iterator[Answer]:
    """The runtime's answer to each tile, in every place of a submission, with its slots kept full."""
    in_flight: deque[Any] = deque()
    for tile in tiles:
        if len(in_flight) == runtime.slots:
            yield runtime.result(in_flight.popleft())
        places = runtime.limits.batch
        in_flight.append(runtime.submit([read_tile(source, 0, tile.read, grey)[0]] * places, [grey] * places))
    while in_flight:
        yield runtime.result(in_flight.popleft())


def spread(plan: Sequence[Tile], count: int) -> list[Tile]:
    """So many tiles at even distances through the plan, from its middle outwards for one."""
    count = min(count, len(plan))
    return [plan[(2 * index + 1) * len(plan) // (2 * count)] for index in range(count)]
