"""What this process may really use: processors by affinity and container limit, memory by container limit."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path

import psutil

from unet_deploy.system.kernel import peak_memory

__all__ = [
    "bf16_pays",
    "default_ceiling",
    "keep_to_share",
    "may_have_accelerators",
    "peak_memory",
    "processor_name",
    "resident_memory",
    "total_memory",
    "usable_cores",
    "usable_memory",
]

_CGROUP, _CPUINFO = Path("/sys/fs/cgroup"), Path("/proc/cpuinfo")

_ACCELERATORS = (Path("/dev/dri"), Path("/dev/accel"), Path("/dev/dxg"))
"""Where Linux has GPUs, NPUs, and the GPU of the Windows that it runs in."""

_CAN_PIN = hasattr(psutil.Process, "cpu_affinity")
"""Whether the system keeps a process to some of the processors: macOS does not."""


def usable_cores() -> int:
    """Count the processors for this process: its affinity, cut down to the container's quota (cgroup v2 cpu.max)."""
    cores = len(psutil.Process().cpu_affinity()) if _CAN_PIN else psutil.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def keep_to_share(part: int, parts: int) -> None:
    """Run this process from now on only on its share of its processors, where the system can pin a process at all."""
    if _CAN_PIN:
        process = psutil.Process()
        cores = sorted(process.cpu_affinity())
        process.cpu_affinity(cores[part % len(cores) :: parts])


def total_memory() -> int:
    """Return the bytes of memory that the machine has."""
    return int(psutil.virtual_memory().total)


def usable_memory() -> int:
    """Return the bytes that this process may still take."""
    free = int(psutil.virtual_memory().available)
    limit, used = _read(_CGROUP / "memory.max").strip(), _read(_CGROUP / "memory.current").strip()
    return min(free, max(0, int(limit) - int(used))) if limit.isdigit() and used.isdigit() else free


def default_ceiling() -> int:
    """Return the bytes that a run may take by default: what it holds, and a quarter of what is still free."""
    return resident_memory() + usable_memory() // 4


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    names = [line.partition(":")[2].strip() for line in _read(_CPUINFO).splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or "unknown"


@cache
def bf16_pays() -> bool:
    """Return whether the processor multiplies bfloat16 itself: only there is it faster."""
    lines = _read(_CPUINFO).splitlines()
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return not flags.isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))  # the last is Arm's


def may_have_accelerators() -> bool:
    """Return whether a GPU that is not NVIDIA's, or an NPU, may be here: Linux says at once where there is none."""
    return sys.platform != "linux" or any(path.exists() for path in _ACCELERATORS)


def resident_memory() -> int:
    """Return the bytes of memory that this process holds now."""
    return int(_process(os.getpid()).memory_info().rss)


@cache
def _process(_number: int) -> psutil.Process:
    """This process, which had another number before a fork, looked up but once: that takes longer than to ask it."""
    return psutil.Process()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
