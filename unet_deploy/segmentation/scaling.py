"""At which scale an image is taken: what a person asks for, and what comes of it for one model and one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.pyramid import LevelRead
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import Change
from unet_deploy.model.scaling import LEAST, MOST
from unet_deploy.system.arguments import Auto, number, number_or_auto, number_or_none, settle


@dataclass(frozen=True)
class Scaling:
    """At which scale a model is to see an image, by one of three; with none, as the model's card says.

    Raises UsageError for more than one and for what is no size.

    >>> Scaling(diameter=90)
    Scaling(scale=None, diameter=90.0, pixel_size=None)
    """

    scale: float | None = None
    """Pixels of the network for a pixel of the image: 0.5 shows it the image at half its size."""
    diameter: float | Auto | None = None
    """Of a typical object in the image, in its pixels; auto measures it."""
    pixel_size: float | Auto | None = None
    """Of the image in micrometres, where the card says the model's; auto takes what the file says."""

    def __post_init__(self) -> None:
        settle(self, scale=number_or_none, diameter=number_or_auto, pixel_size=number_or_auto)
        given = [name for name in ("scale", "diameter", "pixel_size") if getattr(self, name) is not None]
        if len(given) > 1:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{options}: each of them says at which scale the image is taken; give one")
        for name in ("diameter", "pixel_size"):
            value = getattr(self, name)
            if value not in (None, "auto") and not 0 < value < float("inf"):
                raise UsageError(f"--{name.replace('_', '-')} {value:g}: give a number above 0, or auto")
        if self.scale is not None:
            Change(self.scale)

    @property
    def is_asked(self) -> bool:
        """Whether a person has said anything of it."""
        return self != AS_THE_CARD_SAYS


AS_THE_CARD_SAYS = Scaling()


@dataclass(frozen=True)
class Scaled:
    """The scale at which an image is taken."""

    scale: float = 1.0
    """Pixels of the network for a pixel of the image."""
    why: str = ""
    """What it follows from, in words; empty where nothing was asked for."""
    diameter: float | None = None
    """Of a typical object in pixels of the image, where that is what it follows from."""
    level: int | None = None
    """Of the pyramid, a coarser one that is read for it; None where the level is read that the answer is on."""
    passed_over: str = ""
    """Why coarser levels are not read that would do, in words."""

    def __str__(self) -> str:
        why = self.why and f"{self.why}: "
        if self.scale == 1:
            return f"{why}the image is taken as it is"
        size = f"{self.scale:.3g} {'of' if self.scale < 1 else 'times'} its size"
        read = "" if self.level is None else f", read from level {self.level}"
        return f"{why}the image is taken at {size}{read}{self.passed_over and f'; {self.passed_over}'}"

    def read_as(self, read: LevelRead) -> Scaled:
        """The same, of an image that is so read."""
        return replace(self, level=read.level, passed_over=read.passed_over)


AS_IT_IS = Scaled()


def scale_of(scaling: Scaling, card: ModelCard, image: ImageInfo) -> Scaled:
    """The scale that is asked for by a number, as it is really taken. card: of the model's file. image: at its level.

    Raises UsageError and ImageError where a size is missing, with what to give instead.
    """
    if isinstance(scaling.diameter, float):
        return _of_diameter(scaling.diameter, card)
    if scaling.pixel_size is not None:
        return _of_pixel_size(scaling.pixel_size, card, image)
    asked = 1.0 if scaling.scale is None else scaling.scale
    return Scaled(Change(asked).scale_of(card.stride))


def require_diameter(card: ModelCard, asked: float | Auto) -> float:
    """The diameter of objects that a model knows best. Raises UsageError where its card does not say."""
    if card.decision.diameter is None:
        raise UsageError(
            f"--diameter {asked if asked == 'auto' else f'{asked:g}'}: the card of model {card.name!r} does not say "
            "which objects it knows best; give --scale, the diameter of those by that of the image's"
        )
    return card.decision.diameter


def _of_diameter(diameter: float, card: ModelCard) -> Scaled:
    """The scale at which objects of a diameter have that which the model knows best. Raises UsageError."""
    known = require_diameter(card, diameter)
    taken = _taken(known / diameter, card, f"--diameter {diameter:g}")
    return Scaled(taken, f"objects of about {diameter:.3g} px", diameter)


def _of_pixel_size(size: float | Auto, card: ModelCard, image: ImageInfo) -> Scaled:
    found = image.pixel_size_um if size == "auto" else number(size, "pixel_size")
    if found is None:
        raise ImageError(f"{image.name}: does not say how large its pixels are; give --pixel-size in micrometres")
    if card.pixel_size_um is None:
        raise UsageError(
            f"--pixel-size {size if size == 'auto' else f'{size:g}'}: the pixel size of model {card.name!r} "
            "is not known; give --scale"
        )
    taken = _taken(found / card.pixel_size_um, card, f"--pixel-size {found:g}")
    return Scaled(taken, f"pixels of {found:.4g} um, of the model {card.pixel_size_um:.4g} um")


def _taken(scale: float, card: ModelCard, asked: str) -> float:
    """The scale that there is next to this one. Raises UsageError for one that is beyond all."""
    if not LEAST <= scale <= MOST:
        raise UsageError(f"{asked}: is a scale of {scale:.3g} for model {card.name!r}; there are {LEAST:g} to {MOST:g}")
    return Change(scale).scale_of(card.stride)
