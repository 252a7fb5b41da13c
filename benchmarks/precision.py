"""What `segment` takes by itself where a processor has bfloat16, against `--precision fp32`.

    python benchmarks/precision.py [--side 4096] [--images 200] [--rounds 5]

In every round each of these runs once, in a process of its own, file to file: a slide with an empty cache, so that
bfloat16 is proved first; the same with the proof that was kept; the same in float32; and a folder of images of
256 x 256, of which the time of a folder of one is taken off, against the time of the runtime alone for the same tiles.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from record import Spread, run, save, unet_deploy

from unet_deploy.images import open_image
from unet_deploy.images.grey import measure_page
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.run import segment_file
from unet_deploy.segmentation.scaling import Scaling
from unet_deploy.stream.precision import ByProof, settle_precision
from unet_deploy.zoo import Request

SMALL = 256
AUTO = Request(device="cpu", precision="auto", pixels="uint8")
EXACT = ("--precision", "fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["UNET_DEPLOY_CACHE"] = str(folder / "cache")
        slide = folder / "slide.tif"
        run(unet_deploy("sample", str(slide), "--size", f"{asked.side}x{asked.side}"))
        cut(slide, folder / "many", asked.images)
        cut(slide, folder / "one", 1)
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(asked.rounds):
            for name, value in one_round(folder, slide).items():
                seconds[name].append(value)
                print(f"{name}: {value:.3f} s", flush=True)
        differ = (tifffile.imread(folder / "auto.tif") != tifffile.imread(folder / "exact.tif")).mean()
    save("precision", figures(seconds, asked, float(differ) * 1e6))


def cut(slide: Path, folder: Path, images: int) -> None:
    """Small images, from all over a slide and again from its beginning."""
    pixels = tifffile.imread(slide)
    places = [(y, x) for y in range(0, len(pixels), SMALL) for x in range(0, len(pixels), SMALL)]
    folder.mkdir()
    for at in range(images):
        y, x = places[at % len(places)]
        tifffile.imwrite(folder / f"{at:04}.tif", pixels[y : y + SMALL, x : x + SMALL])


def one_round(folder: Path, slide: Path) -> dict[str, float]:
    """Seconds of each, with an empty cache at the beginning."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    proof = proof_seconds(slide)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    auto, exact = folder / "auto.tif", folder / "exact.tif"
    return {
        "first": segment(slide, "-o", auto),
        "again": segment(slide, "-o", auto),
        "fp32": segment(slide, "-o", exact, *EXACT),
        "proof": proof,
        "folder": small_images(folder),
        "folder, fp32": small_images(folder, *EXACT),
        "runtime": runtime_seconds(folder / "many", "auto"),
        "runtime, fp32": runtime_seconds(folder / "many", "fp32"),
    }


def segment(*words: Path | str) -> float:
    return run(unet_deploy("segment", *map(str, words), "--device", "cpu", "--overwrite", "--no-progress")).seconds


def small_images(folder: Path, *how: str) -> float:
    """Seconds of all small images but one, file to file, at the scale that they have."""
    scaled = ("--scale", "1", *how)
    many, one = (segment(folder / name, "-o", folder / f"{name}-masks", *scaled) for name in ("many", "one"))
    return many - one


def proof_seconds(slide: Path) -> float:
    """What a run with an empty cache pays more: float32 beside bfloat16, a few tiles in both, and the comparison."""
    with Models("nuclei", AUTO) as models, open_image(slide) as source:
        grey = measure_page(source, 0, models.card.normalization)
        start = time.perf_counter()
        opened = models.at(1.0)
        seconds = time.perf_counter() - start
        if isinstance(opened, ByProof) and opened.choice is None:
            opened.computing("bf16")
        start = time.perf_counter()
        settle_precision(opened, source, {0: grey})
        return seconds + time.perf_counter() - start


def runtime_seconds(folder: Path, precision: str) -> float:
    """Seconds inside the runtime alone, for the tiles of all small images but the first."""
    paths, seconds = sorted(folder.glob("*.tif")), 0.0
    with Models("nuclei", Request(device="cpu", precision=precision, pixels="uint8")) as models:
        scaling = Options(scaling=Scaling(1.0))
        tile = segment_file(paths[0], folder.parent / "first.tif", models, scaling).plan[0]
        (folder.parent / "first.tif").unlink()
        runtime = models.at(1.0)
        for path in paths[1:]:
            with open_image(path) as source:
                grey, pixels = measure_page(source, 0, models.card.normalization), source.read(0, tile.read)
            start = time.perf_counter()
            runtime.result(runtime.submit([np.ascontiguousarray(pixels)], [grey]))
            seconds += time.perf_counter() - start
    return seconds


def figures(seconds: dict[str, list[float]], asked: argparse.Namespace, differ_ppm: float) -> dict[str, Any]:
    """Medians, and ratios in pairs."""

    def times(ours: str, theirs: str) -> Spread:
        return Spread.of([mine / other for mine, other in zip(seconds[ours], seconds[theirs], strict=True)])

    found: dict[str, Any] = {f"{name}, s": Spread.of(values) for name, values in seconds.items()}
    found |= {
        "fp32 / again": times("fp32", "again"),
        "fp32 / first": times("fp32", "first"),
        "proof / first": times("proof", "first"),
        "folder / runtime": times("folder", "runtime"),
        "folder / runtime, fp32": times("folder, fp32", "runtime, fp32"),
    }
    for name, spread in found.items():
        print(f"{name}: {spread}")
    print(f"labels in a million that differ: {differ_ppm:.3g}")
    return {**found, "labels_differ_ppm": differ_ppm, **vars(asked)}


if __name__ == "__main__":
    main()
