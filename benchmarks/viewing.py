"""How long a tile of `unet-deploy view` takes, asked for the first time and again, sixteen at once.

python benchmarks/viewing.py [--side 8192] [--rows 1000000]

The slide is the sample without a pyramid, with its truth over it; also how long its overview takes, once and from the
cache, and how long a table of so many objects takes to read, to sort and to search.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import numpy as np
import psutil
import record

from unet_deploy.measure.sample import write_sample
from unet_deploy.system.machine import processor_name
from unet_deploy.viewing.table import Order, read_table
from unet_deploy.viewing.zoom import TILE, Zooms

AT_ONCE, TILES = 16, 2000
GREY = "0,0.0,255.0,1.0,ffffff"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNET_DEPLOY_CACHE"] = f"{folder}/cache"
        image, truth = Path(folder, "slide.tif"), Path(folder, "slide.truth.tif")
        write_sample(image, asked.side, asked.side, truth=truth)
        figures = {"side": asked.side, **tiles(image, truth, asked.side), **objects(Path(folder, "a.csv"), asked.rows)}
    print(f"{processor_name()}, {asked.side} x {asked.side} without a pyramid")
    for name, value in figures.items():
        print(f"{name:36} {value:.4g}")
    record.save("viewing", figures)


def tiles(image: Path, truth: Path, side: int) -> dict[str, float]:
    """Milliseconds a tile, seconds of overviews, and memory of the server before and after all of it."""
    figures: dict[str, float] = {}
    for again in ("", ", from the cache"):
        with Server(image, truth) as server:
            figures |= {f"overview, s{again}": server.overview()}
            if again:
                break
            zooms = Zooms(side, side)
            dice = random.Random(0)
            rows, columns = zooms.tiles(zooms.last)
            places = [(dice.randrange(2), dice.randrange(columns), dice.randrange(rows)) for _ in range(TILES)]
            places = list(dict.fromkeys(places))
            paths = [
                f"tile/{file}/0/{zooms.last}/{column}/{row}/{'fill' if file else GREY}" for file, column, row in places
            ]
            first = server.ask_all(paths)
            figures["memory after the first, MB"] = server.megabytes()
            kept = server.ask_all(paths[-300:])
            kept = server.ask_all(paths[-300:])
            figures |= {f"tile of {TILE}, p{at}, ms": float(np.percentile(first, at)) for at in (50, 95)}
            figures |= {f"tile of {TILE} again, p{at}, ms": float(np.percentile(kept, at)) for at in (50, 95)}
            server.ask_all(paths)
            figures["memory after all, MB"] = server.megabytes()
    return figures


def objects(path: Path, rows: int) -> dict[str, float]:
    """Seconds of a table of so many objects."""
    dice = np.random.default_rng(0)
    places = dice.integers(0, 100_000, (rows, 2))
    names = "id,class_name,area_px,centroid_y,centroid_x,bbox_y,bbox_x,bbox_height,bbox_width,eccentricity"
    with path.open("w", encoding="utf-8") as file:
        file.write(names + "\n")
        for number, ((y, x), share) in enumerate(
            zip(places.tolist(), dice.random(rows).tolist(), strict=True), start=1
        ):
            file.write(f"{number},nucleus,{int(share * 900)},{y + 4.5},{x + 4.5},{y},{x},10,10,{share!r}\n")
    began = time.perf_counter()
    table = read_table(path)
    read = time.perf_counter()
    table.rows(Order(9, is_falling=True), 0)
    ordered = time.perf_counter()
    table.at(0, *places[rows // 2].tolist())
    found = time.perf_counter()
    return {
        "rows": rows,
        "table read, s": read - began,
        "sorted, s": ordered - read,
        "an object found by its place, s": found - ordered,
    }


class Server:
    """A server of its own process."""

    def __init__(self, *files: Path) -> None:
        command = record.unet_deploy("view", *map(str, files), "--no-browser")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self._address: SplitResult = urlsplit(self._process.stdout.readline().strip())

    def ask(self, path: str) -> float:
        """Milliseconds that an answer takes. Raises RuntimeError for any but a good one."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=120)
        connection.request("GET", f"{self._address.path}{path}")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return 1e3 * (time.perf_counter() - began)

    def ask_all(self, paths: list[str]) -> list[float]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.ask, paths))

    def overview(self) -> float:
        """Seconds until the whole slide is shown."""
        began = time.perf_counter()
        self.ask(f"tile/0/0/0/0/0/{GREY}")
        while json.loads(self._progress())[0]["share"] < 1:
            time.sleep(0.02)
        return time.perf_counter() - began

    def megabytes(self) -> float:
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def _progress(self) -> str:
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=120)
        connection.request("GET", f"{self._address.path}progress")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()


if __name__ == "__main__":
    main()
