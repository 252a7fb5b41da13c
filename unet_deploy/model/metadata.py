"""The card in an ONNX file, read without its weights and without any package: what to open is known before it is."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from unet_deploy.model.card import METADATA_KEY, ModelCard

_METADATA, _KEY, _VALUE = 14, 1, 2
"""Numbers of fields: metadata_props of a ModelProto, key and value of a StringStringEntryProto (onnx.proto3)."""

_LONGEST = 1 << 24
"""Bytes of an entry: no card is nearly as long."""


def peek_card(model: Path) -> ModelCard | None:
    """Return the card of a model file; None where none is found, for whoever reads it whole to say why.

    Raises ModelError for a card that is there and wrong.
    """
    try:
        with model.open("rb") as file:
            text = _entry(file, model.stat().st_size)
    except (OSError, ValueError):
        return None
    return None if text is None else ModelCard.from_json(text, source=str(model))


def _entry(file: BinaryIO, size: int) -> str | None:
    """The card's text. Raises ValueError where the file is no message of Protocol Buffers."""
    while file.tell() < size:
        number, length = _field(file)
        if number != _METADATA:
            file.seek(length, 1)
            continue
        if length > _LONGEST:
            raise ValueError("too long for an entry")
        end, entry = file.tell() + length, {}
        while file.tell() < end:
            part, width = _field(file)
            entry[part] = file.read(width)
        if entry.get(_KEY) == METADATA_KEY.encode():
            return entry.get(_VALUE, b"").decode()
    return None


def _field(file: BinaryIO) -> tuple[int, int]:
    """The number of the next field and the bytes of its content, at which the file stands; numbers are passed over."""
    key = _varint(file)
    number, kind = key >> 3, key & 7
    if kind == 0:
        _varint(file)
        return number, 0
    if kind == 2:
        return number, _varint(file)
    if kind not in (1, 5):
        raise ValueError(f"wire type {kind}")
    return number, 8 if kind == 1 else 4


def _varint(file: BinaryIO) -> int:
    """A number of seven bits a byte, the lowest first; the last byte's highest bit is 0."""
    value = 0
    for at in range(10):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << 7 * at
        if byte[0] < 128:
            return value
    raise ValueError("no number")
