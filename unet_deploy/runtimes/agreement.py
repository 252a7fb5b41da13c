"""Whether two answers agree: what was compared, how many labels differ, and how many may.

Every comparison of the project is one of these: tiles with the whole image, a fast runtime with the float32 model, 8
bits with 32, ONNX Runtime with PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from unet_deploy.errors import VerificationError
from unet_deploy.model.contract import LIMIT_PPM

TOLERANCE = 1e-4
"""How far two float32 probabilities of the same network may lie apart."""


@dataclass(frozen=True)
class Agreement:
    """How far an answer agrees with a reference, over the same pixels. Agreements of different pixels can be added.

    >>> Agreement(pixels=2_000_000, labels_differ=30).labels_differ_ppm
    15.0
    """

    pixels: int
    labels_differ: int
    """Pixels whose labels are not the reference's."""
    ties: int = 0
    """Those of them whose two best classes are within TOLERANCE of each other there: either label is right."""
    worst_probability: float | None = None
    """Largest absolute difference of a probability; None where only labels were compared."""
    not_finite: int | None = None
    """Probabilities that are NaN or infinite on either side; None where only labels were compared."""
    classes: int = 2
    """Classes that the reference saw: of a blank image agreement says little."""
    image: str = ""
    """What was looked at."""
    tiles: int = 1
    limit_ppm: float = LIMIT_PPM
    """Labels in a million that may differ."""
    limit_probability: float | None = None
    """How far probabilities may lie apart; None where labels alone decide."""

    @property
    def labels_differ_ppm(self) -> float:
        """Of a million labels, how many are not the reference's, ties included."""
        return self.labels_differ / self.pixels * 1e6

    @property
    def holds(self) -> bool:
        """Whether no more differs than may: labels within their limit or all of them ties, and nothing NaN."""
        labels = self.labels_differ_ppm <= self.limit_ppm or self.labels_differ == self.ties
        near = self.limit_probability is None or (self.worst_probability or 0.0) <= self.limit_probability
        return labels and near and not self.not_finite

    def __str__(self) -> str:
        parts = [f"{self.labels_differ_ppm:.3g} labels in a million differ (limit {self.limit_ppm:g})"]
        if self.worst_probability is not None:
            parts.append(f"worst probability {self.worst_probability:.2g} apart, {self.not_finite} not finite")
        return f"{', '.join(parts)}, on {self.tiles} tiles of {self.image}"

    def require(self, name: str) -> None:
        """Raise VerificationError unless it holds."""
        if not self.holds:
            raise VerificationError(
                f"{name}: not the model's answer: {self}; do not use it, take --precision fp32, or --device cpu"
            )

    def __add__(self, other: Agreement) -> Agreement:
        return replace(
            self,
            pixels=self.pixels + other.pixels,
            labels_differ=self.labels_differ + other.labels_differ,
            ties=self.ties + other.ties,
            worst_probability=_both(max, self.worst_probability, other.worst_probability),
            not_finite=_both(add, self.not_finite, other.not_finite),
            classes=max(self.classes, other.classes),
            tiles=self.tiles + other.tiles,
        )

    def to_plain(self) -> dict[str, Any]:
        """As it stands in JSON; docs/deploy.md lists the fields."""
        return {
            "image": self.image,
            "tiles": self.tiles,
            "pixels": self.pixels,
            "labels_differ_ppm": self.labels_differ_ppm,
            "ties": self.ties,
            "worst_probability": self.worst_probability,
            "not_finite": self.not_finite,
            "classes": self.classes,
            "limit_ppm": self.limit_ppm,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Agreement:
        """Read it back. Raises ValueError, TypeError, KeyError or OverflowError where it is none."""
        rest = dict(plain)
        found = cls(labels_differ=round(rest.pop("labels_differ_ppm") * rest["pixels"] / 1e6), **rest)
        counts = found.pixels, found.tiles, found.classes, found.labels_differ + 1, found.ties + 1
        if not all(isinstance(each, int) and each > 0 for each in counts) or not found.limit_ppm >= 0:
            raise ValueError(f"no agreement: {plain}")
        return found


def _both(join: Any, one: Any, other: Any) -> Any:
    """Two values joined, or None where either was not measured."""
    return None if one is None or other is None else join(one, other)


def compare(
    labels: np.ndarray,
    probabilities: np.ndarray,
    other_labels: np.ndarray,
    other_probabilities: np.ndarray | None,
    *,
    limit_ppm: float = 0.0,
    limit_probability: float | None = TOLERANCE,
    threshold: float = 0.5,
) -> Agreement:
    """Compare an answer with the reference's, which comes first, for the same pixels.

    labels: (H, W) uint8. probabilities: (K, H, W) float32; the other's may be None where it answers with labels alone.
    By default all labels but those of ties must be the same. threshold: as of `Decision`, by which labels were chosen.

    >>> reference = np.array([[[0.3, 0.9]], [[0.7, 0.1]]])
    >>> compare(np.array([[1, 0]]), reference, np.array([[1, 1]]), reference).labels_differ
    1
    """
    differ = labels != other_labels
    disputed = probabilities[:, differ]
    disputed[0] *= threshold / (1 - threshold)
    second, first = np.sort(disputed, axis=0)[-2:]
    worst = not_finite = None
    if other_probabilities is not None:
        finite = np.isfinite(probabilities) & np.isfinite(other_probabilities)
        worst = float(np.abs(probabilities - other_probabilities)[finite].max(initial=0.0))
        not_finite = int((~finite).sum())
    return Agreement(
        pixels=labels.size,
        labels_differ=int(differ.sum()),
        ties=int((first - second <= TOLERANCE).sum()),
        worst_probability=worst,
        not_finite=not_finite,
        classes=int(np.count_nonzero(np.bincount(labels.reshape(-1)))),
        limit_ppm=limit_ppm,
        limit_probability=limit_probability,
    )


def together(parts: Iterable[Agreement], image: str) -> Agreement:
    """Agreements of parts as one of the whole. image: what the whole is called."""
    return replace(reduce(add, parts), image=image)
