"""The model that a training begins with: what of its weights fits, and what the new model has of it besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from trainer.layers import named_layers
from trainer.recipe import TUNING, Recipe, first_decision
from trainer.run import Run
from trainer.unet import UNet
from unet_deploy.errors import UsageError
from unet_deploy.masks.apart import check_apart
from unet_deploy.model.card import ModelCard
from unet_deploy.model.decision import Decision
from unet_deploy.model.parent import Parent


@dataclass(frozen=True, eq=False)
class ParentModel:
    """A model in memory whose weights are the first ones of another; `trainer.parent_file.read_parent` reads it."""

    path: Path
    network: UNet
    """On the CPU."""
    card: ModelCard
    origin: Parent
    """What the new model's card says of it."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained further, where nobody says how."""
        return self.fitted(TUNING)

    def fitted(self, recipe: Recipe) -> Recipe:
        """A recipe for its network: as deep and wide as it is, on objects of the size that it knows."""
        width, depth = self.network.head.in_channels, self.network.depth
        return replace(recipe, width=width, depth=depth, diameter=self.card.decision.diameter)

    def check(self, recipe: Recipe, outputs: Sequence[Path]) -> None:
        """Raise UsageError for a recipe of another network, and where the model itself would be written over."""
        own = self.fitted(recipe)
        for option, asked, has in (("--width", recipe.width, own.width), ("--depth", recipe.depth, own.depth)):
            if asked != has:
                raise UsageError(f"{option} {asked}: model {self.card.name!r} has {has}; leave {option} out")
        check_apart(outputs, [self.path])

    def decision_for(self, classes: Sequence[str], diameter: float | None) -> Decision:
        """What its card decides that holds for a model of these classes until its own answers are looked at.

        diameter: of the objects that this one is trained on, in pixels; None for images as they are. Of other classes
        objects are others, and from which confidence on masks are good was measured of the parent alone.
        """
        own, known = self.card.decision, first_decision(diameter)
        if diameter == own.diameter:
            known = replace(known, diameters=own.diameters)
        if len(classes) != len(self.card.classes):
            return known
        return replace(own, trusted_from=0.0, diameter=known.diameter, diameters=known.diameters)

    def has_seen(self, digests: Iterable[str], block: str = "") -> str | None:
        """Say that it has learned from images that are to judge what comes of it, where it has.

        digests: of these images. block: what is held back of an only image, in the words of a card.
        """
        seen = {*digests} & {*self.card.training_images}
        if not seen or (block and block == self.card.split):
            return None
        return (
            f"note: model {self.card.name!r} was trained on {len(seen)} of the images held back, and knows them by "
            "heart: their score tells little; hold back others with --validation"
        )

    def inherit(self, run: Run, classes: Sequence[str]) -> Inherited:
        """Put its weights into a new run, layer by layer where they fit; the rest stays as it was made."""
        theirs, sources = named_layers(self.network), self._sources(classes)
        misfits = []
        for name, layer in named_layers(run.model).items():
            if name == "head":
                _copy_classes(theirs[name], layer, sources)
            elif layer.weight.shape == theirs[name].weight.shape:
                layer.load_state_dict(theirs[name].state_dict())
            else:
                channels = layer.weight.shape[1]
                found = "one channel" if channels == 1 else f"{channels} channels"
                misfits.append(f"the first convolution, as images have {found}")
        run.averaged.load_state_dict(run.model.state_dict())
        own = [None if source is None else self.card.classes[source] for source in sources]
        return Inherited(self.card.name, tuple(misfits), tuple(zip(classes, own, strict=True)))

    def _sources(self, classes: Sequence[str]) -> list[int | None]:
        """Of each class the one of this model that it goes on from: that of its name, or where there are as many and
        that one's name is gone, that of its place."""
        own = self.card.classes
        by_place = [k if len(own) == len(classes) and own[k] not in classes else None for k in range(len(classes))]
        return [own.index(name) if name in own else by_place[k] for k, name in enumerate(classes)]


@dataclass(frozen=True)
class Inherited:
    """What a run has of its parent."""

    parent: str
    """Its name."""
    misfits: tuple[str, ...]
    """Layers that it does not have of it, in words."""
    classes: tuple[tuple[str, str | None], ...]
    """Each class, and the one of the parent that it goes on from."""

    @property
    def anew(self) -> tuple[str, ...]:
        """What was made anew, in words."""
        return *self.misfits, *(f"class {name!r}" for name, source in self.classes if source is None)

    @property
    def notes(self) -> Iterator[str]:
        """What a person should know of it, in lines."""
        rest = f"; made anew: {', '.join(self.anew)}" if self.anew else ""
        yield f"note: begins with the weights of model {self.parent!r}{rest}"
        for name, source in self.classes:
            if source not in (None, name):
                yield f"note: {source!r} of model {self.parent!r} is {name!r} from here on"


@torch.no_grad()
def _copy_classes(theirs: nn.Module, ours: nn.Module, sources: Sequence[int | None]) -> None:
    """Copy the rows of the last layer, each from its source."""
    for part in ("weight", "bias"):
        read, written = getattr(theirs, part), getattr(ours, part)
        for k, source in enumerate(sources):
            if source is not None:
                written[k] = read[source]
