"""A Runtime that stands in front of another one, and answers as that one does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import Self

from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Answer, Limits, Runtime


class StandIn(ABC):
    """All that a Runtime has, by asking the one that answers."""

    @property
    @abstractmethod
    def runtime(self) -> Runtime:
        """Who answers now."""

    @property
    def card(self) -> ModelCard:
        return self.runtime.card

    @property
    def name(self) -> str:
        return self.runtime.name

    @property
    def fingerprint(self) -> str:
        return self.runtime.fingerprint

    @property
    def probabilities(self) -> bool:
        return self.runtime.probabilities

    @property
    def slots(self) -> int:
        return self.runtime.slots

    @property
    def limits(self) -> Limits:
        return self.runtime.limits

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Any:
        return self.runtime.submit(tiles, greys)

    def result(self, ticket: Any) -> Answer:
        return self.runtime.result(ticket)

    def memory(self, height: int, width: int) -> int | None:
        return self.runtime.memory(height, width)

    def shrink(self, below: Limits) -> None:
        self.runtime.shrink(below)

    def close(self) -> None:
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
