"""The predecessor against the U-Net: a patch classifier run once for every pixel, and one pass, at equal output.

`python benchmarks/sliding_window.py`, with PyTorch. The classifier of Ciresan et al. 2012: convolutions of 48 maps with
max-pooling, a layer of 200 and one of 2; table 1 for windows of 95 x 95, and its smaller sister of 65 x 65 with one
stage less. Timed on batches of windows and multiplied by the pixels of a 512 x 512 image.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from record import Spread, save
from torch import nn
from widen import widened

from unet_deploy.models import find_model, open_model
from unet_deploy.segmentation import segment_array

PIXELS = 512 * 512
BATCH, ROUNDS = 512, 7
KERNELS = {65: (4, 4, 5), 95: (4, 5, 4, 4)}


def classifier(window: int) -> nn.Module:
    """The patch classifier for a window of this side."""
    layers: list[nn.Module] = []
    side, maps = window, 1
    for kernel in KERNELS[window]:
        layers += [nn.Conv2d(maps, 48, kernel), nn.Tanh(), nn.MaxPool2d(2)]
        side, maps = (side - kernel + 1) // 2, 48
    layers += [nn.Flatten(), nn.Linear(48 * side * side, 200), nn.Tanh(), nn.Linear(200, 2), nn.Softmax(1)]
    return nn.Sequential(*layers).eval()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    image = np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8)
    works: dict[str, tuple[Callable[[], object], float]] = {}
    for window in KERNELS:
        network, patches = classifier(window), torch.rand(BATCH, 1, window, window)

        def classify(network: nn.Module = network, patches: torch.Tensor = patches) -> object:
            with torch.inference_mode():
                return network(patches)

        works[f"patch classifier, {window} x {window}"] = classify, PIXELS / BATCH
    with tempfile.TemporaryDirectory() as place:
        full = open_model(widened(find_model(), 4, Path(place)), device="cpu")
        works["U-Net of the original width, one pass"] = lambda: segment_array(image, full, None), 1
        times: dict[str, list[float]] = {name: [] for name in works}
        for round_ in range(ROUNDS + 1):
            for name, (work, times_over) in works.items():
                taken = seconds(work) * times_over
                if round_:  # the first warms up
                    times[name].append(taken)
        full.close()
    figures: dict[str, object] = {}
    unet = times["U-Net of the original width, one pass"]
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, unet, strict=True))
        figures[name] = {"seconds": vars(Spread.of(values)), "us_a_pixel": Spread.of(values).median / PIXELS * 1e6,
                         "times_unet": ratio}  # fmt: skip
        print(f"{name:<40} {Spread.of(values)} s for 512 x 512, {ratio:.3g} times the U-Net")
    save("sliding-window", figures)


if __name__ == "__main__":
    main()
