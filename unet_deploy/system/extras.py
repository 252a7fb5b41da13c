"""Optional packages, and how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from unet_deploy.errors import UsageError


def need(package: str, extra: str) -> None:
    """Raise UsageError with the line that installs it unless `package` is there."""
    if find_spec(package) is None:
        raise UsageError(f"this needs {package}; run: pip install 'unet-deploy[{extra}]'")
