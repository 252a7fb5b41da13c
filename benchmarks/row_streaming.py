"""A prototype: rows stream through the network, and each layer keeps the rows that the next ones need.

`python benchmarks/row_streaming.py [--side 4096]`, with PyTorch. No row of any level is computed twice, so the only
redundant work is the halo at the left and the right of the image, and memory is that of a strip. The answer is compared
with the whole image's, and time, work and memory with tiles of 1212 and with the whole image, all in PyTorch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import torch
from peers import MARGIN, network
from record import save
from torch import Tensor, nn

from unet_deploy.system.machine import peak_memory
from unet_deploy.tiling import mirror, plan_tiles

STRIP = 128
"""Rows of the image that enter at once; a multiple of the network's stride."""


class Rows:
    """Rows (1, C, h, W) that wait until enough of them are there."""

    def __init__(self, skip: int = 0) -> None:
        self._skip, self._kept = skip, None

    def push(self, rows: Tensor) -> None:
        self._kept = rows if self._kept is None else torch.cat([self._kept, rows], 2)
        if self._skip:
            dropped = min(self._skip, self._kept.shape[2])
            self._kept, self._skip = self._kept[:, :, dropped:], self._skip - dropped

    @property
    def count(self) -> int:
        return 0 if self._kept is None else self._kept.shape[2]

    def take(self, count: int, overlap: int = 0) -> Tensor:
        """The first `count` rows; all but the last `overlap` of them are gone afterwards."""
        taken, self._kept = self._kept[:, :, :count], self._kept[:, :, count - overlap :]
        return taken


class Streamed:
    """The original U-Net, fed with rows from the top."""

    def __init__(self, unet: nn.Module) -> None:
        self._unet, depth = unet, unet.depth
        self._before_conv = {id(layer): Rows() for layer in unet.modules() if is_3x3(layer)}
        self._before_pool = [Rows() for _ in range(depth)]
        self._skips = [Rows(skip=unet.crop(level)) for level in range(depth)]
        self._ups = [Rows() for _ in range(depth)]

    def push(self, rows: Tensor) -> Tensor | None:
        """The rows of logits that these rows of the image complete, if any."""
        unet = self._unet
        features: Tensor | None = rows
        for level, convolve in enumerate(unet.down):
            features = self._twice(convolve, features)
            if level < unet.depth:
                if features is None:
                    return None
                crop = unet.crop(level)
                self._skips[level].push(features[:, :, :, crop:-crop])
                self._before_pool[level].push(features)
                even = self._before_pool[level].count // 2 * 2
                if not even:
                    return None
                features = nn.functional.max_pool2d(self._before_pool[level].take(even), 2)
        for level in reversed(range(unet.depth)):
            if features is None:
                return None
            self._ups[level].push(unet.up[level](features))
            ready = min(self._ups[level].count, self._skips[level].count)
            if not ready:
                return None
            both = [self._skips[level].take(ready), self._ups[level].take(ready)]
            features = self._twice(unet.merge[level], torch.cat(both, 1))
        return None if features is None else unet.head(features)

    def _twice(self, layers: nn.Sequential, rows: Tensor | None) -> Tensor | None:
        for layer in layers:
            if rows is None:
                return None
            if is_3x3(layer):
                waiting = self._before_conv[id(layer)]
                waiting.push(rows)
                rows = layer(waiting.take(waiting.count, overlap=2)) if waiting.count > 2 else None
            else:
                rows = layer(rows)
        return rows


def is_3x3(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)


class Work:
    """Counts the operations of all convolutions that run."""

    def __init__(self, unet: nn.Module) -> None:
        self.flops = 0
        for layer in unet.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_hook(self._count)

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        self.flops += 2 * layer.weight.numel() * places.shape[2] * places.shape[3]


def strips(image: np.ndarray) -> Iterator[Tensor]:
    """The image with mirrored margins, some rows at a time; legal for the network in all."""
    height, width = image.shape
    tall, wide = (-(-(side + 2 * MARGIN - 188) // 16) * 16 + 188 for side in (height, width))
    columns = mirror(-MARGIN, wide - MARGIN, width)
    rows = mirror(-MARGIN, tall - MARGIN, height)
    for start in range(0, tall, STRIP):
        part = image[rows[start : start + STRIP]][:, columns]
        yield torch.from_numpy(part)[None, None].contiguous(memory_format=torch.channels_last)


def run(way: str, side: int, answer_file: str) -> dict[str, float]:
    """One way, in this process."""
    image = np.random.default_rng(0).random((side, side), np.float32)
    unet = network()
    work, answer = Work(unet), np.zeros((side, side), np.uint8)
    start = time.perf_counter()
    with torch.inference_mode():
        if way == "rows":
            streamed, y = Streamed(unet), 0
            for strip in strips(image):
                logits = streamed.push(strip)
                if logits is not None:
                    part = logits[0].argmax(0).numpy()[: side - y, :side]
                    answer[y : y + part.shape[0]] = part
                    y += part.shape[0]
        else:
            tile_side = 1212 if way == "tiles" else side + 2 * MARGIN + 16
            for tile in plan_tiles(side, side, unet, tile=tile_side):
                read = tile.read
                rows, columns = mirror(read.y, read.bottom, side), mirror(read.x, read.right, side)
                part = torch.from_numpy(image[rows][:, columns])[None, None]
                labels = unet(part.contiguous(memory_format=torch.channels_last))[0].argmax(0).numpy()
                answer[tile.write.slices] = labels[: tile.write.height, : tile.write.width]
    seconds = time.perf_counter() - start
    np.save(answer_file, answer)
    return {"seconds": seconds, "peak_mb": peak_memory() / 1e6, "flops": float(work.flops)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--way", choices=("rows", "tiles", "whole"))
    parser.add_argument("--answer")
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(run(asked.way, asked.side, asked.answer)))
        return
    figures: dict[str, object] = {"side": asked.side, "strip": STRIP}
    found, answers = {}, {}
    with tempfile.TemporaryDirectory() as place:
        for way in ("rows", "tiles", "whole"):
            answer = f"{place}/{way}.npy"
            command = [sys.executable, __file__, "--side", str(asked.side), "--way", way, "--answer", answer]
            found[way] = json.loads(subprocess.check_output(command, text=True))
            answers[way] = np.load(answer)
    limit = no_halo(asked.side)
    for way, each in found.items():
        unlike = float((answers[way] != answers["whole"]).mean())
        figures[way] = {**each, "redundant": each["flops"] / limit, "labels_unlike_whole": unlike}
        print(way, figures[way])
    save("row-streaming", figures)


def no_halo(side: int) -> float:
    """Operations of the image if none had a halo, by the growth of the count with the side."""
    unet = network()
    counts = []
    for legal in (1212, 2236):
        work = Work(unet)
        with torch.inference_mode():
            unet(torch.zeros(1, 1, legal, legal))
        counts.append(work.flops)
        for layer in unet.modules():
            layer._forward_hooks.clear()
    return (counts[1] ** 0.5 - counts[0] ** 0.5) ** 2 / 1024**2 * side**2


if __name__ == "__main__":
    main()
