"""Which of two precisions a model is computed in on this machine, why, and where that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.system.cache import keep, kept


@dataclass(frozen=True)
class Choice:
    """bfloat16 where it agrees with float32 and is faster, float32 elsewhere.

    >>> str(Choice(against="this processor has no bfloat16"))
    'float32: this processor has no bfloat16'
    >>> Choice(Agreement(pixels=10_000, labels_differ=3), 1.8).precision
    'bf16'
    >>> Choice(Agreement(pixels=10_000, labels_differ=30), 1.8).precision
    'fp32'
    """

    agreement: Agreement | None = None
    """What bfloat16 answered beside float32; None where it was not tried."""
    speedup: float = 0.0
    """How many times as fast as float32 it was."""
    against: str = ""
    """Why it was not tried."""

    @property
    def taken(self) -> bool:
        """Whether what was tried is taken: it agrees, and is faster."""
        return self._agrees and self.speedup > 1

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`."""
        return "bf16" if self.taken else "fp32"

    @property
    def settled(self) -> bool:
        """Whether another image need not be asked: tiles of one class say little."""
        return self.agreement is not None and self.agreement.classes > 1

    @property
    def lasts(self) -> bool:
        """Whether the next process need not ask: that it agreed and was slower may have been of a busy moment."""
        return self.settled and (self.precision == "bf16" or not self._agrees)

    @property
    def _agrees(self) -> bool:
        return self.settled and self.agreement is not None and self.agreement.holds

    def __str__(self) -> str:
        if self.agreement is None:
            return f"float32: {self.against}"
        if not self.settled:
            return "float32: the tiles on which bfloat16 was tried are of one class, which proves nothing"
        if not self._agrees:
            return f"float32: in bfloat16 {self.agreement}"
        if self.speedup <= 1:
            return f"float32: bfloat16 is no faster on this processor ({self.speedup:.2f} times)"
        return f"bfloat16, {self.speedup:.1f} times as fast as float32: {self.agreement}"

    def to_plain(self) -> dict[str, Any]:
        """As it stands in JSON, where it was tried."""
        return {"speedup": self.speedup, "agreement": self.agreement.to_plain() if self.agreement else None}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Choice:
        """Read it back. Raises ValueError, TypeError, KeyError or OverflowError where it is none."""
        return cls(Agreement.from_plain(plain["agreement"]), float(plain["speedup"]))


def kept_choice(key: str) -> Choice | None:
    """What `keep_choice` wrote down under this key; None where there is nothing that can be read."""
    return kept(_name(key), Choice.from_plain)


def keep_choice(key: str, choice: Choice) -> None:
    """Write it down in the cache folder, where that can be written to; elsewhere the next process tries again."""
    keep(_name(key), choice.to_plain())


def _name(key: str) -> str:
    return f"choice-{key}.json"
