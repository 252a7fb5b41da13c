"""JSON files of annotations: read whole, and refused in one line where they are not what they seem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unet_deploy.annotations.shapes import Drawing, Shape
from unet_deploy.errors import DataError, reason


def read_json(path: Path) -> Any:
    """What a file holds. Raises DataError for one that cannot be read, or is no JSON."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError) or not json.detect_encoding(content).startswith("utf-8"):
            raise DataError(f"{path}: is not in UTF-8 ({reason(error)}); save it as UTF-8") from error
        raise DataError(f"{path}: is no JSON ({reason(error)}); export the annotations again") from error


@contextmanager
def parsing(path: Path, what: str) -> Iterator[None]:
    """Put around what takes a file to pieces: parts that are missing or of another kind become DataError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__}: {reason(error)}"
        raise DataError(f"{path}: is damaged, or no {what} ({said}); export the annotations again") from error


def drawing_of(path: Path, shapes: tuple[Shape, ...], size: tuple[int, int] | None = None) -> Drawing:
    """The drawing of a file that is of one image. Raises DataError where nothing is drawn in it."""
    if not shapes:
        raise DataError(
            f"{path}: nothing is drawn in it; annotate its image, or take both away. If there is nothing to see, draw "
            "a rectangle of class Annotated around it"
        )
    return Drawing(str(path), shapes, size)
