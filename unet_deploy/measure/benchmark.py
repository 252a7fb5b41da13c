"""How fast is this model here, where does the time go, and how near is that to what the machine can do?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unet_deploy.errors import DeviceError, UnetDeployError, UsageError, VerificationError
from unet_deploy.images import open_image
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page
from unet_deploy.masks import MaskForm, open_mask
from unet_deploy.masks.array import ArraySink
from unet_deploy.measure.roofline import peak_flops
from unet_deploy.measure.sample import write_sample
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.streamed import StreamedRuntime
from unet_deploy.runtimes.table import LAPTOP, TABLE, Row
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, read_record
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import without_proof
from unet_deploy.system.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, hex_colour
from unet_deploy.system.files import replacing
from unet_deploy.system.gpu import find_gpus
from unet_deploy.system.machine import peak_memory, processor_name, usable_cores
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region, TilePlan
from unet_deploy.zoo import Request, card_of, find_model, find_reference, open_model

STAGES = ("decode", "prepare", "copy in", "compute", "copy out", "stitch", "encode")
WARM_UP = 2


@dataclass(frozen=True)
class Figures:
    """What was measured of one runtime, in seconds, bytes and operations a second."""

    runtime: str
    machine: str
    size: int
    tiles: int
    runs: int
    load: float
    """From nothing to a runtime that is ready."""
    cold: float
    """The first image, from decoded pixels to labels."""
    p50: float
    """The images after it."""
    p95: float
    p99: float
    stages: dict[str, float]
    """Medians of each stage alone, one after another; copies are 0 where nothing is copied to a device."""
    megapixels_per_s: float
    peak_bytes: int
    flops: int | None
    """Operations of all tiles, halo included; None where the model's graph is not at hand."""
    peak_flops: float | None
    """The most operations a second that this processor was seen to do in this run, at this precision."""

    @property
    def share(self) -> float | None:
        """Of the processor's peak, from pixels to labels."""
        return self.flops / self.p50 / self.peak_flops if self.flops and self.peak_flops else None


def benchmark(
    model: str | None, request: Request, *, size: int = 512, runs: int = 20, progress: Progress | None = None
) -> Figures:
    """Measure one runtime in this process, on a slide of `size` pixels a side that is made for it.

    progress: told how compiling goes. Raises as `open_model`.
    """
    start = time.perf_counter()
    opened = open_model(model, replace(request, pixels="uint8"), progress=progress)
    load = time.perf_counter() - start
    # An answer's speed is asked for here, not the answer: it need not be proved.
    with without_proof(opened) as runtime, tempfile.TemporaryDirectory() as place:
        slide, image = _slide(Path(place), size, runtime.card.channels)
        return _measure(find_model(model), runtime, slide, image, runs, load)


def _slide(folder: Path, size: int, channels: int) -> tuple[Path, np.ndarray]:
    """A tiled TIFF of generated nuclei, the same in every channel, and its pixels (C, H, W) uint8."""
    slide = folder / "slide.tif"
    write_sample(slide, size, size, truth=folder / "truth.tif", seed=0)
    image = np.repeat(tifffile.imread(slide)[None], channels, axis=0)
    if channels > 1:
        tifffile.imwrite(slide, image, photometric="minisblack", planarconfig="separate", tile=(256, 256))
    return slide, image


def _measure(model: Path, runtime: Runtime, slide: Path, image: np.ndarray, runs: int, load: float) -> Figures:
    times = []
    for _ in range(runs + WARM_UP):
        start = time.perf_counter()
        segment_array(image, runtime, None)
        times.append(time.perf_counter() - start)
    peak_bytes = peak_memory()
    warm = times[min(WARM_UP, len(times) - 1) :]
    p50, p95, p99 = (float(value) for value in np.percentile(warm, (50, 95, 99)))
    stages = [_stages(runtime, slide, run) for run in range(min(runs, 3))]
    plan = plan_for(runtime, ArraySource(image).info.region)
    flops, peak = _flops(model, plan), peak_flops(runtime.name)
    if flops and peak:
        peak = max(peak, flops / min(warm))  # what the model did was seen too
    return Figures(
        runtime=runtime.name,
        machine=f"{processor_name()}, {usable_cores()} cores",
        size=image.shape[-1],
        tiles=len(plan),
        runs=runs,
        load=load,
        cold=times[0],
        p50=p50,
        p95=p95,
        p99=p99,
        stages={stage: float(np.median([each[stage] for each in stages])) for stage in STAGES},
        megapixels_per_s=image[0].size / p50 / 1e6,
        peak_bytes=peak_bytes,
        flops=flops,
        peak_flops=peak,
    )


def _stages(runtime: Runtime, slide: Path, run: int) -> dict[str, float]:
    """Seconds of each stage for the whole image, one stage and one tile after another."""
    spent = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent[stage] += time.perf_counter() - start

    with timed("decode"), open_image(slide) as file:
        info = file.info
        pixels = file.crop(0, Region(0, 0, info.height, info.width))
    source, plan, copies = ArraySource(pixels), plan_for(runtime, info.region), _Copies(runtime)
    with timed("prepare"):
        grey = measure_page(source, 0, runtime.card.normalization)
    labels = ArraySink((1, 1, info.height, info.width), np.dtype(np.uint8))
    for tile in plan:
        with timed("prepare"):
            seen = source.read(0, tile.read)
        with timed("compute"):
            answer = runtime.result(runtime.submit([seen], [grey]))
        with timed("stitch"):
            labels.write(0, tile.write, answer.labels[:1, : tile.write.height, : tile.write.width])
    spent["copy in"], spent["copy out"] = copies.seconds()
    spent["compute"] -= spent["copy in"] + spent["copy out"]
    mask = slide.with_name(f"mask{run}.tif")
    with timed("encode"), open_mask(mask, MaskForm(info)) as sink:
        sink.write(0, Region(0, 0, info.height, info.width), labels.array[0])
        sink.commit()
    return spent


