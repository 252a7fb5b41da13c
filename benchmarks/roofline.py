"""Share of the processor's peak that the original network reaches end to end on a large image, for each runtime.

`python benchmarks/roofline.py CALIBRATION [--side 2048] [--rounds 2]`. The peak is the best of several kernels in the
same process. Redundant work is that of all tiles over the limit with no halo at all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from record import save, unet_deploy
from widen import widened

from unet_deploy.convert.quantize import quantize
from unet_deploy.model.flops import count_flops
from unet_deploy.model.onnx_file import read_model
from unet_deploy.zoo import find_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", type=int, default=2048)
    asked = parser.parse_args()
    images = sorted(path for path in asked.calibration.iterdir() if path.is_file())[:4]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        full, int8 = widened(find_model(), 4, folder), folder / "int8.onnx"
        quantize(full, images, int8, limit_ppm=1e6)
        no_halo = flops_without_halo(full, asked.side)
        runs = {
            "ONNX Runtime fp32": (full, "onnxruntime", "fp32"),
            "OpenVINO fp32": (full, "openvino", "fp32"),
            "OpenVINO bf16": (full, "openvino", "bf16"),
            "OpenVINO int8": (int8, "openvino", "int8"),
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
        for _ in range(asked.rounds):
            for name, (model, runtime, precision) in runs.items():
                options = (
                    "--size",
                    str(asked.side),
                    "--runs",
                    "1",
                    "--runtime",
                    runtime,
                    "--precision",
                    precision,
                    "--json",
                )
                text = subprocess.check_output(unet_deploy("benchmark", str(model), "--device", "cpu", *options))
                found[name].append(json.loads(text))
    rows: dict[str, Any] = {}
    for name, each in found.items():
        rows[name] = {
            "seconds": statistics.median(one["p50"] for one in each),
            "of_peak": statistics.median(one["flops"] / one["p50"] / one["peak_flops"] for one in each),
            "peak_gflops": statistics.median(one["peak_flops"] for one in each) / 1e9,
            "redundant": each[0]["flops"] / no_halo,
            "peak_mb": max(one["peak_bytes"] for one in each) / 1e6,
        }
        print(name, rows[name], flush=True)
    save(f"roofline-{asked.side}", rows)


def flops_without_halo(model: Path, side: int) -> float:
    """Work of the whole image if no pixel of any level were computed that it could do without."""
    proto = read_model(model).proto
    small, large = (count_flops(proto, (1, legal, legal)) for legal in (4092, 8188))
    return (large**0.5 - small**0.5) ** 2 / 4096**2 * side**2


if __name__ == "__main__":
    main()
