"""What a network's answer is: probabilities, logits, class numbers or none of these, by the numbers of varied tiles.

The last operator of a graph says little: a sigmoid may be followed by a cast, a clip or a resize, or be written out as
arithmetic. So the network is run, and its graph is asked only where numbers may mean two things.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from unet_deploy.convert.external import CLASS_NUMBERS, Added, MeasuredGeometry, Network
from unet_deploy.errors import ModelError, UsageError

Activation = Literal["auto", "softmax", "sigmoid", "none"]

SUM_TOLERANCE = 2e-3
"""How far the sum of a pixel's probabilities may be from 1: half precision is 0.0005 off, a clip less."""

_NEAR = 1e-5
"""How far a number may be beyond a bound for rounding alone."""


@dataclass(frozen=True)
class Answers:
    """What a network answers to tiles of every kind, and how its graph ends."""

    network: Network
    values: np.ndarray
    """(K, pixels) float64, all tiles together."""
    maker: str
    """The operator that makes the numbers: casts, changes of shape and arithmetic with constants only pass them on."""

    @property
    def planes(self) -> int:
        return len(self.values)

    @cached_property
    def least(self) -> float:
        return float(self.values.min())

    @cached_property
    def most(self) -> float:
        return float(self.values.max())

    @property
    def ends_linearly(self) -> bool:
        """Whether the graph ends in a layer, and not in a function that bounds its answer."""
        return self.maker in _LAYERS

    @property
    def constant(self) -> bool:
        return bool((np.ptp(self.values, axis=1) == 0).all())

    @property
    def class_numbers(self) -> bool:
        """Whether these are whole numbers from 0 on, one for each pixel."""
        whole = self.planes == 1 and self.least >= 0 and bool((self.values == np.round(self.values)).all())
        return whole and (self.maker in _CHOOSERS or not self.constant)

    @property
    def shares(self) -> bool:
        """Whether every number is from 0 to 1."""
        return self.least >= -_NEAR and self.most <= 1 + _NEAR

    @property
    def log_probabilities(self) -> bool:
        """Whether the exponentials of a pixel's numbers sum to 1, or did before they were resized."""
        negative = self.planes > 1 and self.most <= _NEAR
        sums = np.logaddexp.reduce(self.values)
        return negative and (self.maker == "LogSoftmax" or bool(np.abs(sums).max() < SUM_TOLERANCE))

    @property
    def sums_to(self) -> float | None:
        """What each pixel's numbers sum to where that is the same everywhere and none is negative."""
        sums = self.values.sum(axis=0)
        same = self.planes > 1 and self.least >= -_NEAR * abs(sums[0]) and np.ptp(sums) <= 2 * SUM_TOLERANCE * sums[0]
        return float(sums.mean()) if same else None

    def refused(self, why: str) -> ModelError:
        return ModelError(f"{self.network.path}: {why}")

    def unclear(self, seen: str) -> UsageError:
        """What to say where the numbers may mean two things."""
        scores = "softmax" if self.planes > 1 else "sigmoid"
        if self.shares and self.planes == 1:
            remedy = f"pass --activation none where these are probabilities, or {scores} where they are scores"
        else:
            remedy = f"export it to give probabilities of 0 to 1, or pass --activation {scores} where they are scores"
        return UsageError(f"{self.network.path}: answers {self.least:.3g} to {self.most:.3g}, {seen}; {remedy}")


def find_activation(
    network: Network, geometry: MeasuredGeometry, wanted: Activation, tile: np.ndarray | None = None
) -> Added:
    """What makes probabilities of the answer.

    tile: (C, h, w) float32 of a real image, normalised. Raises ModelError for an answer that cannot be used, and
    UsageError where `wanted` contradicts it, or is needed because numbers and graph leave it open.
    """
    answers = _ask(network, geometry, tile)
    _refuse_useless(answers, wanted)
    done = _is_done(answers)
    if wanted == "auto":
        return "none" if done else _what_is_missing(answers)
    if done and wanted != "none":
        raise UsageError(
            f"{network.path}: its answer is probabilities already, {answers.least:.3g} to {answers.most:.3g}; "
            f"leave --activation {wanted} out"
        )
    return wanted


def _refuse_useless(answers: Answers, wanted: Activation) -> None:
    """Raise for what no activation makes one class a pixel of."""
    if answers.planes == 1 and (answers.maker == "Softmax" or wanted == "softmax"):
        raise UsageError(f"{answers.network.path}: a softmax of one plane is 1 everywhere; pass --activation sigmoid")
    if answers.class_numbers:
        raise answers.refused(CLASS_NUMBERS)
    if answers.constant:
        raise answers.refused(
            "answers the same everywhere, whatever the image; its weights are lost or zero: export it again"
        )
    by_sigmoid = answers.maker in _SIGMOIDS or (answers.shares and not answers.ends_linearly)
    overlapping = by_sigmoid and answers.least >= -_NEAR and answers.sums_to is None
    if answers.planes > 1 and (overlapping or wanted == "sigmoid"):
        raise answers.refused(
            f"{answers.planes} classes by sigmoid may overlap, but a mask holds one class a pixel; take one with a "
            "softmax"
        )
    total = answers.sums_to
    if total is not None and abs(total - 1) > SUM_TOLERANCE:
        raise answers.refused(f"its planes sum to {total:.4g} everywhere; export it to give probabilities from 0 to 1")


