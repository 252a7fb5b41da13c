"""What a run pays for its files: a mask that can be resumed, a table of objects, OME-Zarr instead of TIFF.

`python benchmarks/outputs.py [--rounds 5]`, with the shipped model at 4096 x 4096, in pairs of runs in one process with
the model loaded, file to file. The peers:
- a run that cannot be resumed: labels held in memory and written in one go at the end, with the same blocks and levels;
- the same run with neither checksums nor syncs in its spool, which for both of these syncs every second, not every 20;
- the mask alone, without the table;
- a BigTIFF mask in place of the OME-Zarr one, in whole runs, and by writing the same labels through both sinks.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile
from record import Spread, save

from unet_deploy.images import open_image
from unet_deploy.masks import Keep, MaskForm, open_mask
from unet_deploy.masks.array import ArraySink
from unet_deploy.masks.blocks import SMALLEST_LEVEL
from unet_deploy.masks.tiff import BLOCK, LEVEL
from unet_deploy.measure.sample import write_sample
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.report import Report
from unet_deploy.segmentation.run import Outputs, segment_file
from unet_deploy.segmentation.writer import write_labels
from unet_deploy.stream.pipeline import stream
from unet_deploy.system.files import replacing
from unet_deploy.zoo import open_model

SIDE = 4096
GOALS = {"resume": 1.02, "objects": 1.15, "zarr": 1.10}
"""How many times as long a run may take with each."""

Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        runs = Runs(Path(place))

        def row(name: str, goal: str, ours: Work, theirs: Work, times: int = 1) -> None:
            rows[name] = {**paired(ours, theirs, runs.clear, rounds * times), "goal": GOALS[goal]}
            print(name, rows[name], flush=True)

        for precision in ("fp32", "bf16"):
            with open_model(precision=precision, device="cpu", pixels="uint8") as model:
                runs.begin(model)
                row(f"a table of objects, {precision}", "objects", runs.objects, runs.mask)
                if precision == "bf16":  # the faster a run, the more its files weigh
                    row("able to resume: against labels in memory", "resume", runs.often_synced, runs.in_memory)
                    row("able to resume: against no checksums and syncs", "resume", runs.often_synced, runs.unsafe)
                    row("OME-Zarr against BigTIFF: whole run", "zarr", runs.zarr, runs.mask)
                    row("OME-Zarr against BigTIFF: the sinks alone", "zarr", runs.zarr_alone, runs.tiff_alone, 4)
    save("outputs", {"side": SIDE, "rounds": rounds, "rows": rows})


def paired(ours: Work, theirs: Work, clear: Work, rounds: int) -> dict[str, Any]:
    """Seconds of both and how many times as long ours takes; who comes first changes with every round."""
    seconds: dict[Work, list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for work in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            work()
            seconds[work].append(time.perf_counter() - start)
            clear()
    times = [one / other for one, other in zip(seconds[ours], seconds[theirs], strict=True)]
    found = {"seconds": seconds[ours], "peer_seconds": seconds[theirs], "times": times}
    return {name: asdict(Spread.of(values)) for name, values in found.items()}


def unchecked(data: bytes) -> int:
    """Instead of a checksum."""
    return 0


class Runs:
    """What is compared: all of one slide, with one model at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._slide = folder / "out", folder / "slide.tif"
        self._folder.mkdir()
        write_sample(self._slide, SIDE, SIDE, truth=folder / "truth.tif")

    def begin(self, runtime: Runtime) -> None:
        """Take a model, and warm up."""
        self._runtime = runtime
        report = self._segment("mask.tif")
        self._plan, self._image = report.plan, report.image
        self._labels = tifffile.imread(self._folder / "mask.tif")
        self.clear()

    def clear(self) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def mask(self) -> Report:
        return self._segment("mask.tif")

    def objects(self) -> Report:
        return self._segment("mask.tif", self._folder / "objects.csv")

    def zarr(self) -> Report:
        return self._segment("mask.zarr")

    def often_synced(self) -> Report:
        with mock.patch("unet_deploy.masks.spool._SYNC_SECONDS", 1.0):
            return self._segment("mask.tif")

    def unsafe(self) -> Report:
        never = mock.patch("unet_deploy.masks.spool._SYNC_SECONDS", 1e9)
        with never, mock.patch("unet_deploy.masks.spool.zlib.crc32", unchecked):
            return self._segment("mask.tif")

    def in_memory(self) -> None:
        """A run without a spool: the file is made of an array."""
        sink = ArraySink((1, 1, SIDE, SIDE), np.dtype(np.uint8))
        with open_image(self._slide) as source:
            stream(source, self._plan, self._runtime, [write_labels(sink)])
        levels = [sink.array[0, 0]]
        while max(levels[-1].shape) > SMALLEST_LEVEL:
            levels.append(np.ascontiguousarray(levels[-1][::2, ::2]))
        options: dict[str, Any] = {"tile": (BLOCK, BLOCK), "compression": "zlib", "compressionargs": {"level": LEVEL}}
        with replacing(self._folder / "mask.tif") as beside, tifffile.TiffWriter(beside, bigtiff=True) as tiff:
            tiff.write(levels[0], subifds=len(levels) - 1, **options)
            for level in levels[1:]:
                tiff.write(level, subfiletype=1, **options)

    def tiff_alone(self) -> None:
        self._write("mask.tif")

    def zarr_alone(self) -> None:
        self._write("mask.zarr")

    def _segment(self, name: str, objects: Path | None = None) -> Report:
        return segment_file(self._slide, Outputs(self._folder / name, objects=objects), self._runtime)

    def _write(self, name: str) -> None:
        form = MaskForm(self._image, classes=self._runtime.card.classes)
        with open_mask(self._folder / name, form, Keep(key={})) as sink:
            for tile in self._plan:
                sink.write(0, tile.write, self._labels[tile.write.slices][None])
            sink.commit()


if __name__ == "__main__":
    main()
