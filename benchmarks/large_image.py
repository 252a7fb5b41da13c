"""A large image from file to written mask, against what a user would write or install instead.

`python benchmarks/large_image.py CALIBRATION [--side 4096] [--rounds 3]`: needs MONAI, PyTorch and OpenVINO.
CALIBRATION: real images for the 8-bit model. Every round runs each once, in a process of its own, and the table gives
the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from record import Spread, run, save, unet_deploy

PEERS = {
    "MONAI, 512, 25 % overlap": "monai",
    "50 % overlap, Gaussian": "gaussian",
    "ONNX Runtime loop, 572": "loop",
    "ONNX Runtime loop, 572, steps of 388": "loop_388",
    "PyTorch, whole image": "whole",
}
OURS: dict[str, list[str]] = {
    "unet-deploy, ONNX Runtime fp32": ["--runtime", "onnxruntime"],
    "unet-deploy, OpenVINO fp32": ["--runtime", "openvino", "--precision", "fp32"],
    "unet-deploy, OpenVINO bf16": ["--precision", "bf16"],
    "unet-deploy, ONNX Runtime int8": ["--runtime", "onnxruntime", "-m", "INT8"],
    "unet-deploy, OpenVINO int8": ["--runtime", "openvino", "-m", "INT8"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--leave-out", nargs="*", default=[], choices=sorted(PEERS.values()))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        slide, int8 = folder / "slide.tif", folder / "int8.onnx"
        run(unet_deploy("sample", str(slide), "--size", f"{asked.side}x{asked.side}"))
        # In a process of its own: what this one ever held would count as the memory of those that it starts.
        run(unet_deploy("quantize", "nuclei", "--calibration", str(asked.calibration), "-o", str(int8)))
        commands = {
            name: unet_deploy("segment", str(slide), "-o", "MASK", "--overwrite", "--no-progress", *options)
            for name, options in OURS.items()
        }
        peers = str(Path(__file__).with_name("peers.py"))
        commands |= {
            name: [sys.executable, peers, peer, str(slide), "MASK"]
            for name, peer in PEERS.items()
            if peer not in asked.leave_out
        }
        figures = measure(commands, folder, int8, asked.rounds)
    figures["side"] = asked.side
    save(f"large-image-{asked.side}", figures)


def measure(commands: dict[str, list[str]], folder: Path, int8: Path, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, int] = {}
    masks = {name: folder / f"mask{at}.tif" for at, name in enumerate(commands)}
    for _ in range(rounds):
        for name, command in commands.items():
            words = [{"MASK": str(masks[name]), "INT8": str(int8)}.get(word, word) for word in command]
            done = run(words)
            seconds[name].append(done.seconds)
            peaks[name] = max(peaks.get(name, 0), done.peak_bytes)
            print(f"{name}: {done.seconds:.2f} s, {done.peak_bytes / 1e6:.0f} MB", flush=True)
    exact = tifffile.imread(masks["unet-deploy, ONNX Runtime fp32"])
    rows: dict[str, Any] = {}
    for name in commands:
        differ = float((tifffile.imread(masks[name]) != exact).mean())
        rows[name] = {
            "seconds": vars(Spread.of(seconds[name])),
            "mpx_per_s": exact.size / 1e6 / statistics.median(seconds[name]),
            "peak_mb": peaks[name] / 1e6,
            "labels_unlike_exact": differ,
        }
        for ours in ("OpenVINO fp32", "OpenVINO bf16", "OpenVINO int8", "ONNX Runtime fp32"):
            mine = seconds[f"unet-deploy, {ours}"]
            rows[name][f"times_{ours}"] = statistics.median(
                theirs / me for theirs, me in zip(seconds[name], mine, strict=True)
            )
        print(f"{name:<40} {Spread.of(seconds[name])} s, {differ:.2e} of labels unlike exact", flush=True)
    return {"rows": rows, "rounds": rounds, "pixels": int(np.prod(exact.shape))}


if __name__ == "__main__":
    main()
