"""Optional packages, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from unet_deploy.errors import MissingPackageError, reason


def require(package: str, extra: str) -> None:
    """Raise MissingPackageError, with the line that installs it, unless `package` is there. Nothing is imported."""
    if find_spec(package) is None:
        raise MissingPackageError(f"this needs {package}; run: pip install 'unet-deploy[{extra}]'")


@contextmanager
def importing(package: str, extra: str) -> Iterator[None]:
    """Put around the imports of an optional package: an ImportError becomes MissingPackageError with the remedy.

    >>> with importing("math", "none"):
    ...     import math
    """
    try:
        yield
    except ImportError as error:
        require(package, extra)
        raise MissingPackageError(
            f"{package} cannot be loaded ({reason(error)}); run: pip install --force-reinstall 'unet-deploy[{extra}]'"
        ) from error
