"""One file for each inference runtime, all with the same three methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from typing_extensions import Self

from unet_deploy.card import ModelCard
from unet_deploy.grey import GreyScale

IMAGE, OFFSET, SCALE = "image", "offset", "scale"
LABELS, PROBABILITIES = "labels", "probabilities"
"""Names of the inputs and outputs of every model; shapes are in docs/model-file.md."""


@dataclass(frozen=True)
class Answer:
    """What the network says of N tiles, without their margin."""

    labels: np.ndarray
    """(N, h, w) uint8, class indices."""
    probabilities: np.ndarray | None = None
    """(N, K, h, w) float32, where they were asked for."""


class Runtime(Protocol):
    """A model that is loaded and ready. A context manager."""

    card: ModelCard
    name: str
    """Runtime and device, as a report names them."""
    probabilities: bool
    """Whether its answers hold probabilities."""
    slots: int
    """How many submissions it takes before the first result must be fetched."""

    def submit(self, tiles: np.ndarray, grey: GreyScale) -> Any:
        """Start on (N, C, h, w) grey values of one page, h and w legal for the card; returns a ticket."""

    def result(self, ticket: Any) -> Answer:
        """Wait for a ticket's answer. Tickets are redeemed in the order they were given."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
