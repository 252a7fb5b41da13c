"""Which model another one was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from unet_deploy.errors import ModelError
from unet_deploy.model import card_fields


@dataclass(frozen=True)
class Parent:
    """The model whose weights a training began with. Raises ModelError where a field breaks its rule."""

    name: str
    sha256: str
    """Of its file."""
    license: str = ""
    trained_on: str = ""

    def __post_init__(self) -> None:
        card_fields.check_fields(asdict(self), card_fields.PARENT, "parent")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Parent:
        """Of the JSON object that a card holds. Raises ModelError."""
        names = {each.name for each in fields(cls)}
        if odd := sorted({*plain} ^ names):
            raise ModelError(
                f"parent: field {card_fields.shown(odd[0])} is missing or not known; export the model again"
            )
        return cls(**plain)
