"""How far a tile's edge is felt by a network that pads its convolutions, and which margin leaves no seams.

Near an edge such a network sees zeros instead of the image:

    whole   . . . . . . . . . .      the answer to a piece of an image
    part          x x o . . . .      the answer to what is left when its left side is cut off: x differs, o no more
                  0 1 2              so two pixels a side must be cut off
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_deploy.convert.answer import SUM_TOLERANCE
from unet_deploy.convert.external import Network, whole_tile_operators
from unet_deploy.errors import ModelError, VerificationError
from unet_deploy.images import check_fits, open_image
from unet_deploy.images.grey import GreyScale, measure_page, read_tile
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import TOLERANCE, Agreement
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.tiling import Region, legal_side

DEEPEST = 512
"""Largest margin in pixels: with a larger one a tile would be nearly all margin."""


@dataclass(frozen=True)
class Reach:
    """How far a tile's edge is felt. Index d stands for all pixels at least d from the edge."""

    worst: np.ndarray
    """(depth,) float: largest difference of a probability from where there was no edge."""
    labels: np.ndarray
    """(depth,) int: labels that differ, ties left out."""

    def seamless(self, stride: int, tolerance: float = TOLERANCE) -> int | None:
        """The least margin without a larger difference, in multiples of the stride."""
        return _first(self.worst[: DEEPEST + 1 : stride] <= tolerance, stride)

    def agreeing(self, stride: int) -> int | None:
        """The least margin without another label, in multiples of the stride."""
        return _first(self.labels[: DEEPEST + 1 : stride] == 0, stride)

    def worthwhile(self, stride: int) -> int:
        """The least margin, in multiples of the stride, with at most twice the difference of the deepest one."""
        worst = self.worst[: DEEPEST + 1 : stride]
        return int((worst <= 2 * worst[-1]).argmax()) * stride


def _first(holds: np.ndarray, stride: int) -> int | None:
    return int(holds.argmax()) * stride if holds.any() else None


