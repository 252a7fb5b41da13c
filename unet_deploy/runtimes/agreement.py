"""Whether two answers agree: what was compared, how many labels differ, and what may."""

from __future__ import annotations

from dataclasses import dataclass

from unet_deploy.errors import VerificationError

LIMIT_PPM = 1000.0
"""Labels in a million that may differ from those of the float32 model."""


@dataclass(frozen=True)
class Accuracy:
    """A runtime beside ONNX Runtime in float32 on a CPU."""

    image: str
    tiles: int
    pixels: int
    labels_differ_ppm: float
    """Of a million labels, how many are not the model's."""
    worst_probability: float | None
    """Largest difference of a probability; None where the runtime answers with labels alone."""
    not_finite: int | None
    """Probabilities that are NaN or infinite."""
    classes: int = 2
    """Classes that the model saw there: of a blank image agreement says little."""
    limit_ppm: float = LIMIT_PPM

    @property
    def holds(self) -> bool:
        return self.labels_differ_ppm <= self.limit_ppm and not self.not_finite

    def __str__(self) -> str:
        parts = [f"{self.labels_differ_ppm:.3g} labels in a million differ (limit {self.limit_ppm:g})"]
        if self.worst_probability is not None:
            parts.append(f"worst probability {self.worst_probability:.2g} apart, {self.not_finite} not finite")
        return f"{', '.join(parts)}, on {self.tiles} tiles of {self.image}"

    def require(self, name: str) -> None:
        """Raise VerificationError unless it holds."""
        if not self.holds:
            raise VerificationError(f"{name}: not the model's answer: {self}; do not use it, take --precision fp32")
