"""What a second worker of a cluster is worth, and what a cluster costs where one process would do.

`python benchmarks/cluster.py [--side 12288] [--precision bf16] [--rounds 3]`. Each round runs one worker on one
processor, two workers on a processor each, and one process without a cluster on both; seconds are those of the run,
without the start of Python and of the workers, which is given beside them.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import tifffile
from record import Spread, run, save, unet_deploy
from scaling import BLOCK, write_repeated

from unet_deploy.images import open_image
from unet_deploy.images.grey import measure_page
from unet_deploy.measure.sample import write_sample
from unet_deploy.zoo import card_of, find_model

ALONE, ONE, TWO = "one process, two processors", "one worker, one processor", "two workers, a processor each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=12 * BLOCK)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        slide, block = folder / "slide.tif", folder / "block.tif"
        write_sample(block, BLOCK, BLOCK, truth=folder / "truth.tif")
        write_repeated(slide, tifffile.imread(block), asked.side)
        common = ("--precision", asked.precision, "--tile-size", "2236", "--overwrite", "-o", str(folder / "mask.zarr"))
        segment = unet_deploy("segment", str(slide), *common)
        commands = {
            ALONE: segment,
            ONE: ["taskset", "--cpu-list", "0", *segment, "--workers", "1"],
            TWO: [*segment, "--workers", "2"],
        }
        rounds = []
        for at in range(asked.rounds):
            rounds.append({name: measure(command) for name, command in commands.items()})
            print(f"round {at + 1}:", rounds[-1], flush=True)
        grey = seconds_of_grey(slide)
        files = [path.stat().st_size for path in (folder / "mask.zarr").rglob("*") if path.is_file()]
    pixels = asked.side**2 / 1e6
    rows: dict[str, Any] = {
        name: {
            "seconds": Spread.of([each[name][0] for each in rounds]).__dict__,
            "start": statistics.median(each[name][1] - each[name][0] for each in rounds),
            "mpx_per_s": pixels / statistics.median(each[name][0] for each in rounds),
        }
        for name in commands
    }
    efficiency = Spread.of([each[ONE][0] / (2 * each[TWO][0]) for each in rounds])
    cost = Spread.of([each[TWO][0] / each[ALONE][0] for each in rounds])
    print("efficiency of the second worker", efficiency)
    print("two workers against one process", cost)
    figures = {"side": asked.side, "precision": asked.precision, "rounds": asked.rounds, "rows": rows}
    figures |= {"grey_mpx_per_s": pixels / grey, "mask_bytes_a_pixel": sum(files) / asked.side**2, "files": len(files)}
    save("cluster", {**figures, "efficiency": efficiency, "cost": cost})


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds of the run as it says itself, and of the whole command."""
    done = run(command)
    found = re.search(r"MPx in ([\d.]+) s", done.output)
    assert found, done.output
    return float(found[1]), done.seconds


def seconds_of_grey(slide: Path) -> float:
    """What one processor takes to read a page and find its grey scale."""
    import time

    card = card_of(find_model())
    with open_image(slide) as source:
        began = time.perf_counter()
        measure_page(source, 0, card.normalization)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
