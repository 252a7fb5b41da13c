"""512 x 512, from pixels to labels: all runtimes and precisions against PyTorch and a naive use of ONNX Runtime.

`python benchmarks/latency_512.py CALIBRATION [--rounds 3]`, for the shipped model and for the original width (31
million parameters, random weights). Each in a process of its own, in turn; medians of the rounds' medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import save, unet_deploy
from widen import widened

from unet_deploy.convert.quantize import quantize
from unet_deploy.zoo import find_model

OURS: dict[str, list[str]] = {
    "ONNX Runtime fp32": ["--runtime", "onnxruntime"],
    "OpenVINO fp32": ["--runtime", "openvino"],
    "OpenVINO bf16": ["--runtime", "openvino", "--precision", "bf16"],
    "ONNX Runtime int8": ["INT8", "--runtime", "onnxruntime"],
    "OpenVINO int8": ["INT8", "--runtime", "openvino"],
}
PEERS = ("PyTorch eager fp32", "PyTorch eager bf16", "PyTorch compiled fp32", "ONNX Runtime, naive")
_PEER = """
import sys, time, statistics, numpy as np
name, path, runs, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
image = np.random.default_rng(0).random((1, 1, 700, 700), np.float32)
if name.startswith("ONNX"):
    import onnxruntime as ort
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    grey = {"offset": np.zeros((1, 1), np.float32), "scale": np.ones((1, 1), np.float32)}
    work = lambda: session.run(["labels", "probabilities"], {"image": image, **grey})
else:
    import torch
    from trainer.unet import UNet
    torch.manual_seed(0)
    net = UNet(1, 2, width=width, depth=4).eval().to(memory_format=torch.channels_last)
    if "compiled" in name:
        net = torch.compile(net)
    x = torch.from_numpy(image).contiguous(memory_format=torch.channels_last)
    def work():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled="bf16" in name):
            return net(x).argmax(1)
work(); work()
times = []
for _ in range(runs):
    start = time.perf_counter(); work(); times.append(time.perf_counter() - start)
print(statistics.median(times))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    images = sorted(path for path in asked.calibration.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        models = {"shipped": (find_model(), 16, 10), "original width": (widened(find_model(), 4, folder), 64, 4)}
        figures: dict[str, Any] = {}
        for kind, (model, width, runs) in models.items():
            int8 = folder / f"{width}.int8.onnx"
            # Random weights have no margin to lose: there the time is what counts, and all layers stay in 8 bits.
            quantize(model, images, int8, limit_ppm=5_000 if width == 16 else 1e6)
            figures[kind] = of_model(model, int8, width, runs, asked.rounds)
    save("latency-512", figures)


def of_model(model: Path, int8: Path, width: int, runs: int, rounds: int) -> dict[str, Any]:
    p50: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, options in OURS.items():
            words = [str(int8) if options[0] == "INT8" else str(model), *options[options[0] == "INT8" :]]
            text = subprocess.check_output(
                unet_deploy("benchmark", *words, "--runs", str(runs), "--device", "cpu", "--json"), text=True
            )
            found = json.loads(text)
            p50.setdefault(name, []).append(found["p50"])
            shares.setdefault(name, []).append(found["flops"] / found["p50"] / found["peak_flops"])
        for name in PEERS:
            command = [sys.executable, "-c", _PEER, name, str(model), str(runs), str(width)]
            p50.setdefault(name, []).append(float(subprocess.check_output(command, text=True)))
    rows: dict[str, Any] = {}
    for name, values in p50.items():
        share = statistics.median(shares[name]) if name in shares else None
        rows[name] = {"seconds": statistics.median(values), "least": min(values), "most": max(values), "of_peak": share}
        shown = f"{share:.0%} of peak" if share else ""
        print(f"{name:<24} {statistics.median(values) * 1e3:8.1f} ms  {shown}", flush=True)
    return rows


if __name__ == "__main__":
    main()
