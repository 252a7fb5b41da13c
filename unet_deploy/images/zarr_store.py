"""Where Zarr values come from, a folder or a server, and which of them are not believed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numcodecs
import zarr
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, WrapperStore

from unet_deploy.images import SILENCE
from unet_deploy.images.server import open_url

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


def open_node(path: Path | str, timeout: float = SILENCE) -> zarr.Group | zarr.Array:
    """Open what lies in a folder or behind a URL. timeout: seconds that a server may be silent."""
    store = open_url(path, timeout) if isinstance(path, str) else _Folder(path, read_only=True)
    with (
        warnings.catch_warnings()
    ):  # a Zarr of both formats is read as the newer; zarr names the store, secrets and all
        warnings.simplefilter("ignore", ZarrUserWarning)
        return zarr.open(store, mode="r")


class _Folder(LocalStore):
    """A folder whose values are files: a pipe or device among them may never answer."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        self._check(key)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key: str, **kwargs: Any) -> Any:
        """What newer releases of zarr read files with."""
        self._check(key)
        base: Any = super()
        return base.get_sync(key, **kwargs)

    def _check(self, key: str) -> None:
        file = self.root / key
        if file.exists() and not file.is_file():
            raise ValueError(f"{key} is no file")


class WholeValues(WrapperStore[Store]):
    """Refuses values that were cut short, which some codecs take for whole or for the fill value."""

    def __init__(self, store: Store, header: Header) -> None:
        super().__init__(store)
        self._header = header

    def _with_store(self, store: Store) -> WholeValues:
        return WholeValues(store, self._header)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        """What newer releases of zarr read files with."""
        store: Any = self._store
        return self._checked(key, store.get_sync(key, prototype=prototype, byte_range=byte_range), byte_range)

    def _checked(self, key: str, value: Any, byte_range: Any) -> Any:
        if value is None or key.endswith(_METADATA):
            return value
        if isinstance(byte_range, RangeByteRequest):
            whole = len(value) == byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            whole = len(value) == byte_range.suffix
        else:
            self._header.check(value[:18].to_bytes())
            # Bytes 12 to 15 of Blosc's header are the length; the decoder reads as much, whether it is there or not.
            needed = int.from_bytes(value[12:16].to_bytes(), "little") if self._header.codec == "blosc" else 1
            whole = len(value) >= (16 if self._header.codec == "blosc" else 1) and needed <= len(value)
        if not whole:
            raise ValueError("it was cut short")
        return value


@dataclass(frozen=True)
class Header:
    """What a codec writes before a chunk, and goes by when it takes memory for it."""

    codec: Literal["blosc", "zstd", "other"]
    most_bytes: int
    """That a chunk may say it decodes to."""

    @classmethod
    def of(cls, array: zarr.Array) -> Header:
        """The header of an array's chunks; the parts of a shard are found by an index, and have none here."""
        most = 8 * math.prod(array.chunks) * array.dtype.itemsize + 1024  # filters may widen numbers
        codecs = () if array.shards else array.compressors
        if any(isinstance(codec, BloscCodec | numcodecs.Blosc) for codec in codecs):
            return cls("blosc", most)
        if any(isinstance(codec, ZstdCodec | numcodecs.Zstd) for codec in codecs):
            return cls("zstd", most)
        return cls("other", most)

    def check(self, start: bytes) -> None:
        """Raise ValueError where a chunk says that it decodes to far more than it is of."""
        claimed = int.from_bytes(start[4:8], "little") if self.codec == "blosc" else 0
        if self.codec == "zstd":
            claimed = _zstd_bytes(start)
        if claimed > self.most_bytes:
            raise ValueError(f"it claims to decode to {claimed / 1e6:.4g} MB")


def _zstd_bytes(start: bytes) -> int:
    """Return what a Zstandard frame says that it decodes to (RFC 8878, 3.1.1.1); 0 where it does not say."""
    if len(start) < 18 or start[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    flag, single, dictionary = start[4] >> 6, start[4] >> 5 & 1, (0, 1, 2, 4)[start[4] & 3]
    at = 5 + (0 if single else 1) + dictionary
    size = (single, 2, 4, 8)[flag]
    return int.from_bytes(start[at : at + size], "little") + (256 if flag == 1 else 0)
