"""Changes that leave a file well formed, so that what reads it gets past the first check."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fuzz.odd import NUMBERS, of_kind, plain

# -- TIFF ------------------------------------------------------------------------------------------------------------

_TAGS = (254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 296, 317, 320, 322, 323, 324, 325)
_TAGS += (330, 338, 339, 347, 34675, 42113, 50838, 50839, 33550, 34735)


def tiff_entries(rng: random.Random, data: bytes) -> bytes | None:
    """An entry of a directory gets another tag, type, count or value; or a directory is led elsewhere."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    entries, nexts = _directories(data, order, big)
    if not entries:
        return None
    changed = bytearray(data)
    word = order + ("Q" if big else "I")
    mask = 2**64 - 1 if big else 2**32 - 1
    if nexts and rng.random() < 0.1:
        struct.pack_into(word, changed, rng.choice(nexts), rng.choice((8, 16, *(at - 4 for at in nexts), len(data))))
        return bytes(changed)
    at = rng.choice(entries)
    what = rng.randrange(5)
    if what == 0:
        struct.pack_into(order + "H", changed, at, rng.choice(_TAGS))
    elif what == 1:
        struct.pack_into(order + "H", changed, at + 2, rng.randrange(20))
    elif what == 2:
        struct.pack_into(word, changed, at + 4, rng.choice(NUMBERS) & mask)
    else:
        value = rng.choice((*NUMBERS, rng.randrange(len(data))))
        short = struct.unpack_from(order + "H", data, at + 2)[0] == 3
        kind, most = (order + "H", 0xFFFF) if short else (word, mask)
        struct.pack_into(kind, changed, at + (12 if big else 8), value & most)
    return bytes(changed)


def _directories(data: bytes, order: str, big: bool) -> tuple[list[int], list[int]]:
    """Where the entries and the links of the first directories stand."""
    entries: list[int] = []
    nexts: list[int] = []
    with suppress(struct.error):
        at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        for _ in range(16):
            if not 0 < at < len(data):
                break
            count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
            first, size = at + (8 if big else 2), 20 if big else 12
            if first + count * size + 8 > len(data) + 4:
                break
            entries += range(first, first + count * size, size)
            nexts.append(first + count * size)
            at = struct.unpack_from(order + ("Q" if big else "I"), data, nexts[-1])[0]
    return entries, nexts


# -- PNG and JPEG ----------------------------------------------------------------------------------------------------


def png_chunks(rng: random.Random, data: bytes) -> bytes | None:
    """A chunk is changed, dropped, doubled or moved, and its checksum is right again."""
    chunks = list(_chunks(data))
    if len(chunks) < 2:
        return None
    at = rng.choice((0, rng.randrange(len(chunks))))
    kind, body = chunks[at]
    what = rng.randrange(6)
    if what == 0:
        del chunks[at]
    elif what == 1:
        chunks.insert(rng.randrange(len(chunks)), (kind, body))
    elif what == 2:
        chunks[at] = (rng.choice((b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"eXIf", b"iCCP", b"pHYs")), body)
    elif body:
        changed = bytearray(body)
        place = rng.randrange(len(changed))
        if what == 3 and len(changed) >= 8:
            struct.pack_into(">I", changed, rng.choice((0, 4)), rng.choice(NUMBERS) & 0xFFFFFFFF)
        else:
            changed[place] = rng.randrange(256)
        chunks[at] = (kind, bytes(changed))
    made = b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + made


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while data[:4] == b"\x89PNG" and at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def jpeg_segments(rng: random.Random, data: bytes) -> bytes | None:
    """A segment before the scan is changed, dropped, doubled, or says another length."""
    places = []
    at = 2
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        places.append((at, size))
        at += size
    if not places:
        return None
    at, size = rng.choice(places)
    segment = bytearray(data[at : at + size])
    what = rng.randrange(5)
    if what == 0:
        segment = bytearray()
    elif what == 1:
        segment *= 2
    elif what == 2 and len(segment) >= 4:
        segment[2:4] = (rng.choice(NUMBERS) & 0xFFFF).to_bytes(2, "big")
    elif len(segment) > 9:
        place = rng.choice((5, 6, 7, 8, rng.randrange(4, len(segment))))  # of a frame: its height and width
        segment[place] = rng.randrange(256)
    return data[:at] + bytes(segment) + data[at + size :]


