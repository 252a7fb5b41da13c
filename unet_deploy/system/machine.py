"""What this process may really use: processors by affinity and container limit, memory by container limit."""

from __future__ import annotations

import os
import platform
import resource
import sys
from functools import cache
from pathlib import Path

_CGROUP, _CPUINFO, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/cpuinfo"), Path("/proc/meminfo")


def usable_cores() -> int:
    """Count the processors for this process: its affinity, cut down to the container's quota (cgroup v2 cpu.max)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def keep_to_share(part: int, parts: int) -> None:
    """Run this process from now on only on its share of its processors, where the system can pin a process at all."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[part % len(cores) :: parts])


def total_memory() -> int | None:
    """Return the bytes of memory that the machine has, None where the system does not tell."""
    return next(iter(_meminfo("MemTotal")), None)


def usable_memory() -> int | None:
    """Return the bytes that this process may still take, None where the system does not tell."""
    free = _meminfo("MemAvailable")
    limit, used = _read(_CGROUP / "memory.max").strip(), _read(_CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free.append(max(0, int(limit) - int(used)))
    return min(free, default=None)


def default_ceiling() -> int | None:
    """Return the bytes that a run may take by default: what it holds, and a quarter of what is still free."""
    free = usable_memory()
    return None if free is None else resident_memory() + free // 4


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    names = [line.partition(":")[2].strip() for line in _read(_CPUINFO).splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or "unknown"


@cache
def bf16_pays() -> bool:
    """Return whether the processor multiplies bfloat16 itself: only there is it faster."""
    flags = _read(_CPUINFO)
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resident_memory() -> int:
    """Return the bytes of memory that this process holds now; its peak where the system does not tell."""
    pages = _read(Path("/proc/self/statm")).split()
    return int(pages[1]) * resource.getpagesize() if pages else peak_memory()


def peak_memory() -> int:
    """Return the most bytes of memory that this process ever held."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):  # ru_maxrss would count what the parent held when it started this process
            return int(line.split()[1]) * 1024
    return peak_of(resource.getrusage(resource.RUSAGE_SELF))


def peak_of(usage: resource.struct_rusage) -> int:
    """Return the peak memory of an account of resources in bytes; getrusage(2) counts in kilobytes but on macOS."""
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024


def _meminfo(name: str) -> list[int]:
    """Return the bytes that the lines of this name say; there is one on Linux and none elsewhere."""
    return [int(line.split()[1]) * 1024 for line in _read(_MEMINFO).splitlines() if line.startswith(f"{name}:")]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
