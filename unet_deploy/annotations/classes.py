"""Which of a model's classes a drawn shape is of, by the names that people give."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from unet_deploy.annotations.shapes import IGNORED

UNNAMED = ("background", "foreground")
"""What classes are called where nobody names them: a shape of any class is then foreground."""


def listed_names(names: Iterable[str]) -> str:
    """Names for people, those that hold a comma in double quotes, as options take them.

    >>> listed_names(["Nucleus", "Nucleus, large"])
    'Nucleus, "Nucleus, large"'
    """
    return ", ".join(f'"{name}"' if "," in name else name for name in names)


def label_of(of: str | int | None, classes: Sequence[str]) -> int | None:
    """The class index of a shape, None where it is of none of them.

    Names may differ in case and in Unicode form. "Tumor: Positive", a class within a class as QuPath has them, is that
    class or else its first, "Tumor". Of two classes, a shape that has none is the second.

    >>> [label_of(of, ("background", "Tumor")) for of in ("tumor: positive", "Background", None, 1, 2, "Stroma")]
    [1, 0, 1, 1, None, None]
    >>> label_of("Stroma", UNNAMED)
    1
    """
    fallback = 1 if tuple(classes) == UNNAMED else None
    if of is None:
        return 1 if len(classes) == 2 else None
    if isinstance(of, int):
        return of if 0 < of < len(classes) else fallback
    index = {key_of(name): at for at, name in enumerate(classes)}
    return index.get(key_of(of), index.get(key_of(of.partition(":")[0]), fallback))


def are_one(of: str | int | None, name: str) -> bool:
    """Whether the class of a shape is the one of this name."""
    return isinstance(of, str) and key_of(of) == key_of(name)


def is_ignored(of: str | int | None) -> bool:
    """Whether the class of a shape says that its pixels are not known.

    >>> is_ignored("Ignore*"), is_ignored("__ignore__"), is_ignored("ignored cells")
    (True, True, False)
    """
    return isinstance(of, str) and key_of(of.rstrip("* ")) == key_of(IGNORED.rstrip("*"))


def key_of(name: str) -> str:
    """What names have in common that differ in case, in Unicode form, or in what LabelMe puts around: _background_."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip("_ ")
