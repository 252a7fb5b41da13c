"""Which mask is of which image, by the names that programs and file systems give them."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from unet_deploy.errors import DataError

_ENDING = re.compile(r"(_cp)?[ _-](masks?|labels?)$")
"""What the name of a mask may have beyond that of its image: a_mask, a_labels, and a_cp_masks as Cellpose writes."""


def pair_stems(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, str]:
    """Find the mask of every image: stem of the image to stem of the mask.

    images, masks: files by their stems, which are paths below their folder without suffix. The same stem comes first;
    of what is left, stems are the same that differ in case or in Unicode form (é is one sign or two), and that of a
    mask may end in _mask, _masks, _label or _labels. Raises DataError for what is left alone, and for two of one.
    """
    pairs = {stem: stem for stem in images.keys() & masks.keys()}
    by_key = defaultdict(list)
    for stem in sorted(images):
        by_key[key_of(stem)].append(stem)
    for mask in sorted(masks.keys() - pairs.keys()):
        found = next((by_key[key] for key in _keys_of_mask(mask) if key in by_key), [])
        if len(found) > 1:
            raise DataError(f"{masks[mask]}: may be of {images[found[0]]} or {images[found[1]]}; rename one of them")
        if not found:
            raise DataError(_alone(masks[mask], mask, "images") + _remedy(mask, masks, images, pairs))
        if found[0] in pairs:
            other = masks[pairs[found[0]]]
            raise DataError(f"{masks[mask]}: is a mask of {images[found[0]]}, as {other} is; keep one of them")
        pairs[found[0]] = mask
    for stem in sorted(images.keys() - pairs.keys()):
        raise DataError(_alone(images[stem], stem, "masks") + "add it or take this one away")
    return pairs


def key_of(stem: str) -> str:
    """What stems have in common that differ in case, in Unicode form, or in the .ome before the suffix.

    >>> key_of("Day1/Zelle\\u0301.ome") == key_of("day1/ZELL\\u00c9")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold()).removesuffix(".ome")


def names_a_mask(stem: str) -> bool:
    """Whether the name of a picture ends as only that of a mask does.

    >>> names_a_mask("a_cp_masks"), names_a_mask("masked")
    (True, False)
    """
    return _ENDING.search(key_of(stem)) is not None


def key_of_image(stem: str) -> str:
    """The key of the image that a mask is of whose name ends as one.

    >>> key_of_image("Cell_01.ome_cp_masks")
    'cell_01'
    """
    return _ENDING.sub("", key_of(stem)).removesuffix(".ome")


def _keys_of_mask(stem: str) -> list[str]:
    """The keys of images that a mask may be of: of the same name, or of that without its ending."""
    return [key_of(stem), key_of_image(stem)]


def _alone(path: Path, stem: str, folder: str) -> str:
    return f"{path}: has no file named {stem}.* in {path.parents[stem.count('/') + 1] / folder}; "


def _remedy(mask: str, masks: Mapping[str, Path], images: Mapping[str, Path], pairs: Mapping[str, str]) -> str:
    """What to do about a mask without an image: the name that it would need, where an image seems to be its own."""
    name = _keys_of_mask(Path(mask).name)[1]
    for stem in sorted(images.keys() - pairs.keys()):
        if _begin_alike(key_of(Path(stem).name), name):
            return f"if it is of {images[stem]}, name it {stem}{masks[mask].suffix}"
    return "add it or take this one away"


def _begin_alike(one: str, other: str) -> bool:
    """Whether the shorter of two names begins the longer one, and ends there at the end of a word or number."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and not long[len(short) : len(short) + 1].isalnum()
