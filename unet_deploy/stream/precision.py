"""`--precision auto` on a processor: bfloat16 where tiles of the image show that it may be taken, float32 elsewhere.

    open_model(precision="auto") -> ByProof -- settle_precision(..., image) -> Settled: one runtime for the run
                                       |           bf16: agrees with fp32, and is faster
                                       |           fp32: does not, or is not, or nobody can say
                                       +-- not asked: answers in fp32

What came of it is kept, so that the next run on this processor takes the same at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np

from unet_deploy.errors import DeviceError, ModelError
from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, measure_page, read_tile
from unet_deploy.runtimes import OutOfMemoryError, Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.choice import Choice
from unet_deploy.stream.pipeline import NOTHING_KNOWN
from unet_deploy.stream.planner import plan_for, proof_plan
from unet_deploy.stream.proof import Unproved, compare_on_tiles, prove, spread
from unet_deploy.stream.stand_in import StandIn
from unet_deploy.stream.timed import Timed
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Tile

SIDE = 300
"""Pixels of a tile's input on which precisions are compared, or that of the smallest tile and a little more."""

TILES = 3
"""Those of most contrast among LOOKED_AT: the first of a shape is slow, and of the others the fastest counts."""

LOOKED_AT = 12
"""Tiles at even distances through the first page."""

TO_BE_PROVED = f"bfloat16 where it is faster and {TILES} tiles of the image prove it"


@dataclass(frozen=True)
class Settled:
    """What computes one image."""

    runtime: Runtime
    proved: Agreement | None
    """What was shown now; None where there was nothing to show, or it was shown before."""
    precision: str | None = None
    """What `auto` has taken, `bf16` or `fp32`; None where it had no choice."""
    why: str = ""
    """Why that, in words."""
    greys: Mapping[int, GreyScale] = field(default_factory=dict)
    """The grey scales of pages that are known by then."""


class ByProof(StandIn):
    """A Runtime that computes in bfloat16 once that was shown to be right and faster, and in float32 until then.

    open_one: opens the model in `bf16` or in `fp32`. open_reference: in `fp32`, with probabilities.
    choice: what is known already. keep: writes a choice down. deciding: held by the thread that tries; others wait.
    """

    def __init__(
        self,
        open_one: Callable[[str], Runtime],
        open_reference: Callable[[], Runtime],
        choice: Choice | None,
        keep: Callable[[Choice], None],
    ) -> None:
        self.choice, self.deciding = choice, threading.Lock()
        self._open, self._open_reference, self._keep = open_one, open_reference, keep
        self._opened, self._opening = dict[str, Runtime](), threading.Lock()
        _ = self.runtime  # what is wrong with the model is said now

    @property
    def runtime(self) -> Runtime:
        return self.computing(self.precision)

    @property
    def precision(self) -> str:
        """What it computes in as far as is known now: `bf16` or `fp32`."""
        return self.choice.precision if self.choice else "fp32"

    def computing(self, precision: str) -> Runtime:
        """The model in this precision; it stays open. Raises as `open_model`."""
        with self._opening:
            if precision not in self._opened:
                self._opened[precision] = self._open(precision)
            return self._opened[precision]

    @contextmanager
    def reference(self) -> Iterator[Runtime]:
        """The model in float32, with probabilities: the one that is open, where it has them."""
        exact = self.computing("fp32")
        if exact.probabilities:
            yield exact
        else:
            with self._open_reference() as other:
                yield other

    def take(self, choice: Choice) -> None:
        """Compute so from now on, and in the next processes too, where the choice is none of one image or moment."""
        if choice.settled and self.choice is None:
            self.choice = choice
            if choice.lasts:
                self._keep(choice)
        if choice.precision == "fp32":
            with self._opening:
                tried = self._opened.pop("bf16", None)
            if tried:
                tried.close()

    def close(self) -> None:
        for each in self._opened.values():
            each.close()