class _Copies:
    """Watches a device's events; a runtime of this processor has none."""

    def __init__(self, runtime: Runtime) -> None:
        self._spent = [0.0, 0.0]
        if isinstance(runtime, StreamedRuntime):
            runtime.watch = self._add

    def _add(self, marks: Any) -> None:
        self._spent[0] += marks.uploaded.seconds_since(marks.begun)
        self._spent[1] += marks.downloaded.seconds_since(marks.computed)

    def seconds(self) -> tuple[float, float]:
        return self._spent[0], self._spent[1]


def _flops(model: Path, plan: TilePlan) -> int | None:
    try:
        from unet_deploy.model.flops import count_flops
        from unet_deploy.model.onnx_file import read_model

        if model.suffix in ENGINE_SUFFIXES:
            model = find_reference(model, read_record(model))
        proto = read_model(model).proto
    except UnetDeployError:  # no onnx package, or an engine that came without its model
        return None
    sides = [(tile.read.height, tile.read.width) for tile in plan]
    counted = {side: count_flops(proto, (1, *side)) for side in set(sides)}
    return sum(counted[side] for side in sides)


# -- side by side --------------------------------------------------------------------------------------------


def runnable(model: str | None) -> list[Request]:
    """Every runtime and precision that this machine may have for a model, the exact ones first."""
    path = find_model(model)
    if path.suffix in ENGINE_SUFFIXES:
        return [Request()]
    layers = card_of(path).precision
    return [
        Request(device, row.name, precision)
        for device in ("cpu", *LAPTOP, *_gpus())
        for row in sorted(TABLE, key=lambda row: row.name)
        if device.partition(":")[0] == row.device and (row.device not in LAPTOP or _is_here(row))
        for precision in row.of(layers)
    ]


def _gpus() -> list[str]:
    """The devices cuda:N that are here."""
    with suppress(DeviceError):
        return [f"cuda:{gpu.index}" for gpu in find_gpus()]
    return []


def _is_here(row: Row) -> bool:
    """Whether a laptop's device is here, as its runtime sees it."""
    with suppress(DeviceError):
        return row.installed and bool(row.devices())
    return False


def side_by_side(model: str | None, requests: Iterable[Request], *, size: int, runs: int) -> list[Figures | str]:
    """Each in a process of its own, so that memory and cold starts are its own; a line where it does not run.

    Raises UsageError where none runs.
    """
    found = [_in_a_process(model, request, size, runs) for request in requests]
    if not any(isinstance(each, Figures) for each in found):
        raise UsageError(f"benchmark: nothing runs here: {'; '.join(map(str, found))}")
    return found


def _in_a_process(model: str | None, request: Request, size: int, runs: int) -> Figures | str:
    command = [sys.executable, "-m", "unet_deploy.cli", "benchmark", str(find_model(model)), "--json"]
    command += ["--size", str(size), "--runs", str(runs), "--device", request.device, "--runtime", request.runtime]
    command += ["--precision", request.precision] if request.precision else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return f"{request.runtime} {request.precision or ''}: {said[-1] if said else done.returncode}"
    return Figures(**json.loads(done.stdout))


def check_budget(found: Sequence[Figures], max_latency: float | None) -> None:
    """Raise VerificationError where the fastest of the runtimes takes longer, in seconds, than it may."""
    fastest = min(found, key=lambda each: each.p50)
    if max_latency is not None and fastest.p50 > max_latency:
        raise VerificationError(
            f"{fastest.runtime}: {fastest.p50:.3g} s for {fastest.size} x {fastest.size} pixels, "
            f"over the budget of {max_latency:g} s"
        )


def draw(found: Sequence[Figures], path: Path, *, overwrite: bool = False) -> None:
    """Draw a bar for each runtime, its stages stacked, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.5 * len(found)), layout="constrained")
    names = [each.runtime for each in found]
    left = np.zeros(len(found))
    stages = (ORANGE, SKY_BLUE, BLUE, SKY_BLUE, GREEN, PURPLE)
    colours = ("#999999", *map(hex_colour, stages))
    for stage, colour in zip(STAGES, colours, strict=True):
        widths = np.array([each.stages[stage] * 1e3 for each in found])
        axes.barh(names, widths, left=left, label=stage, color=colour, hatch="//" if stage == "copy out" else None)
        left += widths
    for at, total in enumerate(left):
        axes.text(total, at, f" {total:.1f} ms", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * left.max())
    axes.set_xlabel(f"milliseconds for {found[0].size} x {found[0].size} pixels, file to file, stage after stage")
    figure.legend(ncols=len(STAGES), fontsize="small", loc="outside upper center")
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path, overwrite=overwrite) as beside:
        figure.savefig(beside, format="png", dpi=120)
    plt.close(figure)
