"""Where a figure was measured, and where it is kept."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unet_deploy.system.machine import processor_name, total_memory, usable_cores
from unet_deploy.system.posix import peak_of

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """A figure over several runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


@dataclass(frozen=True)
class Finished:
    """A command that ran to its end."""

    seconds: float
    peak_bytes: int
    """Peak resident memory of its largest process."""
    output: str


def run(command: Sequence[str]) -> Finished:
    """Run a command as its own process, by the operating system's accounting. Raises when it fails.

    Modules are kept compiled, as where a package is installed, whatever this environment says.
    """
    import time

    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=compiled)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Finished(seconds, peak_of(usage), output)


def unet_deploy(*arguments: str) -> list[str]:
    """The command line of this environment's unet-deploy."""
    return [sys.executable, "-m", "unet_deploy.cli", *arguments]


def save(name: str, figures: dict[str, Any]) -> Path:
    """Write figures as dated JSON with the machine in it; prints and returns the path."""
    from importlib.metadata import PackageNotFoundError, version

    today = datetime.date.today().isoformat()
    plain = {key: asdict(value) if isinstance(value, Spread) else value for key, value in figures.items()}
    packages = {}
    for package in ("unet-deploy", "numpy", "tifffile", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "monai"):
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    record = {"date": today, "machine": _machine(), "packages": packages, "figures": plain}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{today}-{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written: {path}")
    return path


def _machine() -> dict[str, Any]:
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_bytes": total_memory(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