def _is_done(answers: Answers) -> bool:
    """Whether the answer is probabilities as it is."""
    if answers.planes == 1:
        return answers.shares and not answers.ends_linearly
    return answers.shares and answers.sums_to is not None


def _what_is_missing(answers: Answers) -> Added:
    """The activation of an answer that is not probabilities. Raises UsageError where it may not be scores either."""
    if answers.log_probabilities:
        return "softmax"  # of logarithms it is the probabilities themselves
    if answers.shares:
        raise answers.unclear("as probabilities do, but the graph ends in a layer, as scores do")
    if not answers.ends_linearly:
        if answers.least >= 0 or answers.most <= 0:
            raise answers.unclear("never beyond 0, as scores are")
        if answers.least >= -1 - _NEAR and answers.most <= 1 + _NEAR:
            raise answers.unclear("as a hyperbolic tangent does")
        if answers.least >= -0.5 and answers.most <= 1.5:
            raise answers.unclear("nearly from 0 to 1, as resized probabilities do")
    return "sigmoid" if answers.planes == 1 else "softmax"


# -- asking it ---------------------------------------------------------------------------------------------------


def _ask(network: Network, geometry: MeasuredGeometry, tile: np.ndarray | None) -> Answers:
    """Run the network on tiles of every kind. Raises ModelError where an ordinary one is answered with NaN."""
    side = geometry.side
    answers = []
    for pixels in [*_ordinary(network.channels, side), *([] if tile is None else [tile])]:
        answer = network.answer(pixels[None])[0]
        if not np.isfinite(answer).all():
            raise ModelError(
                f"{network.path}: answers NaN or infinity; its weights are damaged, or --normalization, --mean and "
                "--std are not its own: export it again"
            )
        answers.append(answer)
    for pixels in _extreme(network.channels, side):
        answer = network.answer(pixels[None])[0]
        if np.isfinite(answer).all():  # an exponential written out may overflow, a standard deviation be 0
            answers.append(answer)
    values = np.concatenate([each.reshape(len(each), -1) for each in answers], axis=1)
    return Answers(network, values.astype(np.float64), _maker(network))


def _ordinary(channels: int, side: int) -> Iterator[np.ndarray]:
    """Tiles (C, side, side) float32 as normalisation makes them, from 0 to 1 or about 0: noise and blobs."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    noise = rng.standard_normal((channels, side, side))
    blobs = ndimage.gaussian_filter(noise, (0, 4, 4))
    blobs /= blobs.std()
    for each in (noise, 2 * blobs, 0.5 + 0.2 * blobs, rng.random(noise.shape)):
        yield each.astype(np.float32)


def _extreme(channels: int, side: int) -> Iterator[np.ndarray]:
    """Tiles (C, side, side) float32 of nothing, and with values that only an unbounded answer follows."""
    noise = np.random.default_rng(1).standard_normal((channels, side, side)).astype(np.float32)
    yield from (0 * noise, 20 * noise, 255 * np.abs(noise), -255 * np.abs(noise))


# -- its graph ---------------------------------------------------------------------------------------------------

_LAYERS = {
    "BatchNormalization", "Conv", "ConvTranspose", "Einsum", "Gemm", "InstanceNormalization", "MatMul", "QLinearConv",
}  # fmt: skip
"""Operators whose answer may be any number."""

_SIGMOIDS = {"HardSigmoid", "Sigmoid"}
_CHOOSERS = {"ArgMax", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Round", "TopK"}

_CARRIES = {
    "AveragePool", "Cast", "Clip", "DequantizeLinear", "Dropout", "Flatten", "Identity", "MaxPool", "Pad",
    "QuantizeLinear", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
}  # fmt: skip
"""Operators whose answer is the numbers of their first input, or lies between them."""

_JOINS = {"Add", "Concat", "Max", "Mean", "Min", "Sub", "Sum"}
"""Operators whose answer is as bounded as their inputs, which are taken to be alike."""


def _maker(network: Network) -> str:
    """The operator that makes the numbers of the answer, empty where none does."""
    graph = network.proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {each.name for each in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and (before := _carried(node, constants, makers)):
        node = makers.get(before)
    return node.op_type if node is not None else ""


def _carried(node: Any, constants: set[str], makers: dict[str, Any]) -> str | None:
    """The input whose numbers a node passes on, or changes by little; None where it makes numbers."""
    if node.op_type in _CARRIES:
        return str(node.input[0])
    features = [name for name in node.input if not _is_constant(name, constants, makers)]
    if node.op_type in _JOINS and features:
        return str(features[0])
    by_a_constant = node.op_type == "Mul" or (node.op_type == "Div" and features[:1] == node.input[:1])
    return str(features[0]) if by_a_constant and len(features) == 1 else None


def _is_constant(name: str, constants: set[str], makers: dict[str, Any]) -> bool:
    """Whether a tensor depends on nothing: a constant, or one that was cast."""
    maker = makers.get(name)
    if name in constants or not name:
        return True
    return maker is not None and maker.op_type in _CARRIES and _is_constant(maker.input[0], constants, makers)
