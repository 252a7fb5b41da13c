"""Time and memory from 1k to 32k pixels a side: linear in pixels, flat in memory.

`python benchmarks/scaling.py [--precision bf16] [--most 32768]`. The slide repeats one generated block of 1024 pixels,
so that making it takes no longer than segmenting it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from record import run, save, unet_deploy

from unet_deploy.measure.sample import write_sample

BLOCK = 1024
CEILING = "1.5GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--most", type=int, default=32 * BLOCK)
    asked = parser.parse_args()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        block = folder / "block.tif"
        write_sample(block, BLOCK, BLOCK, truth=folder / "truth.tif")
        pixels = tifffile.imread(block)
        side = BLOCK
        while side <= asked.most:
            slide, mask = folder / "slide.tif", folder / "mask.tif"
            write_repeated(slide, pixels, side)
            options = ("--precision", asked.precision, "--max-memory", CEILING, "--no-progress", "--overwrite")
            done = run(unet_deploy("segment", str(slide), "-o", str(mask), *options))
            rows[str(side)] = {
                "seconds": done.seconds,
                "peak_mb": done.peak_bytes / 1e6,
                "mpx_per_s": side * side / 1e6 / done.seconds,
                "us_a_pixel": done.seconds / side**2 * 1e6,
            }
            print(side, rows[str(side)], flush=True)
            side *= 2
    save("scaling", {"precision": asked.precision, "ceiling": CEILING, "rows": rows})


def write_repeated(path: Path, block: np.ndarray, side: int) -> None:
    """A tiled, compressed slide of equal blocks, never whole in memory."""

    def blocks() -> Iterator[np.ndarray]:
        for _ in range((side // BLOCK) ** 2):
            yield block

    tifffile.imwrite(
        path, blocks(), shape=(side, side), dtype=block.dtype, tile=(BLOCK, BLOCK), compression="zlib", bigtiff=True
    )


if __name__ == "__main__":
    main()
