"""Runtimes that tell their makers of their use, imported so that they do not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def untold() -> Iterator[None]:
    """Put around the import of a runtime and its first call: none writes home, neither to its maker nor to a file.

    OpenVINO takes a stub where the package is missing by which it writes to Google Analytics. ONNX Runtime, from 1.29
    on, keeps an identifier and writes to Microsoft unless a variable says otherwise; it looks at that once. Package and
    variable are as they were afterwards, for who uses them otherwise in this process.
    """
    modules = cast(MutableMapping[str, Any], sys.modules)
    with _held(modules, "openvino_telemetry", None), _held(os.environ, "ORT_DISABLE_TELEMETRY", "1"):
        yield


@contextmanager
def _held(values: MutableMapping[str, Any], name: str, value: Any) -> Iterator[None]:
    """Set one of some values for a while; None in `sys.modules` is a package that is not to be found."""
    before = {name: values[name]} if name in values else {}
    values[name] = value
    try:
        yield
    finally:
        values.pop(name, None)
        values.update(before)
