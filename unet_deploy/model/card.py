"""What a model is, in its own words: one JSON string under one key of the ONNX file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from unet_deploy.errors import ModelError, reason
from unet_deploy.model import card_fields
from unet_deploy.model.contract import IMAGE, LABELS, LIMIT_PPM, OFFSET, PROBABILITIES, SCALE
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.model.parent import Parent

METADATA_KEY = "unet_deploy.card"
FORMAT = 1


@dataclass(frozen=True)
class Normalization:
    """How grey values g become network input: (g - offset) * scale. Raises ModelError where a field breaks its rule.

    "fixed": offset and scale as stored here, for every image (1 / 255 for 8-bit images).
    "percentile": per page and channel, over the whole image and never over a tile, so that percentile `low`
    becomes 0 and percentile `high` becomes 1; the graph then takes offset and scale as inputs.
    """

    method: Literal["fixed", "percentile"] = "percentile"
    offset: float = 0.0
    scale: float = 1 / 255
    low: float = 1.0
    high: float = 99.8

    def __post_init__(self) -> None:
        card_fields.check_fields(asdict(self), card_fields.NORMALIZATION, "normalization")
        if self.low >= self.high:
            raise ModelError(f"normalization: low {self.low:g} is not below high {self.high:g}; export the model again")


@dataclass(frozen=True)
class ModelCard:
    """Everything a runtime must know about a model, and what a person should know before trusting it."""

    name: str
    channels: int
    """Image channels that the network takes."""
    classes: tuple[str, ...]
    """Class names; the index is the label value in the mask, 0 the background."""
    margin: int
    """Pixels a side that the network's output lacks (92 for the original U-Net)."""
    stride: int
    """Legal input sides are base + k * stride pixels; tile origins are multiples of stride."""
    base: int
    """The smallest legal input side, in pixels (188 for the original U-Net)."""
    normalization: Normalization = Normalization()
    pixel_size_um: float | None = None
    """Pixel size of the training images in micrometres, where known."""
    trained_on: str = ""
    license: str = ""
    command: str = ""
    """The command that made the weights."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Scores by name; a name says the measure and the split."""
    precision: str = "fp32"
    """What its layers compute in: fp32, or int8 of a quantized model, whose loss is among the metrics."""
    split: str = ""
    """What training held back, in the words of `train --validation`, and how many images that are."""
    seed: int | None = None
    """The seed of the training, None where it is not recorded."""
    training_images: tuple[str, ...] = ()
    """Digests of the images that it was trained on, by which `evaluate` tells them from new ones."""
    mask_kind: Literal["", "binary", "classes", "instances"] = ""
    """What the masks were that it was trained on; empty where that is not recorded."""
    mask_values: tuple[int, ...] = ()
    """The number of each class in these masks, the background first; empty for numbered objects."""
    evaluation: Mapping[str, float] = field(default_factory=dict)
    """What `evaluate --record` measured of this very file."""
    evaluated_on: str = ""
    """The images that these figures are of, and how the model was run."""
    decision: Decision = UNDECIDED
    """How its answer becomes a mask and objects."""
    parent: Parent | None = None
    """The model whose weights its training began with."""
    limit_ppm: float = LIMIT_PPM
    """Labels in a million that may differ from float32's where it is computed in less."""
    bytes_per_pixel: float | None = None
    """Peak bytes of activations for a pixel of input, measured with ONNX Runtime on a CPU."""

    def __post_init__(self) -> None:
        whose = f"model card of {card_fields.shown(self.name)}"
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name in card_fields.CARD}
        card_fields.check_fields(values, card_fields.CARD, whose)
        if self.base <= 2 * self.margin:
            raise ModelError(
                f"{whose}: base {self.base}, must be above twice the margin {self.margin}; export the model again"
            )
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "training_images", tuple(self.training_images))
        object.__setattr__(self, "mask_values", tuple(self.mask_values))
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))
        object.__setattr__(self, "evaluation", MappingProxyType(dict(self.evaluation)))

    def check_ports(self, shapes: Mapping[str, Sequence[int | str | None]], model: Path) -> None:
        """Raise ModelError unless a graph has the ports that the card promises.

        shapes: of each input and each output, by name; a dimension that is no number is open.
        """
        inputs = {IMAGE, *((OFFSET, SCALE) if self.normalization.method == "percentile" else ())}
        outputs = {LABELS, PROBABILITIES}
        if not inputs | outputs <= shapes.keys() or {IMAGE, OFFSET, SCALE} & shapes.keys() - inputs:
            has = card_fields.shown(", ".join(sorted(shapes)))
            raise ModelError(
                f"{model}: takes and gives {has}, not what its card promises; export it again with: unet-deploy export"
            )
        promised = {name: self.channels for name in inputs} | {PROBABILITIES: len(self.classes)}
        for name, count in promised.items():
            found = shapes[name][1] if len(shapes[name]) > 1 else None
            if isinstance(found, int) and found != count:
                what = "classes" if name == PROBABILITIES else "channels"
                raise ModelError(
                    f"{model}: its model card says {count} {what}, but its port {name} has {found}; "
                    "export the model again"
                )

    def to_json(self) -> str:
        """Return the card as one JSON object, stable in key order."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain.update(metrics=dict(self.metrics), evaluation=dict(self.evaluation))
        plain.update(normalization=asdict(self.normalization), decision=asdict(self.decision))
        if self.decision == UNDECIDED:  # versions before know no such field
            del plain["decision"]
        if self.limit_ppm == LIMIT_PPM:  # nor this one
            del plain["limit_ppm"]
        plain["parent"] = self.parent and asdict(self.parent)
        for name in ("training_images", "mask_kind", "mask_values", "parent"):
            if not plain[name]:  # as of models that were not trained here: versions before know no such field
                del plain[name]
        return json.dumps({"format": FORMAT, **plain}, sort_keys=True)

    @classmethod
    def of_model(cls, text: str | None, model: Path) -> ModelCard:
        """Return the card of a model file, by what its metadata hold. Raises ModelError when they hold none."""
        if text is None:
            raise ModelError(
                f"{model}: has no model card; adopt the network with: "
                f"unet-deploy adopt {model} -o {model.stem}.adopted.onnx --stride STRIDE"
            )
        return cls.from_json(text, source=str(model))

    @classmethod
    def from_json(cls, text: str, *, source: str = "model") -> ModelCard:
        """Read a card back; `source` is the file named in errors. Raises ModelError."""
        try:
            plain: dict[str, Any] = json.loads(text)
            found, normalization = plain.pop("format"), plain.pop("normalization")
            decision, parent = plain.pop("decision", {}), plain.pop("parent", {})
            for name, value in (("normalization", normalization), ("decision", decision), ("parent", parent)):
                if not isinstance(value, dict):
                    raise TypeError(f"{name} {card_fields.shown(value)}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _unreadable(source, reason(error)) from error
        if found != FORMAT or isinstance(found, bool):
            raise ModelError(
                f"{source}: model card format {card_fields.shown(found)}, but this version reads {FORMAT}; "
                "export it again"
            )
        required = {each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING}
        strange = sorted({*plain} - card_fields.CARD.keys() | {*normalization} - card_fields.NORMALIZATION.keys())
        if strange or required - plain.keys():
            what = f"no field {card_fields.shown(strange[0])} is known" if strange else "a field is not there: "
            raise _unreadable(source, what + ("" if strange else min(required - plain.keys())))
        try:
            return cls(
                **plain,
                normalization=Normalization(**normalization),
                decision=Decision.from_plain(decision),
                parent=Parent.from_plain(parent) if parent else None,
            )
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from error


def _unreadable(source: str, why: str) -> ModelError:
    return ModelError(f"{source}: its model card cannot be read ({why}); export the model again")
