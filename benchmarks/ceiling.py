"""The hard ceiling: `--max-memory` holds for the whole process from 1k to 100k pixels a side, objects included.

`python benchmarks/ceiling.py [--sides 1000 10000 50000 100000] [--max-memory 2GiB] [--precision bf16]`. Up to 10k every
tile is computed, with nuclei all over. Beyond, the slide is as scans are: tissue in the middle, on 5 % of it, and glass
around, which --skip-background leaves out; all of it is read, written and searched for objects.
Fails (exit code 5) when a peak exceeds the ceiling.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from record import run, save, unet_deploy

from unet_deploy.cli.parse import byte_count
from unet_deploy.measure.sample import write_sample

BLOCK = 512
KINDS = 16
"""Different blocks of tissue, which repeat."""

ALL_TISSUE = 10_000
"""The largest side at which every tile is computed."""

TISSUE = 0.05
"""Share of a larger slide that is not glass."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 10_000, 50_000, 100_000])
    parser.add_argument("--max-memory", default="2GiB")
    parser.add_argument("--precision", default="bf16")
    asked = parser.parse_args()
    ceiling = byte_count(asked.max_memory)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tissue, glass = blocks(folder)
        for side in asked.sides:
            row = measure(
                folder, side, tissue, glass, ("--precision", asked.precision, "--max-memory", asked.max_memory)
            )
            rows[str(side)] = row
            print(side, row, flush=True)
    figures = {"ceiling": asked.max_memory, "ceiling_mb": ceiling / 1e6, "precision": asked.precision, "rows": rows}
    save("ceiling", figures)
    sys.exit(5 if any(row["peak_mb"] > ceiling / 1e6 for row in rows.values()) else 0)


def measure(folder: Path, side: int, tissue: list[bytes], glass: bytes, options: tuple[str, ...]) -> dict[str, Any]:
    """Seconds and bytes of one run, and what a dry run said of them."""
    slide, mask, table = folder / "slide.tif", folder / "mask.tif", folder / "objects.csv"
    share = write_slide(slide, side, tissue, glass)
    if share < 1:
        options += ("--skip-background",)
    command = unet_deploy("segment", str(slide), "-o", str(mask), "--objects", str(table), "--overwrite", *options)
    foreseen = dict(line.split("  ", 1) for line in run([*command, "--dry-run"]).output.splitlines())
    done = run([*command, "--no-progress"])
    with table.open() as lines:
        objects = sum(1 for _ in lines) - 1
    row = {
        "tissue": share,
        "seconds": done.seconds,
        "mpx_per_s": side * side / 1e6 / done.seconds,
        "peak_mb": done.peak_bytes / 1e6,
        "foreseen": foreseen["peak memory"].strip(),
        "objects": objects,
        "mask_mb": mask.stat().st_size / 1e6,
    }
    for path in (slide, mask, table):
        path.unlink()
    return row


def blocks(folder: Path) -> tuple[list[bytes], bytes]:
    """Compressed blocks of tissue, and one of glass with its noise."""
    across = int(KINDS**0.5) * BLOCK
    write_sample(folder / "tissue.tif", across, across, truth=folder / "truth.tif")
    pixels = tifffile.imread(folder / "tissue.tif")
    dark = int(np.percentile(pixels, 1))
    noise = np.random.default_rng(0).integers(dark, dark + 4, (BLOCK, BLOCK), dtype=np.uint8)
    tissue = [
        zlib.compress(np.ascontiguousarray(pixels[y : y + BLOCK, x : x + BLOCK]).tobytes())
        for y in range(0, across, BLOCK)
        for x in range(0, across, BLOCK)
    ]
    return tissue, zlib.compress(noise.tobytes())


def write_slide(path: Path, side: int, tissue: list[bytes], glass: bytes) -> float:
    """A tiled slide, compressed once and copied block by block; returns the share of its blocks that are tissue."""
    count = -(-side // BLOCK)
    edge = 0.0 if side <= ALL_TISSUE else (1 - TISSUE**0.5) / 2 * count
    across = int(KINDS**0.5)

    def is_tissue(row: int, column: int) -> bool:
        return edge <= row < count - edge and edge <= column < count - edge

    def parts() -> Iterator[bytes]:
        for row in range(count):
            for column in range(count):
                kind = row % across * across + column % across
                yield tissue[kind] if is_tissue(row, column) else glass

    options: dict[str, Any] = {"dtype": np.uint8, "tile": (BLOCK, BLOCK), "compression": "zlib", "bigtiff": True}
    tifffile.imwrite(path, parts(), shape=(side, side), photometric="minisblack", **options)
    return sum(is_tissue(row, column) for row in range(count) for column in range(count)) / count**2


if __name__ == "__main__":
    main()
