"""Is Winograd worth a runtime of its own? ncnn in float32 with and without it, beside our runtimes, on a 700 tile.

`python benchmarks/winograd.py [--rounds 5]`, with PyTorch, ncnn, pnnx and OpenVINO. The original width, random weights;
each round runs every one once, and the median of the ratios to ONNX Runtime is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from peers import network
from record import Spread, save
from widen import widened

from trainer.unet import UNet
from unet_deploy.grey import GreyScale
from unet_deploy.machine import resident_memory, usable_cores
from unet_deploy.models import find_model, open_model

SIDE = 700
GREY = GreyScale(np.zeros(1, np.float32), np.ones(1, np.float32))


def converted(unet: UNet, folder: Path) -> Path:
    """The network as ncnn's two files; returns their common stem."""
    traced = torch.jit.trace(unet, torch.zeros(1, 1, SIDE, SIDE))
    traced.save(str(folder / "unet.pt"))
    subprocess.run(
        ["pnnx", "unet.pt", f"inputshape=[1,1,{SIDE},{SIDE}]", "fp16=0"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return folder / "unet.ncnn"


def with_ncnn(stem: Path, image: np.ndarray, *, winograd: bool) -> Callable[[], np.ndarray]:
    net = ncnn.Net()
    net.opt.num_threads = usable_cores()
    net.opt.use_winograd_convolution = winograd
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(f"{stem}.param")
    net.load_model(f"{stem}.bin")

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image[0]).clone())
        return np.array(extractor.extract("out0")[1])

    return run


def full_network(onnx_file: Path) -> UNet:
    """PyTorch's network with the weights of an ONNX file."""
    arrays = {each.name: numpy_helper.to_array(each).copy() for each in onnx.load(str(onnx_file)).graph.initializer}
    return network(arrays=arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    image = np.random.default_rng(0).random((1, SIDE, SIDE), np.float32)
    with tempfile.TemporaryDirectory() as place:
        model = widened(find_model(), 4, Path(place))
        stem = converted(full_network(model), Path(place))
        exact, fast = (open_model(model, device="cpu", runtime=name) for name in ("onnxruntime", "openvino"))
        works: dict[str, Callable[[], Any]] = {
            "ONNX Runtime fp32": lambda: exact.submit([image], [GREY]),
            "OpenVINO fp32": lambda: fast.submit([image], [GREY]),
            "ncnn fp32, Winograd": with_ncnn(stem, image, winograd=True),
            "ncnn fp32, direct": with_ncnn(stem, image, winograd=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        held: dict[str, int] = {}
        for round_ in range(rounds + 1):
            for name, work in works.items():
                before = resident_memory()
                start = time.perf_counter()
                work()
                if round_:  # the first warms up, and takes its memory
                    seconds[name].append(time.perf_counter() - start)
                else:
                    held[name] = resident_memory() - before
        labels = exact.submit([image], [GREY]).labels[0]
        unlike = float((works["ncnn fp32, Winograd"]().argmax(0) != labels).mean())
    figures: dict[str, Any] = {"winograd_labels_unlike_onnxruntime": unlike}
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["ONNX Runtime fp32"], values, strict=True))
        figures[name] = {"seconds": vars(Spread.of(values)), "times_faster": ratio, "held_mb": held[name] / 1e6}
        print(f"{name:<22} {Spread.of(values)} s, {ratio:.2f} times as fast as ONNX Runtime")
    print(f"labels of ncnn with Winograd unlike ONNX Runtime's: {unlike:.1e}")
    save("winograd", figures)


if __name__ == "__main__":
    main()