def settle_precision(
    runtime: Runtime,
    source: ImageSource,
    greys: Mapping[int, GreyScale] = NOTHING_KNOWN,
    recorded: str | None = None,
    progress: Progress | None = None,
) -> Settled:
    """See what computes an image, before its first tile, and prove it on tiles of this image where that is asked for.

    greys: the grey scales of pages that are known. recorded: the name of the runtime that began an unfinished run of
    this image, which goes on with it. progress: told of a proof that was asked for.
    Raises VerificationError where a precision that was asked for does not hold.
    """
    if not isinstance(runtime, ByProof):
        proved = prove(runtime, source, lambda: proof_plan(runtime, source.info.region), progress)
        if not isinstance(taken := _taken(runtime), ByProof):
            return Settled(runtime, proved, greys=greys)
        runtime = taken
    with runtime.deciding:
        known = foresee_precision(runtime, recorded)
        if known.precision:
            return replace(known, greys=greys)
        grey = greys.get(0) or measure_page(source, 0, runtime.card.normalization)
        choice = _try(runtime, source, grey)
        runtime.take(choice)
    proved = choice.agreement if choice.precision == "bf16" else None
    return Settled(runtime.computing(choice.precision), proved, choice.precision, str(choice), {**greys, 0: grey})


def foresee_precision(runtime: Runtime, recorded: str | None = None) -> Settled:
    """What `settle_precision` will say, by what is known already; nothing is tried for it.

    Its precision is None where that is still to be proved, and then it computes in float32.
    """
    if not isinstance(runtime, ByProof):
        return Settled(runtime, None)
    if recorded and (precision := _begun_in(runtime, recorded)):
        return Settled(runtime.computing(precision), None, precision, f"{precision}: the run was begun so")
    if runtime.choice is None:
        return Settled(runtime.computing("fp32"), None, why=TO_BE_PROVED)
    precision = runtime.choice.precision
    return Settled(runtime.computing(precision), None, precision, str(runtime.choice))


def _taken(runtime: Runtime) -> Runtime:
    """What answers once a device was proved, or gave way to the processor."""
    while isinstance(runtime, Unproved):
        runtime = runtime.runtime
    return runtime


def _begun_in(runtime: ByProof, recorded: str) -> str | None:
    """The precision in which the model's runtime has this name; None where this machine does not have it."""
    if runtime.name == recorded:
        return runtime.precision
    if runtime.choice and runtime.choice.against:
        return None
    other = "fp32" if runtime.precision == "bf16" else "bf16"
    with suppress(DeviceError, ModelError):
        return other if runtime.computing(other).name == recorded else None
    return None


def _try(runtime: ByProof, source: ImageSource, grey: GreyScale) -> Choice:
    """Compute a few tiles of the first page in both precisions."""
    try:
        fast = Timed(runtime.computing("bf16"))
        tiles = _tiles(fast, source, grey)
        with runtime.reference() as reference:
            exact = Timed(reference)
            agreement = compare_on_tiles(fast, exact, source, tiles, grey=grey)
        return Choice(agreement, exact.seconds / fast.seconds)
    except (DeviceError, ModelError, OutOfMemoryError) as error:
        return Choice(against=f"bfloat16 could not be tried ({error})")


def _tiles(runtime: Runtime, source: ImageSource, grey: GreyScale) -> Sequence[Tile]:
    """The tiles of most contrast; one alone comes twice, so that it is timed when all is warm."""
    side = min(max(SIDE, 8 * runtime.card.base // 5), *runtime.limits.most)
    looked_at = spread(plan_for(runtime, source.info.region, side), LOOKED_AT)
    contrast = [float(np.std(read_tile(source, 0, tile.read, grey)[0])) for tile in looked_at]
    most = [looked_at[at] for at in np.argsort(contrast)[::-1][:TILES]]
    return most if len(most) > 1 else most * 2
