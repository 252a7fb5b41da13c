"""What this process may really use: processors by affinity and container limit, memory by container limit."""

from __future__ import annotations

import os
import platform
import resource
from functools import cache
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Processors for this process: its affinity, cut down to the container's CPU quota (cgroup v2 cpu.max)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def usable_memory() -> int | None:
    """Bytes that this process may still take, None where the system does not tell."""
    free = [int(line.split()[1]) * 1024 for line in _read(Path("/proc/meminfo")).splitlines() if "MemAvailable" in line]
    limit, used = _read(_CGROUP / "memory.max").strip(), _read(_CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free.append(max(0, int(limit) - int(used)))
    return min(free, default=None)


def default_ceiling() -> int | None:
    """Bytes that a run may take unless it is told otherwise: what it holds, and a quarter of what is still free."""
    free = usable_memory()
    return None if free is None else resident_memory() + free // 4


def processor_name() -> str:
    """The processor's name as the system gives it."""
    names = [
        line.partition(":")[2].strip() for line in _read(Path("/proc/cpuinfo")).splitlines() if "model name" in line
    ]
    return names[0] if names else platform.processor() or "unknown"


@cache
def bf16_pays() -> bool:
    """Whether the processor multiplies bfloat16 itself: only there is it faster."""
    flags = _read(Path("/proc/cpuinfo"))
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resident_memory() -> int:
    """Bytes of memory that this process holds now; its peak where the system does not tell."""
    pages = _read(Path("/proc/self/statm")).split()
    return int(pages[1]) * resource.getpagesize() if pages else peak_memory()


def peak_memory() -> int:
    """The most bytes of memory that this process ever held."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):  # ru_maxrss would count what the parent held when it started this process
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
