"""What reading a coarser level of a pyramid is worth to a run at a smaller scale: the same pixels with and without one.

Nuclei four times as large as the model knows, noise on them, packed as slides are, and each level the mean of the one
before. Without a pyramid the finest level is read and shrunk.

    python benchmarks/levels.py [RUNS]
    python benchmarks/levels.py FOLDER

FOLDER, of annotated images whose nuclei are large: whether the masks are as good, at the largest of the scales.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import record
import tifffile
from scipy import ndimage
from tifffile import TiffWriter

import unet_deploy
from unet_deploy.evaluation.objects import match_objects
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.evaluation.pairs import find_pairs, read_image
from unet_deploy.evaluation.truths import read_truths
from unet_deploy.images import open_image
from unet_deploy.images.grey import measure_page, read_tile
from unet_deploy.images.pyramid import Pyramid
from unet_deploy.measure.sample import SampleSlide
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.run import Options, Outputs
from unet_deploy.segmentation.scaling import Scaling
from unet_deploy.stream.planner import plan_for

SIDE = 8192
LARGER = 4
LEVELS = 5
PACKINGS = {"jpeg": {"level": 90}, "jpeg2000": {"level": 40}}
SCALES = (0.25, 0.0625)


def slide() -> np.ndarray:
    """(SIDE, SIDE) uint8."""
    small = SampleSlide(SIDE // LARGER, SIDE // LARGER)
    rows = [[small.block(row, column)[0] for column in range(small.columns)] for row in range(small.rows)]
    large = ndimage.zoom(255 * np.clip(np.block(rows), 0, 1), LARGER, order=1, output=np.float32)
    noise = np.random.default_rng(0).normal(0, 4, large.shape).astype(np.float32)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def pyramid(image: np.ndarray) -> Iterator[np.ndarray]:
    """The levels of an image, each the mean of 2 x 2 pixels of the one before."""
    for _ in range(LEVELS):
        yield image
        height, width = (side // 2 for side in image.shape)
        blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        image = np.rint(blocks.mean(axis=(1, 3))).astype(image.dtype)


def write(path: Path, levels: list[np.ndarray], packing: str | None = None) -> Path:
    packed = {"compression": packing, "compressionargs": PACKINGS.get(packing or ""), "photometric": "minisblack"}
    with TiffWriter(path, bigtiff=True) as file:
        for at, pixels in enumerate(levels):
            below = {"subfiletype": 1} if at else {"subifds": len(levels) - 1}
            file.write(pixels, tile=(256, 256), **below, **packed)
    return path


def pixel_seconds(path: Path, runtime: Runtime, scale: float) -> float:
    """Seconds for what a run reads: the level that it chooses, its grey scale, its tiles."""
    start = time.process_time()
    with open_image(path) as image, Pyramid(image) as levels:
        source = levels.at(scale).source
        grey = measure_page(source, 0, runtime.card.normalization)
        for tile in plan_for(runtime, image.info.region):
            read_tile(source, 0, tile.read, grey)
    return time.process_time() - start


def speed(runs: int) -> None:
    """Seconds of processors and not of the clock, so that little depends on what else goes on."""
    levels, figures = list(pyramid(slide())), {}
    with tempfile.TemporaryDirectory() as folder, unet_deploy.open_model(device="cpu") as model:
        for packing in PACKINGS:
            kept = {"with levels": levels, "finest alone": levels[:1]}
            paths = {name: write(Path(folder, f"{name}.tif"), each, packing) for name, each in kept.items()}
            for scale in SCALES:
                unet_deploy.segment(levels[-1], model=model, scale=scale)  # opens the model at it
                with unet_deploy.open_model(device="cpu", scale=scale) as runtime:
                    for name, path in paths.items():
                        reading = [pixel_seconds(path, runtime, scale) for _ in range(runs)]
                        figures[f"{packing}, at {scale}, {name}, reading"] = record.Spread.of(reading)
                for name, path in paths.items():
                    whole = [run_seconds(path, model, scale) for _ in range(runs)]
                    figures[f"{packing}, at {scale}, {name}, whole run"] = record.Spread.of(whole)
    for name, spread in figures.items():
        print(f"{name}: {spread} s")
    record.save("levels", figures)


def run_seconds(path: Path, model: Runtime, scale: float) -> float:
    """Seconds of all threads from file to file."""
    start = time.process_time()
    unet_deploy.segment(path, path.with_suffix(".mask.tif"), model=model, scale=scale, overwrite=True)
    return time.process_time() - start


def found(model: Runtime, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The mask (H, W) bool and the numbers of its objects, (H, W) uint32, at the largest of the scales."""
    outputs = Outputs(path.with_suffix(".mask.tif"), instances=path.with_suffix(".ids.tif"))
    options = Options(scaling=Scaling(scale=max(SCALES)), overwrite=True)
    mask, numbers = (tifffile.imread(each) for each in unet_deploy.segment_file(path, outputs, model, options).outputs)
    return mask > 0, numbers


def quality(data: Path) -> None:
    """Print F1 at IoU 0.5 and Dice by levels and by the finest alone, and how far their masks agree."""
    scores, agreements = {"by levels": [], "by the finest alone": []}, []
    with tempfile.TemporaryDirectory() as folder, unet_deploy.open_model(device="cpu") as model:
        for pair in find_pairs(data):
            image, truth = read_image(pair), read_truths([pair], model.card.classes)[0]
            levels, masks = list(pyramid(image.crop(0, image.info.region)[0])), []
            for kept, row in zip((levels, levels[:1]), scores.values(), strict=True):
                mask, numbers = found(model, write(Path(folder, "image.tif"), kept))
                masks.append(mask)
                f1 = match_objects(numbers, truth.objects, (0.5,))[0].f1
                row.append((f1, Overlap.of(mask, truth.labels > 0).dice))
            agreements.append(Overlap.of(*masks).dice)
    for name, row in scores.items():
        f1, dice = np.mean(row, axis=0)
        print(f"{name}: F1 {f1:.3f}, Dice {dice:.3f}")
    print(f"Dice of both masks: {min(agreements):.3f} to {max(agreements):.3f}, {len(agreements)} images")


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].isdigit():
        quality(Path(sys.argv[1]))
    else:
        speed(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
