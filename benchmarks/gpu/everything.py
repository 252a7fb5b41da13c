"""Everything that needs an NVIDIA GPU, in one run: `python benchmarks/gpu/everything.py [--device cuda:0]`.

For each runtime that this machine has, on the shipped model and on a network of the original width:
correctness against the CPU, overlap of copies and computing by CUDA events, pinned against pageable memory, latency
of a 512 x 512 image, throughput on an 8192 x 8192 slide from file to file, and the device memory that it takes.
Writes dated JSON with the GPU's name; a part that cannot be run says why in its place.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from record import Spread, save
from widen import widened

from unet_deploy.errors import UnetDeployError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page
from unet_deploy.measure.sample import write_sample
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.ring import Marks
from unet_deploy.segmentation.run import Outputs, segment_file
from unet_deploy.stream.pipeline import stream
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import compare_on_tiles, without_proof
from unet_deploy.system.gpu import find_gpu
from unet_deploy.tiling import legal_side
from unet_deploy.zoo import Request, find_model, open_model

SIDE = 8192
LATENCY_RUNS = 200


def correctness(runtime: Runtime, model: Path, image: np.ndarray) -> dict[str, Any]:
    """Every label of an image against float32 on the CPU."""
    source = ArraySource(image)
    with OnnxRuntime(model, probabilities=True) as reference:
        seen = compare_on_tiles(runtime, reference, source, plan_for(runtime, source.info.region))
    return {"labels_differ_ppm": seen.labels_differ_ppm, "pixels": seen.pixels, "holds": seen.holds}


def latency(runtime: Runtime, image: np.ndarray, runs: int = LATENCY_RUNS) -> dict[str, Any]:
    """Milliseconds from an image in memory to its labels in memory, one at a time."""
    source = ArraySource(image)
    grey = measure_page(source, 0, runtime.card.normalization)
    side = legal_side(image.shape[0] + 2 * runtime.card.margin, runtime.card)
    plan = plan_for(runtime, source.info.region, side)
    pixels = source.read(0, plan[0].read)
    times = []
    for _ in range(runs + 10):
        start = time.perf_counter()
        runtime.result(runtime.submit([pixels], [grey]))
        times.append((time.perf_counter() - start) * 1e3)
    warm = times[10:]
    p50, p95, p99 = np.percentile(warm, (50, 95, 99))
    return {"cold_ms": times[0], "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "runs": runs}


def overlap(runtime: Runtime, marks: list[Any], image: np.ndarray) -> dict[str, Any]:
    """How much of the copies is hidden behind computing, by events on the device."""
    source = ArraySource(image)
    marks.clear()
    grey = measure_page(source, 0, runtime.card.normalization)
    timing = stream(source, plan_for(runtime, source.info.region), runtime, [lambda done: None], greys={0: grey})
    return {"wall_s": timing.wall, **shares(marks)}


def shares(marks: Sequence[Marks]) -> dict[str, Any]:
    """Seconds of copying and computing, and the share of the run that computed.

    Of a submission the copy in lasts from `begun` to `uploaded`, computing from `launched` to `computed`, but not
    before the one before it has computed, and the copy out from `computed` to `downloaded`.
    """
    first = marks[0].begun

    def at(event: Any) -> float:
        return event.seconds_since(first)

    copied_in = sum(at(each.uploaded) - at(each.begun) for each in marks)
    copied_out = sum(at(each.downloaded) - at(each.computed) for each in marks)
    computed, free_at = 0.0, 0.0
    for each in marks:
        begin = max(at(each.launched), free_at)
        free_at = at(each.computed)
        computed += free_at - begin
    whole = at(marks[-1].downloaded)
    hidden = copied_in + computed + copied_out - whole
    return {
        "copied_in_s": copied_in,
        "computed_s": computed,
        "copied_out_s": copied_out,
        "device_s": whole,
        "computing_share": computed / whole,
        "copies_hidden_share": max(0.0, hidden / (copied_in + copied_out)),
    }


def throughput(runtime: Runtime, slide: Path) -> dict[str, Any]:
    """MPx/s from a file to a written mask."""
    seconds = []
    for run in range(3):
        mask = slide.with_name(f"mask{run}.tif")
        start = time.perf_counter()
        report = segment_file(slide, Outputs(mask), runtime)
        seconds.append(time.perf_counter() - start)
        mask.unlink()
    return {"seconds": Spread.of(seconds), "mpx_per_s": report.megapixels / Spread.of(seconds).median}


def pinned_against_pageable(index: int) -> dict[str, Any]:
    """GB/s to the device from memory that it reads by itself, and from memory that the driver copies first."""
    from unet_deploy.runtimes.cuda.device import CudaDevice

    device, size = CudaDevice(index), 64 << 20
    with device.active():
        block, queue = device.memory(size), device.stream()
        rates: dict[str, list[float]] = {"pinned": [], "pageable": []}
        for kind, source in (("pinned", device.pinned(size)), ("pageable", np.zeros(size, np.uint8))):
            for _ in range(12):
                start = queue.record()
                queue.upload(source, block)
                end = queue.record()
                end.wait()
                rates[kind].append(size / end.seconds_since(start) / 1e9)
        block.free()
        del source, queue, start, end
    device.close()
    return {f"{kind}_gb_per_s": Spread.of(values[2:]) for kind, values in rates.items()}


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except Exception as error:
        return {"not_run": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def all_of(model: Path, request: Request, slide: Path, image: np.ndarray) -> dict[str, Any]:
    """Every part for one model on one runtime."""
    from unet_deploy.runtimes.streamed import StreamedRuntime

    marks: list[Marks] = []
    opened = open_model(model, replace(request, pixels="uint8"), notify=print)
    with without_proof(opened) as runtime:  # measured here, pass or fail
        assert isinstance(runtime, StreamedRuntime)
        runtime.watch = marks.append
        figures = {
            "runtime": runtime.name,
            "latency_512": attempt(lambda: latency(runtime, image[:512, :512])),
            "correctness": attempt(lambda: correctness(runtime, model, image[:2048, :2048])),
            "overlap": attempt(lambda: overlap(runtime, marks, image)),
            "throughput": attempt(lambda: throughput(runtime, slide)),
            "memory": attempt(lambda: {"free_bytes": runtime.free_memory()}),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    device = parser.parse_args().device
    index = Request(device).gpu_index
    try:
        gpu = find_gpu(index)
    except UnetDeployError as error:
        sys.exit(f"error: {error}")
    figures: dict[str, Any] = {"gpu": gpu.name, "compute_capability": gpu.capability, "driver_cuda": gpu.driver}
    figures["pinned"] = attempt(lambda: pinned_against_pageable(index))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        slide = folder / "slide.tif"
        write_sample(slide, SIDE, SIDE, truth=folder / "truth.tif", seed=0)
        import tifffile

        image = tifffile.imread(slide)
        models = {"shipped": find_model(), "original width": widened(find_model(), 4, folder)}
        for runtime in ("onnxruntime", "tensorrt", "tensorrt_rtx"):
            for precision in ("fp32", "fp16"):
                for name, model in models.items():
                    request = Request(device, runtime, precision)
                    key = f"{runtime} {precision}, {name} model"
                    figures[key] = attempt(lambda model=model, request=request: all_of(model, request, slide, image))
                    print(f"{key}: {figures[key]}", flush=True)
    save(f"gpu-{'-'.join(gpu.name.lower().split())}", plain(figures))


def plain(value: Any) -> Any:
    """Spreads inside nested figures as plain values."""
    from dataclasses import asdict

    if isinstance(value, Spread):
        return asdict(value)
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


if __name__ == "__main__":
    main()
