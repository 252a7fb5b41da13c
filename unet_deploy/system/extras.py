"""Optional packages, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from unet_deploy.errors import MissingPackageError, reason


def install_line(extra: str) -> str:
    """Return the command that adds an extra to the unet-deploy that is installed.

    >>> install_line("zarr")
    "pip install 'unet-deploy[zarr]'"
    """
    return f"pip install 'unet-deploy[{extra}]'"


def is_here(package: str) -> bool:
    """Whether a package is installed, "cuda.bindings" within a folder too. Nothing of it is imported.

    >>> is_here("math"), is_here("no_such.package")
    (True, False)
    """
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the folder around it is not there
        return False


def require(package: str, extra: str) -> None:
    """Raise MissingPackageError, with the line that installs it, unless `package` is there. Nothing is imported."""
    if not is_here(package):
        raise MissingPackageError(f"this needs {package}; run: {install_line(extra)}")


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
            f"{package} cannot be loaded ({reason(error)}); run: {install_line(extra)} --force-reinstall"
        ) from error