# -- unfinished runs -------------------------------------------------------------------------------------------------


def spool_records(rng: random.Random, data: bytes) -> bytes | None:
    """The head of a record says another block or another length."""
    heads = []
    at = data.find(b"\n") + 1
    while 0 < at <= len(data) - 16:
        heads.append(at)
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    if not heads:
        return None
    changed = bytearray(data)
    at, size = rng.choice(heads) + rng.choice((0, 8)), rng.choice((1, 4))
    changed[at : at + size] = (rng.choice((*range(12), *NUMBERS)) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(changed)


# -- JSON, ONNX, PyTorch ---------------------------------------------------------------------------------------------


def json_values(rng: random.Random, data: bytes) -> bytes | None:
    """A value somewhere in a JSON document becomes another, goes, is doubled or gets another name."""
    try:
        document = json.loads(data)
    except ValueError:
        return None
    text = json.dumps(changed_value(rng, document))
    if rng.random() < 0.03:
        text = text.replace(rng.choice("0123456789"), "[" * 100_000 + "]" * 100_000, 1)
    return text.encode()


def changed_value(rng: random.Random, document: Any) -> Any:
    """Plain lists and dictionaries with one value changed, somewhere in them."""
    places = list(_places(document))
    if not places:
        return plain(rng)
    holder, key = rng.choice(places)
    what = rng.randrange(8)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[str(plain(rng))[:50]] = holder.pop(key)
    elif what == 1:
        holder.insert(key, holder[key])
    else:
        holder[key] = of_kind(rng, holder[key]) if what < 6 else plain(rng)
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def onnx_fields(rng: random.Random, data: bytes) -> bytes | None:
    """A field of the model, its graph, a node, a tensor or the card in its metadata becomes another."""
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's errors share no base class but this
        return None
    if model.metadata_props and rng.random() < 0.4:
        entry = rng.choice(model.metadata_props)
        with suppress(ValueError):
            entry.value = json.dumps(changed_value(rng, json.loads(entry.value)))
        return model.SerializeToString()
    messages = list(_messages(model))
    for _ in range(10):
        with suppress(Exception):  # protobuf refuses values of another type or range
            _change(rng, rng.choice(messages))
            return model.SerializeToString()
    return None


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(each)


def _change(rng: random.Random, message: Any) -> None:
    field, value = rng.choice(message.ListFields())
    if hasattr(value, "append") or hasattr(value, "add"):
        at = rng.randrange(len(value))
        what = rng.randrange(3)
        if what == 0:
            del value[at]
        elif what == 1 or field.message_type is not None:
            value.extend([value[at]])
        else:
            value[at] = of_kind(rng, value[at])
    elif field.message_type is not None:
        message.ClearField(field.name)
    elif isinstance(value, bytes):
        setattr(message, field.name, rng.choice((b"", value[:-1], value * 2, rng.randbytes(len(value)))))
    else:
        setattr(message, field.name, of_kind(rng, value))


def torch_values(rng: random.Random, data: bytes) -> bytes | None:
    """A value of a weights file or checkpoint becomes another; tensors get other shapes, types and numbers."""
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # of pickle, zip and torch
        return None
    places = list(_places(state))
    holder, key = rng.choice(places) if places else ({}, 0)
    if isinstance(holder.get(key) if isinstance(holder, dict) else holder[key], torch.Tensor):
        tensor = holder[key]
        others = (tensor[:0], tensor.double(), tensor * float("nan"), tensor.reshape(-1), torch.zeros(3), "text", None)
        holder[key] = rng.choice(others) if tensor.ndim else plain(rng)
    else:
        state = changed_value(rng, state)
    written = io.BytesIO()
    try:
        torch.save(state, written)
    except Exception:  # of values that it cannot pickle
        return None
    return written.getvalue()