def measure_reach(runtime: Runtime, image: Path, stride: int) -> Reach:
    """Compare the answer to a piece of an image with the answer to what is left when its left side is cut off.

    runtime: answers with probabilities, nothing of a padded network's answer cut off.
    """
    # An odd number of strides: a network that pools with twice the stride gives itself away.
    cut = ((_CUT // stride) // 2 * 2 + 1) * stride
    height = legal_side(DEEPEST, runtime.card)
    width = legal_side(DEEPEST + _TAIL, runtime.card) + cut
    with open_image(image) as source:
        check_fits(source.info, runtime.card)
        grey = measure_page(source, 0, runtime.card.normalization)
        middle = Region((source.info.height - height) // 2, (source.info.width - width) // 2, height, width)
        pixels = read_tile(source, 0, middle, grey)[0]
    whole, part = (_probabilities(runtime, each, grey) for each in (pixels, pixels[:, :, cut:]))
    whole = whole[..., cut:]
    second, first = np.sort(whole, axis=0)[-2:]
    differ = (whole.argmax(0) != part.argmax(0)) & (first - second > TOLERANCE)
    apart = np.abs(whole - part).max(axis=(0, 1))
    return Reach(np.maximum.accumulate(apart[::-1])[::-1], differ.sum(axis=0)[::-1].cumsum()[::-1])


_CUT, _TAIL = 128, 128
"""Pixels that are cut off, at least, and that are looked at beyond the deepest margin."""


def _probabilities(runtime: Runtime, tile: np.ndarray, grey: GreyScale) -> np.ndarray:
    """Probabilities (K, h, w) float32 of one tile (C, h, w)."""
    answer = runtime.result(runtime.submit([tile], [grey]))
    assert answer.probabilities is not None
    return answer.probabilities[0]


def apart(agreement: Agreement) -> float:
    """The largest difference of a probability."""
    assert agreement.worst_probability is not None
    return agreement.worst_probability


@dataclass(frozen=True)
class SeamFinding:
    """What was seen of a network's seams before a margin was cut off."""

    network: Network
    stride: int
    """What input sides grow by, in pixels."""
    lacks: int
    """Pixels a side that the network's own answer lacks."""
    reach: Reach | None
    """Of a padded network."""
    whole_tile: tuple[str, ...]
    """Operators that look at a whole tile at once."""
    true_stride: int | None
    """A larger stride, with which there would be no seams."""

    def margins(self, *, allow_seams: bool) -> list[int]:
        """The margins worth trying, in pixels. Raises VerificationError where there is none."""
        if self.reach is None:
            return [self.lacks]
        stride = self.stride
        # Ten times less than may be: another image may feel the edge more, and a corner lacks more than a side.
        least = self.reach.seamless(stride, TOLERANCE / 10)
        least = self.reach.seamless(stride) if least is None else least
        if least is not None:
            return [margin for margin in range(least, least + 3 * stride, stride) if margin <= DEEPEST]
        if not allow_seams:
            raise VerificationError(self._refusal(float(self.reach.worst[DEEPEST]), DEEPEST))
        agreeing = self.reach.agreeing(stride)
        return [self.reach.worthwhile(stride) if agreeing is None else agreeing]

    def holds(self, agreement: Agreement, margin: int) -> bool:
        """Whether tiles with this margin, which were compared with one pass, leave no seams."""
        return agreement.holds and (self.reach is None or bool(self.reach.worst[margin] <= TOLERANCE))

    def refusal(self, agreement: Agreement, margin: int) -> str:
        """What is wrong with a margin, and what to do, in one line."""
        worst = apart(agreement)
        if self.reach is not None:
            worst = max(worst, float(self.reach.worst[margin]))
        return self._refusal(worst, margin)

    def _refusal(self, worst: float, margin: int) -> str:
        seams = f"{self.network.path}: with a margin of {margin} tiles leave seams, probabilities {worst:.2g} apart"
        return f"{seams}; {self._advice(margin)}"

    def _advice(self, margin: int) -> str:
        stride = self.stride
        least = agreeing = None
        if self.reach is not None:
            least, agreeing = self.reach.seamless(stride), self.reach.agreeing(stride)
        labels = "" if agreeing is None else f", and labels agree from {agreeing} on"
        if least is not None:
            return f"take --margin {least if least > margin else margin + stride}{labels}"
        if self.true_stride:
            return f"take --stride {self.true_stride}: with it there are none"
        why = (
            f"a tile's edge is felt beyond {DEEPEST} pixels" if self.reach else "its answer depends on the tile's place"
        )
        if self.whole_tile:
            why = f"no margin helps, as it looks at a whole tile at once ({', '.join(self.whole_tile)})"
        return f"{why}{labels}; to take it all the same pass --allow-seams"


def look_for_seams(draft: Path, image: Path, network: Network, stride: int, *, padded: bool) -> SeamFinding:
    """Measure seams of a network whose answer is not cropped. Raises ModelError where it gives no probabilities."""
    reach = true_stride = None
    with OnnxRuntime(draft, probabilities=True) as runtime:
        _check_probabilities(runtime, image, network.path)
        if padded:
            reach = measure_reach(runtime, image, stride)
            if reach.seamless(stride) is None:
                true_stride = _seamless_stride(runtime, image, stride)
        return SeamFinding(network, stride, runtime.card.margin, reach, whole_tile_operators(network), true_stride)


def _seamless_stride(runtime: Runtime, image: Path, stride: int) -> int | None:
    """A multiple of the stride that leaves no seams: the network pools more often than was said."""
    larger = (stride * factor for factor in (2, 4, 8))
    return next((each for each in larger if measure_reach(runtime, image, each).seamless(each) is not None), None)


def _check_probabilities(runtime: Runtime, image: Path, model: Path) -> None:
    card = runtime.card
    with open_image(image) as source:
        check_fits(source.info, card)
        grey = measure_page(source, 0, card.normalization)
        scores = _probabilities(runtime, read_tile(source, 0, Region(0, 0, card.base, card.base), grey)[0], grey)
    if not np.isfinite(scores).all():
        raise ModelError(f"{model}: answers NaN or infinity; check --normalization, --mean and --std")
    if scores.min() < -TOLERANCE or np.abs(scores.sum(axis=0) - 1).max() > SUM_TOLERANCE:
        raise ModelError(f"{model}: its answer is no probabilities; leave --activation out, or say softmax or sigmoid")
