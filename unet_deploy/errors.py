"""The exceptions that a user can meet. Each message is one line that names the file and the remedy.

    UnetDeployError             1   anything that is the user's to read
    +-- UsageError              2   options that contradict each other, or the files they name
    |   +-- MissingPackageError 2   an optional package that is not installed
    +-- ImageError              3   an image that cannot be read, or does not fit the model
    |   +-- ChangedError        3   an image that was changed while it was read
    +-- ModelError              3   a model that cannot be read, or says nothing about itself
    +-- DataError               3   training or evaluation data that cannot be used
    +-- DeviceError             4   a runtime or device that is not here, or does not fit the model
    +-- VerificationError       5   two answers that had to agree and do not
    +-- ResourceError           6   out of memory or disk

The number is the exit code of the command line.
"""

from __future__ import annotations

import re

_URL = re.compile(r"\b[a-z][a-z0-9+.-]+:/+[^\s'\"<>]+", re.IGNORECASE)
_USER = re.compile(r"[^/?#]*@|[^/?#@:]*:(?!\d*(?:[/?#]|$)).*@", re.DOTALL)
"""User and password before a host; those with / ? # in them are known by a colon that no port follows."""
_END = re.compile(r"[?#].+", re.DOTALL)

HIDDEN = "***"


def address(place: object) -> str:
    """Return a path or URL as it may be printed and kept: user, password and query, which may be a signature, hidden.

    >>> address("https://ann:secret@host/a.zarr?sig=0a1b"), address("scan?.tif")
    ('https://***@host/a.zarr?***', 'scan?.tif')
    """
    text = str(place)
    scheme = re.match(r"[a-z][a-z0-9+.-]+:/+", text, re.IGNORECASE)
    if not scheme:
        return text
    start = scheme.end()
    rest = _USER.sub(f"{HIDDEN}@", text[start:], count=1) if _USER.match(text, start) else text[start:]
    return text[:start] + _END.sub(lambda found: found.group()[0] + HIDDEN, rest)


def without_secrets(text: str) -> str:
    """Return text with every URL in it as `address` has it.

    >>> without_secrets("404 at 'https://host/a.zarr?sig=0a1b'; see http:/ann:secret@host.")
    "404 at 'https://host/a.zarr?***'; see http:/***@host."
    """

    def hidden(found: re.Match[str]) -> str:
        url = found.group().rstrip(".,:;)")
        return address(url) + found.group()[len(url) :]

    return _URL.sub(hidden, text)


_OPTION = re.compile(r"(?<!\S)--([a-z][a-z0-9-]*)")
_COMMAND = re.compile(r"\b(?:unet-deploy|pip) ")


def in_python(text: str) -> str:
    """Return what an error says with options under the names that Python's callers give them.

    Commands to run, which it may end with, stay as they are.

    >>> in_python("a.tif: 3 channels; choose one with --channel"), in_python("run: unet-deploy verify e --tiled")
    ('a.tif: 3 channels; choose one with `channel`', 'run: unet-deploy verify e --tiled')
    """
    command = _COMMAND.search(text)
    end = command.start() if command else len(text)
    return _OPTION.sub(lambda found: f"`{found[1].replace('-', '_')}`", text[:end]) + text[end:]


class UnetDeployError(Exception):
    """The base of every error that is the user's to read; `exit_code` is what the command line returns.

    What it says holds no secret of a URL, whoever raises it.
    """

    exit_code = 1

    def __init__(self, *said: object) -> None:
        super().__init__(*(without_secrets(each) if isinstance(each, str) else each for each in said))


class UsageError(UnetDeployError):
    """Options that contradict each other or the files they name."""

    exit_code = 2


class MissingPackageError(UsageError):
    """An optional package that is not installed, or cannot be loaded."""


class ImageError(UnetDeployError):
    """An image that cannot be read, or does not fit the model."""

    exit_code = 3


class ChangedError(ImageError):
    """An image that was changed while it was read."""


class ModelError(UnetDeployError):
    """A model or weights file that cannot be read, or says nothing about itself."""

    exit_code = 3


class DataError(UnetDeployError):
    """Training or evaluation data that cannot be used."""

    exit_code = 3


class DeviceError(UnetDeployError):
    """A runtime or device that is not on this machine, or does not fit the model."""

    exit_code = 4


class VerificationError(UnetDeployError):
    """Two answers that had to agree and do not, or a budget that was not kept."""

    exit_code = 5


class ResourceError(UnetDeployError):
    """Out of memory or disk."""

    exit_code = 6


_PLACE = re.compile(r"Exception from |Check '.*' failed at ")
"""Lines of a library's error that say where in its source something failed, and not what."""

_PREFIX = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?|/\S+\.\w+:\d+ \S.* was false\. "
)
"""What ONNX Runtime says before it says what is wrong: its code, or where in its source which condition was not met."""

_LONGEST = 200


def reason(error: object) -> str:
    """Return what a library's error says, on one line of at most 200 characters; its type where it says nothing.

    >>> reason(ValueError("the header\\n  is damaged"))
    'the header is damaged'
    >>> reason(KeyError())
    'KeyError'
    """
    lines = [" ".join(line.split()) for line in without_secrets(str(error)).splitlines()]
    said = " ".join(_PREFIX.sub("", line) for line in lines if line and not _PLACE.match(line)) or type(error).__name__
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."
