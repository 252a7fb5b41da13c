"""A wild zoom, three thousand tiles, sixteen at once, with browsers that hang up: no error, and memory stays flat."""

import http.client
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import tifffile

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.long

SIDE, TILES = 4096, 16
LOOK = "0,0.0,255.0,1.0,ffffff"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of an image and its mask: the address and the process."""
    folder = tmp_path_factory.mktemp("load")
    grey = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
    tifffile.imwrite(folder / "image.tif", grey, tile=(256, 256), compression="zlib")
    tifffile.imwrite(folder / "mask.tif", (grey > 127).astype(np.uint8), tile=(256, 256), compression="zlib")
    command = [
        sys.executable,
        "-m",
        "unet_deploy.cli",
        "view",
        "--no-browser",
        folder / "image.tif",
        folder / "mask.tif",
    ]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        yield urlsplit(started.stdout.readline().strip()), started
    finally:
        started.kill()
        started.wait()


def ask(address, number):
    """Ask for a tile by the number of the question; every fifth browser hangs up. Returns the status, 0 for these."""
    dice = random.Random(number)
    column, row, gamma = dice.randrange(TILES), dice.randrange(TILES), 1 + dice.randrange(20) / 10
    which, look = ("0", f"0,0.0,255.0,{gamma},ffffff") if number % 2 else ("1", dice.choice(("fill", "outline")))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        connection.request("GET", f"{address.path}tile/{which}/0/12/{column}/{row}/{look}")
        if number % 5 == 0:
            return 0
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def megabytes(process):
    return psutil.Process(process.pid).memory_info().rss / 2**20


def test_three_thousand_tiles_of_browsers_that_hang_up_fill_the_cache_and_no_more(server):
    address, process = server
    found, taken = set(), []
    with ThreadPoolExecutor(16) as pool:
        for first in (0, 1000, 2000):
            found |= set(pool.map(lambda number: ask(address, number), range(first, first + 1000)))
            taken.append(megabytes(process))
    assert found == {0, 200}
    assert taken[2] < taken[1] + 20
    assert process.poll() is None


def test_after_the_flood_it_answers_and_ends_well(server):
    address, process = server
    assert ask(address, 1) == 200
    process.send_signal(2)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    _note_on_the_mask, *rest = said.splitlines()
    assert rest == ["Ctrl-C ends it; whoever has the address sees the files"]
