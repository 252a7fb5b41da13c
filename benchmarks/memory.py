"""Peak memory of `unet-deploy segment` on slides of growing size: it should be flat.

python benchmarks/memory.py [SIDE ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import record


def main(sides: list[int]) -> None:
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        slide, mask = Path(folder, "slide.tif"), Path(folder, "mask.tif")
        for side in sides:
            record.run(record.unet_deploy("sample", str(slide), "--size", f"{side}x{side}", "--overwrite"))
            done = record.run(record.unet_deploy("segment", str(slide), "-o", str(mask), "--overlay", "--overwrite"))
            figures[str(side)] = {"peak_bytes": done.peak_bytes, "seconds": done.seconds}
            print(f"{side} x {side}: peak {done.peak_bytes / 1e6:.0f} MB, {done.seconds:.1f} s", flush=True)
    first, last = figures[str(sides[0])], figures[str(sides[-1])]
    growth = last["peak_bytes"] / first["peak_bytes"]
    print(f"growth from {sides[0]} to {sides[-1]}: {growth:.3f}")
    record.save("memory", {"by_side": figures, "growth": growth})


if __name__ == "__main__":
    main([int(side) for side in sys.argv[1:]] or [10_000, 20_000])
