"""What this process may use, read from the system as the system says it."""

import os
import subprocess
import sys

import pytest

from unet_deploy.system import machine
from unet_deploy.system.machine import bf16_pays


def test_a_peak_is_at_least_what_is_held_and_knows_no_parent():
    held = bytearray(256 << 20)
    held[::4096] = b"x" * len(held[::4096])
    child = subprocess.check_output(
        [sys.executable, "-c", "from unet_deploy.system.machine import peak_memory; print(peak_memory())"]
    )
    assert int(child) < len(held) <= machine.resident_memory() <= machine.peak_memory()


def test_a_container_limits_processors_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert machine.usable_cores() == 1
    assert machine.usable_memory() == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.usable_memory() > 3000


def test_without_files_that_tell_of_it_a_system_is_known_all_the_same(monkeypatch):
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert 0 < machine.resident_memory() < machine.default_ceiling() < machine.total_memory()
    assert machine.usable_cores() > 0
    assert machine.processor_name()


def test_all_memory_is_more_than_what_is_free():
    assert machine.usable_memory() < machine.total_memory()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_workers_share_the_processors_among_them():
    script = (
        "import os, sys; from unet_deploy.system.machine import keep_to_share\n"
        "keep_to_share(int(sys.argv[1]), 2); print(*os.sched_getaffinity(0))"
    )
    shares = [
        set(subprocess.check_output([sys.executable, "-c", script, str(part)], text=True).split()) for part in (0, 1)
    ]
    cores = set(map(str, os.sched_getaffinity(0)))
    assert set.union(*shares) == cores
    assert len(cores) == 1 or not set.intersection(*shares)


@pytest.mark.parametrize(
    ("says", "pays"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16", True),
        ("flags\t\t: fpu amx_bf16 amx_tile", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx512f avx512_fp16", False),
        ("model name\t: a bf16 of the maker's", False),
        ("", False),
    ],
)
def test_bfloat16_pays_where_the_processor_says_that_it_has_it(monkeypatch, says, pays):
    monkeypatch.setattr(machine, "_read", lambda path: f"processor\t: 0\n{says}\n")
    assert bf16_pays.__wrapped__() is pays
