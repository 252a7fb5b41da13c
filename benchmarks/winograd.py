"""Winograd convolutions (ncnn) against ONNX Runtime's direct ones, in exact float32, at two widths of the network.

`python benchmarks/winograd.py`, with ncnn, pnnx and PyTorch. The same random weights on the same tile, in turn; the
peaks are those of a process with one of the two alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import Spread, run, save

CASES = ((64, 572), (64, 700), (64, 1212), (16, 572), (16, 700), (16, 1212))
"""Channels of the first level, and the side of the input in pixels."""
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs=4, metavar=("WIDTH", "SIDE", "FOLDER", "ENGINES"), help="one, in a child")
    asked = parser.parse_args()
    if asked.case:
        width, side, folder, engines = asked.case
        print(json.dumps(measure(int(width), int(side), Path(folder), engines.split("+"))))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, side in CASES:
            results = {}
            for engines in ("ncnn+onnxruntime", "ncnn", "onnxruntime"):
                command = [sys.executable, __file__, "--case", str(width), str(side), folder, engines]
                results[engines] = json.loads(run(command).output.splitlines()[-1])
            both = results["ncnn+onnxruntime"]
            row = {
                "width": width,
                "side": side,
                **{f"{name}_seconds": vars(Spread.of(both["seconds"][name])) for name in both["seconds"]},
                "speedup": vars(Spread.of([b / a for a, b in zip(*both["seconds"].values(), strict=True)])),
                "worst_probability": both["apart"],
                **{f"{name}_peak_mb": results[name]["peak"] / 1e6 for name in both["seconds"]},
            }
            rows[f"{width}, {side}"] = row
            print(row, flush=True)
    save("winograd", {"rounds": ROUNDS, "rows": rows})


def measure(width: int, side: int, folder: Path, engines: list[str]) -> dict[str, object]:
    from unet_deploy.system.machine import peak_memory

    image = np.random.default_rng(0).random((1, side, side), np.float32)
    make = {"ncnn": ncnn, "onnxruntime": onnxruntime}
    passes = {name: make[name](width, folder) for name in engines}
    answers = [each(image) for each in passes.values()]
    peak = peak_memory()
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS if len(engines) > 1 else 0):
        for name, each in passes.items():
            start = time.perf_counter()
            each(image)
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": seconds, "apart": float(np.ptp(answers, axis=0).max()), "peak": peak}


Pass = Callable[[np.ndarray], np.ndarray]
"""(1, H, W) float32 to probabilities (2, h, w)."""


def ncnn(width: int, folder: Path) -> Pass:
    import ncnn

    from unet_deploy.system.machine import usable_cores

    param = folder / f"unet{width}.ncnn.param"
    if not param.exists():
        # Apart: what conversion takes is no part of the peak.
        run([sys.executable, "-c", CONVERT.format(width=width, path=folder / f"unet{width}.pt")])
    net = ncnn.Net()
    net.opt.num_threads = usable_cores()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def infer(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        logits = np.array(extractor.extract("out0")[1])
        shifted = np.exp(logits - logits.max(axis=0))
        return shifted / shifted.sum(axis=0)

    return infer


# The network's parameters in ncnn's form hold for every size; a small input makes the conversion quick.
CONVERT = """
import pnnx, torch
from trainer.unet import UNet
torch.manual_seed(0)
pnnx.export(UNet(width={width}).eval(), "{path}", torch.rand(1, 1, 252, 252), fp16=False)
"""


def onnxruntime(width: int, folder: Path) -> Pass:
    path = folder / f"unet{width}.onnx"
    if not path.exists():
        run([sys.executable, "-c", EXPORT.format(width=width, path=path)])
    from unet_deploy.runtimes.onnxruntime import OnnxRuntime

    runtime = contextlib.ExitStack().enter_context(OnnxRuntime(path, probabilities=True))
    from unet_deploy.images.grey import GreyScale

    as_is = GreyScale(np.zeros(1, np.float32), np.ones(1, np.float32))

    def infer(image: np.ndarray) -> np.ndarray:
        probabilities = runtime.submit([image], [as_is]).probabilities
        assert probabilities is not None
        return probabilities[0]

    return infer


EXPORT = """
import torch
from pathlib import Path
from trainer.export import build
from trainer.unet import UNet
from unet_deploy.model.card import ModelCard
from unet_deploy.model.onnx_file import save
torch.manual_seed(0)
net = UNet(width={width}).eval()
card = ModelCard("random", 1, ("background", "foreground"), net.margin, net.stride, net.base)
save(build(net, card), card, Path("{path}"))
"""


if __name__ == "__main__":
    main()
