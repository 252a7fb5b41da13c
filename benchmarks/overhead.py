"""What reading, mirroring, normalising, stitching and writing add to ONNX Runtime's own time.

Each pair runs, in one process: a bare loop of session.run over the tiles of a 4096 x 4096 slide, all in memory
beforehand, and the whole of segment() from file to file, the model's loading included.

    python benchmarks/overhead.py [PAIRS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import record

import unet_deploy
from unet_deploy.images import open_image
from unet_deploy.images.grey import measure_page
from unet_deploy.runtimes import DEFAULT_TILE
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.tiling import plan_tiles
from unet_deploy.zoo import find_model

SIDE = 4096


def bare_seconds(runtime: OnnxRuntime, slide: Path) -> float:
    """Seconds inside session.run alone, for the tiles that segment() takes."""
    session: ort.InferenceSession = runtime._session
    options = runtime._run_options
    seconds = 0.0
    with open_image(slide) as source:
        grey = measure_page(source, 0, runtime.card.normalization)
        plan = plan_tiles(SIDE, SIDE, runtime.card, tile=DEFAULT_TILE)
        for tile in plan:
            pixels = source.read(0, tile.read)[None].astype(np.float32)
            feeds = {"image": pixels, "offset": grey.offset[None], "scale": grey.scale[None]}
            start = time.perf_counter()
            session.run(["labels"], feeds, options)
            seconds += time.perf_counter() - start
    return seconds


def main(pairs: int) -> None:
    whole, bare, inside = [], [], []
    with tempfile.TemporaryDirectory() as folder, OnnxRuntime(find_model()) as runtime:
        slide = Path(folder, "slide.tif")
        record.run(record.unet_deploy("sample", str(slide), "--size", f"{SIDE}x{SIDE}"))
        for pair in range(pairs + 1):
            bare.append(bare_seconds(runtime, slide))
            start = time.perf_counter()
            with unet_deploy.open_model(device="cpu", runtime="onnxruntime") as model:
                report = unet_deploy.segment(slide, Path(folder, f"mask{pair}.tif"), model=model)
            whole.append(time.perf_counter() - start)
            inside.append(report.timing.compute)
    ratios = [ours / theirs for ours, theirs in zip(whole[1:], bare[1:], strict=True)]
    figures = {
        "segment_seconds": record.Spread.of(whole[1:]),
        "bare_onnxruntime_seconds": record.Spread.of(bare[1:]),
        "ratio": record.Spread.of(ratios),
        "ratio_to_compute_in_the_same_run": record.Spread.of(
            [w / i for w, i in zip(whole[1:], inside[1:], strict=True)]
        ),
    }
    for name, spread in figures.items():
        print(f"{name}: {spread}")
    record.save("overhead", figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
