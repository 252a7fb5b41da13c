"""OME-Zarr images (0.4 and 0.5) and plain Zarr arrays, in a folder or behind a URL, read chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from unet_deploy.errors import ImageError, address, reason
from unet_deploy.images import SILENCE, ImageInfo, ImageSource, check_channel, check_level
from unet_deploy.images.axes import known_axes
from unet_deploy.images.cache import CACHE_BYTES, BlockCache
from unet_deploy.images.carried import lost_note, writable
from unet_deploy.images.channels import Channel, channel_number, usable_names
from unet_deploy.images.nodata import FILL_VALUE, nodata_note, parse_nodata
from unet_deploy.images.ome_zarr import Axis, claimed_names, claimed_sizes, ome_metadata, read_axes
from unet_deploy.images.sizes import LevelPlace, page_axes, usable_sizes
from unet_deploy.images.zarr_state import ReadChunks
from unet_deploy.images.zarr_store import Header, WholeValues, open_node
from unet_deploy.tiling import Region

MOST_CHUNK_BYTES = 1 << 30
"""A chunk is decoded whole, so it may not be larger."""

_AT_ONCE_BYTES = CACHE_BYTES // 4
"""Chunks that are fetched together, so that a URL answers once and not chunk by chunk."""

Index = tuple[int, ...]
Box = tuple[slice, ...]


class ZarrSource(ImageSource):
    """One level of an OME-Zarr image, or a Zarr array that names its axes or is (H, W), (C, H, W) or (pages, C, H, W).

    path: a folder, or a URL that fsspec knows. level: of the pyramid, 0 is full resolution. The axis c is channels;
    all other axes but y and x make pages, in their order. A chunk that was never written is the fill value; one that
    is damaged is an error.
    Raises ImageError.
    """

    def __init__(
        self, path: Path | str, *, channel: Channel | None = None, level: int = 0, timeout: float = SILENCE
    ) -> None:
        self._path, self._name, self._timeout = path, address(path), timeout
        self._channel = channel
        self._cache: BlockCache[Index] = BlockCache(CACHE_BYTES)
        self._node: zarr.Group | zarr.Array | None = None
        self.turn_to(level)

    def reopened(self, level: int) -> ZarrSource:
        return ZarrSource(self._path, channel=self._channel, level=level, timeout=self._timeout)

    def turn_to(self, level: int) -> None:
        path = self._name
        self._cache.clear()
        try:
            self._open(self._channel, level)
        except ImageError:
            raise
        except FileNotFoundError as error:
            raise ImageError(
                f"{path}: is no Zarr image; give the folder or URL that holds its metadata"
            ) from self._cause(error)
        except ImportError as error:
            raise ImageError(f"{path}: URLs of this kind need another package ({reason(error)})") from self._cause(
                error
            )
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror or reason(error)})") from self._cause(error)
        except Exception as error:
            raise ImageError(
                f"{path}: its Zarr metadata are not readable ({reason(error)}); save it again"
            ) from self._cause(error)

    def _cause(self, error: Exception) -> Exception | None:
        """What a traceback shows of a library's error: nothing where it may hold the secrets of a URL."""
        return error if self._name == str(self._path) else None

    def _open(self, channel: Channel | None, level: int) -> None:
        node = self._node if self._node is not None else open_node(self._path, self._timeout)
        self._node = node
        if isinstance(node, zarr.Group):
            levels, self.axes, note = _find_levels(self._name, node, level)
        else:
            check_level(level, 1, self._name)
            levels, self.axes, note = [node], _plain_axes(self._name, node), ""
        array = levels[level]
        store = WholeValues(array.store, Header.of(array))
        self._array = zarr.open_array(store, path=array.path, mode="r", zarr_format=array.metadata.zarr_format)
        names = [axis.name for axis in self.axes]
        self._y, self._x = names.index("y"), names.index("x")
        self._c = names.index("c") if "c" in names else None
        self._lead = [at for at, name in enumerate(names) if name not in ("c", "y", "x")]
        self._check(array.shape)
        channels = 1 if self._c is None else self._array.shape[self._c]
        called = usable_names(claimed_names(ome_metadata(node)) if isinstance(node, zarr.Group) else (), channels)
        number = channel_number(channel, called, self._name)
        check_channel(number, channels, self._name)
        self._chosen = slice(0, channels) if number is None else slice(number, number + 1)
        chunk_bytes = math.prod(self._array.chunks) * self._array.dtype.itemsize
        self.cache_bytes = min(max(CACHE_BYTES, chunk_bytes), max(self._array.nbytes, chunk_bytes))
        nodata = parse_nodata(self._array.attrs.get(FILL_VALUE))
        lead = [(names[at], self.axes[at].size) for at in self._lead] if isinstance(node, zarr.Group) else []
        pages = page_axes(lead)
        claimed, unit_note = claimed_sizes(self.axes)
        sizes, size_note = usable_sizes(claimed, pages)
        finest, own = ((each.shape[self._y], each.shape[self._x]) for each in (levels[0], array))
        place = LevelPlace.of(level, finest, own)
        tags, lost = writable(sizes.resolution)
        self.info = ImageInfo(
            name=self._name,
            pages=math.prod(self._array.shape[at] for at in self._lead),
            channels=self._chosen.stop - self._chosen.start,
            height=self._array.shape[self._y],
            width=self._array.shape[self._x],
            dtype=self._dtype,
            sizes=sizes,
            page_axes=pages,
            place=place,
            levels=tuple((each.shape[self._y], each.shape[self._x]) for each in levels) if len(levels) > 1 else (),
            nodata=nodata,
            channel_names=called[self._chosen],
            tags=tags,
            note="; ".join(
                filter(None, (note, nodata_note(nodata), unit_note, size_note, place.note, lost_note(lost)))
            ),
        )

    def crop(self, page: int, region: Region) -> np.ndarray:
        wanted = self._wanted(page, region)
        out = np.empty([part.stop - part.start for part in wanted], self._dtype)
        cells = list(
            product(
                *(
                    range(part.start // side, -(-part.stop // side))
                    for part, side in zip(wanted, self._array.chunks, strict=True)
                )
            )
        )
        for cell, block in self._blocks(cells):
            there, here = [], []
            for part, place in zip(wanted, self._box(cell, cell), strict=True):
                start, stop = max(part.start, place.start), min(part.stop, place.stop)
                there.append(slice(start - part.start, stop - part.start))
                here.append(slice(start - place.start, stop - place.start))
            out[tuple(there)] = block[tuple(here)]
        order = [*self._lead, *([] if self._c is None else [self._c]), self._y, self._x]
        return out.transpose(order).reshape(self.info.channels, region.height, region.width)

    def state(self) -> str:
        try:
            chunks = ReadChunks(self._array, self._c, self._chosen)
            return chunks.state_in(open_node(self._path, self._timeout), self._path)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{self._name}: cannot be read any more ({reason(error)})") from self._cause(error)

    def close(self) -> None:
        self._cache.clear()
        self._array.store.close()

    @property
    def _dtype(self) -> np.dtype[Any]:
        dtype = np.dtype(self._array.dtype)
        return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")

    def _check(self, shape: Index) -> None:
        path, array = self._name, self._array
        if 0 in shape:
            raise ImageError(f"{path}: shape {shape} holds no pixels; save it again")
        if np.dtype(array.dtype).kind not in "buif":
            raise ImageError(f"{path}: pixels of type {array.dtype} are no grey values; save integers or floats")
        decoded = math.prod(array.chunks) * array.dtype.itemsize
        if decoded > MOST_CHUNK_BYTES:
            raise ImageError(f"{path}: one chunk decodes to {decoded / 1e9:.3g} GB; save it with smaller chunks")

    # -- chunks ----------------------------------------------------------------------------------------------

    def _wanted(self, page: int, region: Region) -> list[slice]:
        """Return the part of every axis that a region of a page takes."""
        wanted = [self._chosen] * len(self.axes)
        steps = np.unravel_index(page, [self._array.shape[at] for at in self._lead]) if self._lead else ()
        for at, step in zip(self._lead, steps, strict=True):
            wanted[at] = slice(int(step), int(step) + 1)
        wanted[self._y], wanted[self._x] = region.slices
        return wanted

    def _blocks(self, cells: Iterable[Index]) -> Iterator[tuple[Index, np.ndarray]]:
        """Yield chunks by their place in the grid, from the cache or the store, in any order."""
        missing = []
        for cell in cells:
            if cell in self._cache:
                yield cell, self._cache[cell]
            else:
                missing.append(cell)
        if missing:
            yield from self._load(missing)

    def _load(self, cells: list[Index]) -> Iterator[tuple[Index, np.ndarray]]:
        """Read the box around some chunks, which are a rectangle but for rare cases; one by one where that fails."""
        first, last = tuple(map(min, zip(*cells, strict=True))), tuple(map(max, zip(*cells, strict=True)))
        box = self._box(first, last)
        pixels: np.ndarray | None = None
        if len(cells) == 1 or math.prod(part.stop - part.start for part in box) <= self._most_at_once:
            try:
                pixels = np.asarray(self._array[box]).astype(self._dtype, copy=False)
            except MemoryError:
                raise
            except Exception as error:
                if len(cells) == 1:
                    raise self._damaged(cells[0], error) from self._cause(error)
        if pixels is None:
            for cell in cells:
                yield from self._load([cell])
            return
        for cell in cells:
            place = self._box(cell, cell)
            inside = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(place, box, strict=True))
            block = pixels[inside] if len(cells) == 1 else pixels[inside].copy()
            self._cache[cell] = block
            yield cell, block

    @property
    def _most_at_once(self) -> int:
        """How many pixels may be read together."""
        return _AT_ONCE_BYTES // self._dtype.itemsize

    def _box(self, first: Index, last: Index) -> Box:
        """Return the place of the pixels of the chunks from the first to the last, as far as they lie in the array."""
        sides = zip(first, last, self._array.chunks, self._array.shape, strict=True)
        return tuple(slice(low * side, min((high + 1) * side, end)) for low, high, side, end in sides)

    def _damaged(self, cell: Index, error: Exception) -> ImageError:
        place = self._box(cell, cell)
        grid = self._array.shards or self._array.chunks
        key = self._array.metadata.encode_chunk_key(
            tuple(part.start // side for part, side in zip(place, grid, strict=True))
        )
        where = f"{self._array.path}/{key}".lstrip("/")
        return ImageError(
            f"{self._name}: chunk {where}, from y {place[self._y].start}, x {place[self._x].start} on, "
            f"cannot be read ({reason(error)}); copy or save the image again"
        )


# -- metadata ------------------------------------------------------------------------------------------------


def _find_levels(path: Path | str, group: zarr.Group, level: int) -> tuple[list[zarr.Array], tuple[Axis, ...], str]:
    """Return the arrays of the pyramid, the axes of one of them, and a note on what else is there."""
    ome = ome_metadata(group)
    if not ome.get("multiscales"):
        raise _no_image(path, group, ome)
    multiscales, *others = ome["multiscales"]
    check_level(level, len(multiscales["datasets"]), path)
    levels = []
    for dataset in multiscales["datasets"]:
        array = group.get(dataset["path"])
        if not isinstance(array, zarr.Array):
            raise ImageError(f"{path}: its array {dataset['path']!r} is missing; copy it again")
        levels.append(array)
    axes = read_axes(multiscales, level, levels[level].shape)
    names = [axis.name for axis in axes]
    if "y" not in names or "x" not in names or len(set(names)) != len(names):
        raise ImageError(f"{path}: has axes {' '.join(names)}; an image has y and x, each axis once")
    return levels, axes, f"{len(others)} other image(s) in it are not read" if others else ""


def _plain_axes(path: Path | str, array: zarr.Array) -> tuple[Axis, ...]:
    """The axes of an array in no image: as it names them, or else by their number."""
    shape = array.shape
    names = known_axes(getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS"))
    if names and len(names) == len(shape):
        return tuple(map(Axis, names, shape))
    if not 2 <= len(shape) <= 4:
        raise ImageError(
            f"{path}: shape {shape}; an array is (H, W), (C, H, W) or (pages, C, H, W); "
            "if it is a level of an OME-Zarr image, give the image"
        )
    return tuple(map(Axis, "tcyx"[-len(shape) :], shape))


def _no_image(path: Path | str, group: zarr.Group, ome: dict[str, Any]) -> ImageError:
    """Return the error that says what a group is instead of an image, and what of it to open."""
    if "plate" in ome:
        wells = [well["path"] for well in ome["plate"]["wells"]]
        first = (
            ome_metadata(zarr.open_group(group.store, path=wells[0], mode="r", zarr_format=group.metadata.zarr_format))
            if wells
            else {}
        )
        images = [f"{wells[0]}/{image['path']}" for image in first.get("well", {}).get("images", ())]
        return _instead(path, f"a plate of {len(wells)} wells", images)
    if "well" in ome:
        return _instead(path, "a well", [image["path"] for image in ome["well"]["images"]])
    if "labels" in ome:
        return _instead(path, "a group of labels", ome["labels"])
    if "bioformats2raw.layout" in ome:
        series = group.get("OME")
        images = list(ome_metadata(series).get("series", ())) if isinstance(series, zarr.Group) else []
        return _instead(path, "a collection of images", images or _numbered(group))
    members: list[str] = []
    with suppress(Exception):  # many URLs cannot be listed
        members = sorted(group.keys())
    return _instead(path, "a Zarr group without OME-Zarr metadata", members)


def _numbered(group: zarr.Group) -> list[str]:
    """Return the members 0, 1, 2 and so on, as far as they go."""
    found: list[str] = []
    while str(len(found)) in group:
        found.append(str(len(found)))
    return found


def _instead(path: Path | str, what: str, images: list[str]) -> ImageError:
    if not images:
        return ImageError(f"{path}: is {what}; give an image in it")
    shown = ", ".join(f"{str(path).rstrip('/')}/{image}" for image in images[:3])
    more = f" (and {len(images) - 3} more)" if len(images) > 3 else ""
    return ImageError(f"{path}: is {what}; give an image in it: {shown}{more}")
