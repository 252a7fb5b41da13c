"""What an engine is compiled for: the shapes that it takes, its precision, and the GPUs that may run it.

The same values are the options of `unet-deploy build-engine`, what a compiler is given, and a part of an engine's
record; each of these ways there and back is written once, here.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from unet_deploy.errors import UsageError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import Pixels, Precision
from unet_deploy.runtimes import Limits
from unet_deploy.runtimes.tensorrt.checked import check_all, is_bool, is_count, is_count_or_none, list_of, one_of

Compatibility = Literal["none", "same", "ampere"]
"""Other GPUs that may run an engine: none, those of the same compute capability, all from Ampere on."""

Batched = tuple[int, int, int]
"""(tiles, height, width) of one submission; the sides are the network's input, in pixels."""


@dataclass(frozen=True)
class Profile:
    """The smallest and the largest submission that an engine takes, and the one between that it is tuned for."""

    min: Batched
    opt: Batched
    max: Batched

    @classmethod
    def of(cls, batch: int, height: int, width: int) -> Profile:
        """A profile of one shape alone."""
        return cls(*[(batch, height, width)] * 3)

    @property
    def fixed(self) -> bool:
        """Whether every submission has the same shape."""
        return self.min == self.max

    @property
    def limits(self) -> Limits:
        """The same as a runtime states it."""
        return Limits(self.max[0], self.min[1:], self.max[1:], self.min[0], hard=True)

    def check(self, card: ModelCard) -> None:
        """Raise UsageError unless the shapes grow in order and the network takes all of them."""
        for batch, height, width in (self.min, self.opt, self.max):
            for side in (height, width):
                if side < card.base or (side - card.base) % card.stride:
                    below = card.base + max(0, (side - card.base) // card.stride * card.stride)
                    raise UsageError(
                        f"shape {batch}x{height}x{width}: model {card.name!r} takes sides of "
                        f"{card.base} + k x {card.stride} pixels; "
                        f"the nearest to {side} are {below} and {below + card.stride}"
                    )
        if self.min[0] != 1 and not self.fixed:
            raise UsageError(f"shapes: the smallest must be of 1 tile, not {self.min[0]}: an image may end with one")
        for low, high in ((self.min, self.opt), (self.opt, self.max)):
            if any(a > b or a < 1 for a, b in zip(low, high, strict=True)):
                raise UsageError(
                    "shapes: the smallest, the best and the largest must grow in this order, from 1 tile on"
                )

    def arguments(self) -> list[str]:
        """The words of `build-engine` that ask for these shapes."""
        if self.fixed:
            batch, height, width = self.max
            return ["--batch-size", str(batch), "--tile-size", f"{height}x{width}"]
        shapes = {"--min-shapes": self.min, "--opt-shapes": self.opt, "--max-shapes": self.max}
        return [word for option, shape in shapes.items() for word in (option, "x".join(map(str, shape)))]


@dataclass(frozen=True)
class BuildOptions:
    """Everything that decides an engine but the model and the compiler."""

    profile: Profile
    precision: Precision = "fp16"
    pixels: Pixels = "uint8"
    """How pixels cross the bus."""
    probabilities: bool = False
    """Whether it returns probabilities as well as labels."""
    targets: tuple[str, ...] = ()
    """Architectures to compile for ahead of time, ("sm86", "sm89"); none is the GPU at hand."""
    workspace: int | None = None
    """Most bytes of scratch memory on the GPU."""
    optimization_level: int | None = None
    """How long to look for faster kernels, 0 to 5."""
    compatibility: Compatibility = "none"
    version_compatible: bool = False
    """Whether later minor versions of TensorRT may run it."""

    def arguments(self) -> list[str]:
        """The words of `build-engine` that ask for these options."""
        words = [*self.profile.arguments(), "--precision", self.precision, "--pixels", self.pixels]
        words += ["--output", "probabilities" if self.probabilities else "labels"]
        words += ["--target", ",".join(self.targets)] if self.targets else []
        words += [] if self.workspace is None else ["--workspace", str(self.workspace)]
        words += [] if self.optimization_level is None else ["--optimization-level", str(self.optimization_level)]
        words += [] if self.compatibility == "none" else ["--hardware-compatibility", self.compatibility]
        words += ["--version-compatible"] if self.version_compatible else []
        return words

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it, which knows no tuples."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_plain(cls, plain: object) -> BuildOptions:
        """Read back what `to_plain` wrote. Raises ValueError, which names the option, for anything else."""
        options = check_all("options", plain, _OPTIONS)
        profile = check_all("profile", options["profile"], _PROFILE)
        shapes = {name: tuple(shape) for name, shape in profile.items()}
        return cls(**{**options, "profile": Profile(**shapes), "targets": tuple(options["targets"])})


def target_of(capability: str) -> str:
    """The name of an architecture to compile for.

    >>> target_of("8.6"), target_of("12.0")
    ('sm86', 'sm120')
    """
    return "sm" + capability.replace(".", "")


def capability_of(target: str) -> str:
    """The compute capability that a target stands for.

    >>> capability_of("sm86"), capability_of("sm120")
    ('8.6', '12.0')
    """
    return f"{target[2:-1]}.{target[-1]}"


def _is_shape(value: object) -> bool:
    return list_of(is_count)(value) and len(value) == 3  # type: ignore[arg-type]


def _is_target(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"sm\d{2,}", value) is not None


_PROFILE = dict.fromkeys(("min", "opt", "max"), _is_shape)
_OPTIONS = {
    "profile": lambda value: isinstance(value, dict),
    "precision": one_of(get_args(Precision)),
    "pixels": one_of(get_args(Pixels)),
    "probabilities": is_bool,
    "targets": list_of(_is_target),
    "workspace": is_count_or_none,
    "optimization_level": is_count_or_none,
    "compatibility": one_of(get_args(Compatibility)),
    "version_compatible": is_bool,
}
"""What may stand in a record."""
