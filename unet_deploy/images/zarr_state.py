"""What the chunks of a Zarr array are when they are looked at: a hash that changes when those that are read do."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import zarr

from unet_deploy.errors import address
from unet_deploy.images.server import PatientStore
from unet_deploy.images.state import changed, evenly, state_of_files

_ASKED = 64
"""Chunks behind a URL whose server is asked whether they have changed: as many as it answers at once."""


class ReadChunks:
    """The chunks, or shards, of an array that an image has its pixels from.

    axis, chosen: of which axis only a part is read, and that part; None where all is.
    """

    def __init__(self, array: zarr.Array, axis: int | None, chosen: slice) -> None:
        self._array = array
        sides = array.shards or array.chunks
        self._cells = [range(-(-extent // side)) for extent, side in zip(array.shape, sides, strict=True)]
        if axis is not None:
            self._cells[axis] = range(chosen.start // sides[axis], -(-chosen.stop // sides[axis]))

    def state_in(self, node: zarr.Group | zarr.Array, place: Path | str) -> str:
        """Their state in a Zarr that was opened anew, of this folder or URL.

        Raises ImageError where its metadata are not those any more that the array was opened by, OSError, and what
        servers make of it.
        """
        found = node.get(self._array.path) if isinstance(node, zarr.Group) else node
        facts = _facts_of(self._array)
        if not isinstance(found, zarr.Array) or _facts_of(found) != facts:
            raise changed(address(place))
        if isinstance(place, Path):
            return state_of_files((place / key for key in map(self._key, product(*self._cells))), [facts])
        return self._state_at(cast(PatientStore, node.store), place, facts)

    def _state_at(self, store: PatientStore, url: str, facts: bytes) -> str:
        """Their state behind a URL, by what its server says of some of them."""
        counts = [len(cells) for cells in self._cells]
        places = [np.unravel_index(at, counts) for at in evenly(math.prod(counts), _ASKED)]
        asked = [[cells[int(at)] for cells, at in zip(self._cells, place, strict=True)] for place in places]
        states = store.state_of([self._key(tuple(cell)) for cell in asked])
        return sha256(json.dumps([url, states]).encode() + facts).hexdigest()

    def _key(self, cell: tuple[int, ...]) -> str:
        return f"{self._array.path}/{self._array.metadata.encode_chunk_key(cell)}".lstrip("/")


def _facts_of(array: zarr.Array) -> bytes:
    """What the metadata of an array say of its pixels: all but what people have noted beside."""
    facts = {name: each for name, each in array.metadata.to_dict().items() if name != "attributes"}
    return json.dumps(facts, sort_keys=True, default=str).encode()
