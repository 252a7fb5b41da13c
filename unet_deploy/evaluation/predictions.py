"""Which predicted mask is of which annotated image, by its name: as our own runs and other programs call it.

    a.mask.tif  a.mask.zarr                what `segment` calls the mask of a.tif
    a_mask.png  a_cp_masks.tif  a_labels.tif
    a.tif                                  as nnU-Net names what it predicts, in a folder of its own
    a.mask.instances.tif                   numbered objects, where there is no mask

The first of these that is there is taken. Masks may lie in folders within the folder, as their images do, or all in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.errors import DataError
from unet_deploy.evaluation.folders import check_lossless, pictures_and_zarrs
from unet_deploy.evaluation.names import key_of, key_of_image, names_a_mask
from unet_deploy.evaluation.pair import Pair
from unet_deploy.images import is_zarr_folder

_RUN = {".mask": 0, ".instances": 3}
"""How the stem of what a run wrote ends, and how late it is taken."""
_NO_MASKS = (".probabilities", ".overlay", ".curves", ".validation")
"""How the stems of what else a run, or a training, writes end."""


@dataclass(frozen=True)
class Predictions:
    """The masks of a folder, and what they are of."""

    of: dict[Path, Path]
    """The mask of each image."""
    note: str | None = None
    """What a person should know of the others, in a line."""


def find_predictions(masks: Path, pairs: Sequence[Pair]) -> Predictions:
    """Find the predicted mask of each image.

    masks: a folder, which may be that of the images; or the mask file of an only image, or stack.
    Raises DataError for an image without a mask or with two of one kind, and for JPEG.
    """
    images = {pair.image: pair for pair in pairs}
    if masks.is_file() or is_zarr_folder(masks):
        if len(images) > 1:
            raise DataError(f"{masks}: is one mask, but there are {len(images)} images; give the folder of their masks")
        return Predictions(dict.fromkeys(images, masks))
    if not masks.is_dir():
        raise DataError(f"{masks}: no such file or folder")
    named = _named(masks, {file.resolve() for pair in pairs for file in pair.files})
    names = Counter(_keys(pair)[-1] for pair in images.values())
    found = {image: _best(named, pair, alone=names[_keys(pair)[-1]] == 1) for image, pair in images.items()}
    if missing := [image for image, mask in found.items() if mask is None]:
        more = f" (nor have {len(missing) - 1} of {len(images)} images more)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}: has no mask in {masks}{more}, such as {missing[0].stem}.mask.tif; add it")
    return _noted(masks, {image: mask for image, mask in found.items() if mask}, named)


@dataclass(frozen=True)
class _Named:
    """A file that may be a mask."""

    file: Path
    key: str
    """Of its image, by the name below the folder."""
    order: int
    """How late it is taken."""


def _named(masks: Path, data: set[Path]) -> list[_Named]:
    """What of a folder may be masks. data: annotated images and their true masks, which are none."""
    return [named for file in pictures_and_zarrs(masks) if file.resolve() not in data if (named := _name(masks, file))]


def _name(masks: Path, file: Path) -> _Named | None:
    """Whose mask a file is by its name; None for what is none by it.

    >>> [_name(Path("m"), Path("m", name)) for name in ("a.ome.mask.zarr", "b/A_cp_masks.png", "a.overlay.png")]
    ... # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    [_Named(file=...('m/a.ome.mask.zarr'), key='a', order=0),
     _Named(file=...('m/b/A_cp_masks.png'), key='b/a', order=1), None]
    """
    stem = key_of(file.relative_to(masks).with_suffix("").as_posix())
    end = Path(stem).suffix
    if end in _NO_MASKS:
        return None
    if end in _RUN:
        return _Named(file, key_of(stem.removesuffix(end).removesuffix(".mask")), _RUN[end])
    return _Named(file, key_of_image(stem), 1) if names_a_mask(stem) else _Named(file, stem, 2)


def _keys(pair: Pair) -> tuple[str, ...]:
    """The keys of an image: by the name of its pair, which folders and cases have their part in, and by its file's."""
    name = pair.name if pair.pages == 1 else pair.image.stem
    return key_of(name), key_of(pair.image.stem)


def _best(named: Sequence[_Named], pair: Pair, *, alone: bool) -> Path | None:
    """The mask of an image; None for none. alone: whether no other image has its file name.

    Raises DataError where two are as good.
    """
    first, last = _keys(pair)
    ways = [[each for each in named if each.key == key] for key in ((first, last) if alone else (first,))]
    fitting = sorted(next(filter(None, ways), []), key=lambda each: each.order)
    if len(fitting) > 1 and fitting[0].order == fitting[1].order:
        one, other = (each.file for each in fitting[:2])
        raise DataError(f"{other}: is a mask of {pair.image}, as {one} is; keep one of them")
    if not fitting:
        return None
    check_lossless(fitting[0].file)
    return fitting[0].file


def _noted(masks: Path, of: dict[Path, Path], named: Sequence[_Named]) -> Predictions:
    """Say which masks are of no image that there is."""
    known = {each.key for each in named if each.file in of.values()}
    others = [each.file for each in named if each.key not in known]
    if not others:
        return Predictions(of)
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return Predictions(of, f"note: {others[0].relative_to(masks)}{more} of {masks} belong to no annotated image")
