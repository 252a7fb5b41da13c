"""A mask by several processes is that of one, whichever of them die on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import command_words, error, unet_deploy
from hypothesis import given
from hypothesis import strategies as st
from test_tiling import networks

from unet_deploy.errors import DeviceError, ImageError, ModelError, ResourceError
from unet_deploy.images import open_image
from unet_deploy.images.reading import AS_SAID
from unet_deploy.segmentation.cluster import Job, Jobs
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.tiling import Region, aligned, legal_side, plan_tiles
from unet_deploy.zoo import Request, open_model

pytest.importorskip("distributed")
pytest.importorskip("zarr")

import zarr

from unet_deploy.segmentation import cluster as clusters
from unet_deploy.segmentation.cluster import Cluster

REQUEST = Request(runtime="onnxruntime", device="cpu")
SMALL = Options(tile_size=300)
"""Tiles so small that a chunk is made of many, and that jobs cut some."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("cluster") / "slide.tif"
    rng = np.random.default_rng(7)
    image = np.kron(rng.integers(0, 200, (107, 61)), np.ones((20, 20))) + rng.integers(0, 50, (2140, 1220))
    pages = np.stack([image, image[::-1]]).astype(np.uint8)
    tifffile.imwrite(path, pages, tile=(256, 256), photometric="minisblack")
    return path


@pytest.fixture(scope="module")
def alone(slide, small_models, tmp_path_factory):
    """What one process makes of the slide in small tiles."""
    mask = tmp_path_factory.mktemp("alone") / "mask.zarr"
    with open_model(small_models["one"], runtime="onnxruntime", device="cpu") as runtime:
        segment_file(slide, Outputs(mask), runtime, SMALL)
    return files_of(mask)


def seen(path):
    with open_image(path) as source:
        return source.state()


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def by(cluster, slide, model, mask, options=SMALL, progress=None):
    with open_model(model, runtime="onnxruntime", device="cpu") as runtime:
        return segment_file(slide, Outputs(mask), runtime, options, compute=cluster, progress=progress)


@given(networks(), st.data())
def test_every_chunk_is_in_one_job_and_every_pixel_of_a_job_in_its_tiles(network, data):
    height, width, pages = (data.draw(st.integers(1, most)) for most in (900, 900, 3))
    side = data.draw(st.integers(legal_side(2 * network.margin + network.stride, network), 800 + 2 * network.margin))
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    region = Region(y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x)))
    covered = aligned(region, network.stride)
    plan = plan_tiles(*covered.sides, network, tile=side, origin=covered.origin)
    chunk = data.draw(st.sampled_from([16, 64, 100]))
    written = np.zeros((pages, height, width), np.int64)
    owners = {}
    for number, job in enumerate(Jobs(plan, region, pages, chunk, data.draw(st.integers(0, 5)))):
        computed = np.zeros((height, width), bool)
        for tile in plan.touching(job.region):
            computed[tile.write.slices] = True
        assert computed[job.region.slices].all()
        written[(job.page, *job.region.slices)] += 1
        for row in range(job.region.y // chunk, -(-job.region.bottom // chunk)):
            for column in range(job.region.x // chunk, -(-job.region.right // chunk)):
                assert owners.setdefault((job.page, row, column), number) == number
    expected = np.zeros_like(written)
    expected[(slice(None), *region.slices)] = 1
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize(
    "options",
    [
        ("--overlay", "--objects", "csv", "--instances", "tif", "--peak", "0.7"),
        pytest.param(("--objects", "geojson", "--instances", "tif", "--split", "--fill-holes"), marks=pytest.mark.long),
        ("--roi", "333,100,1500,1100", "--skip-background", "--overlay"),
        pytest.param(("--tta", "--roi", "900,900,300,300"), marks=pytest.mark.long),
        ("--scale", "0.4", "--threshold", "0.4", "--objects", "csv"),
    ],
)
def test_two_workers_make_the_files_of_one_process(slide, small_models, tmp_path, options):
    arguments = ("segment", slide, "-m", small_models["one"], "--runtime", "onnxruntime", "--max-memory", "900MB")
    for folder, how in (("one", ("--max-memory", "300MB")), ("two", ("--workers", 2))):
        (tmp_path / folder).mkdir()
        unet_deploy(*arguments, *how, "-o", tmp_path / folder / "mask.zarr", *options)
    assert len(files_of(tmp_path / "two")) > 12
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_two_workers_fill_probabilities_in_an_ome_zarr_of_their_own(slide, small_models, tmp_path):
    words = ("segment", slide, "-m", small_models["one"], "--runtime", "onnxruntime", "--probabilities")
    unet_deploy(*words, "-o", tmp_path / "many.zarr", "--workers", 2, "--roi", "100,200,900,850")
    unet_deploy(*words, "-o", tmp_path / "one.tif", "--roi", "100,200,900,850")
    many = zarr.open(tmp_path / "many.probabilities.zarr", mode="r")["0"][:]
    one = tifffile.imread(tmp_path / "one.probabilities.tif")
    np.testing.assert_array_equal(np.moveaxis(many, 0, 1).reshape(one.shape), one)  # c, z, y, x beside z, c, y, x


def test_a_worker_that_is_killed_leaves_no_trace(slide, small_models, alone, tmp_path):
    killed = []

    def kill(done, total):
        if not killed:
            pid, *_ = cluster._client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            killed.append(done)

    with Cluster(str(small_models["one"]), REQUEST, workers=2) as cluster:
        shares = cluster._client.run(os.sched_getaffinity, 0).values()
        assert set.union(*shares) == os.sched_getaffinity(0)
        assert len(os.sched_getaffinity(0)) == 1 or not set.intersection(*shares)
        report = by(cluster, slide, small_models["one"], tmp_path / "mask.zarr", progress=kill)
    assert 0 < killed[0] < 2 * len(report.plan)
    assert report.timing.resumed == 0
    assert files_of(tmp_path / "mask.zarr") == alone


def test_a_run_that_is_killed_goes_on_alone_and_its_workers_end(slide, small_models, alone, tmp_path):
    mask = tmp_path / "mask.zarr"
    command = ("segment", slide, "-o", mask, "-m", small_models["one"], "--runtime", "onnxruntime", "--tile-size", 300)
    running = subprocess.Popen(command_words(*command, "--workers", 2), start_new_session=True)
    chunks = tmp_path / ".mask.zarr.part" / "tree" / "0"
    while not any(path.name.isdigit() and path.is_file() for path in chunks.rglob("*")):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, said = unet_deploy(*command, "--resume")
    assert "tiles were finished already" in said
    assert files_of(mask) == alone
    for _ in range(100):
        if subprocess.run(["pgrep", "-s", str(running.pid)], capture_output=True, check=False).returncode:
            return
        time.sleep(0.1)
    pytest.fail("workers outlived the run")


def test_ctrl_c_ends_the_workers_without_a_word(slide, small_models, tmp_path):
    command = ("segment", slide, "-o", tmp_path / "mask.zarr", "-m", small_models["one"], "--tile-size", 300)
    command = command_words(*command, "--workers", 2)
    running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / ".mask.zarr.part" / "tree").exists():
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted; no file was left half-written"
    assert len(said.splitlines()) <= 2


def test_what_a_worker_meets_is_said_once(slide, small_models, tmp_path):
    model = small_models["one"]
    broken = tmp_path / "broken.tif"
    broken.write_bytes(slide.read_bytes()[:-200_000])
    mask = tmp_path / "mask.zarr"
    line = error("segment", broken, "-o", mask, "-m", model, "--workers", 1, code=3)
    assert str(broken) in line
    with Cluster(str(model), REQUEST, workers=1) as cluster:
        with pytest.raises(DeviceError, match="another model"):
            by(cluster, slide, small_models["three"], mask)
        cluster._request = replace(REQUEST, runtime="openvino")
        with pytest.raises(DeviceError, match="answers by OpenVINO"):
            by(cluster, slide, model, mask, replace(SMALL, overwrite=True))
        cluster._model = str(tmp_path / "away.onnx")
        with pytest.raises(ModelError, match="no such model file"):
            by(cluster, slide, model, mask, replace(SMALL, overwrite=True))
        cluster._model, cluster._request = str(model), REQUEST
        work, copy = cluster.work, tmp_path / "copy.tif"
        copy.write_bytes(slide.read_bytes()[:-1])
        cluster.work = lambda *at: replace(work(*at), image=copy)
        with pytest.raises(ImageError, match="sees another file"):
            by(cluster, slide, model, mask, replace(SMALL, overwrite=True))


def test_a_worker_asks_for_a_proof_once_an_image_and_not_at_every_job(slide, small_models, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(clusters, "prove", lambda *at: asked.append(at))
    model, whole = small_models["one"], Region(0, 0, 2140, 1220)
    with open_model(model, runtime="onnxruntime", device="cpu") as runtime:
        plan = plan_tiles(2140, 1220, runtime.card, tile=300)
        facts = (str(model), REQUEST, runtime.fingerprint, runtime.name, slide, AS_SAID, 0, seen(slide), False, False)
        work = clusters.Work(*facts, plan, whole, ((tmp_path / "mask.zarr", tmp_path / "tree"),))
    for _ in range(3):
        clusters._runtime(work)
    assert len(asked) == 1
    for kept in (clusters._proved, clusters._loaded, clusters._opened):
        kept.cache_clear()


def test_a_worker_fills_probabilities_too_where_they_have_a_tree(slide, small_models, tmp_path):
    from unet_deploy.images.grey import measure_page
    from unet_deploy.images.tiff import TiffSource
    from unet_deploy.masks import Keep, MaskForm, open_mask

    model, region = small_models["one"], Region(500, 400, 700, 705)
    with (
        open_model(model, runtime="onnxruntime", device="cpu", probabilities=True) as runtime,
        TiffSource(slide) as image,
    ):
        covered, grey = aligned(region, runtime.card.stride), measure_page(image, 1, runtime.card.normalization)
        plan = plan_tiles(*covered.sides, runtime.card, tile=572, origin=covered.origin)
        classes = runtime.card.classes
        forms = (
            MaskForm(image.info, 1, np.dtype(np.uint8), region, classes),
            MaskForm(image.info, 2, np.dtype(np.float32), region, classes),
        )
        facts = (runtime.fingerprint, runtime.name, slide, AS_SAID, 0, seen(slide), False, False, plan, region)
        with (
            open_mask(tmp_path / "mask.zarr", forms[0], Keep({})) as mask,
            open_mask(tmp_path / "scores.zarr", forms[1], Keep({})) as scores,
        ):
            trees = tuple((tmp_path / f"{name}.zarr", sink.tree) for name, sink in (("mask", mask), ("scores", scores)))
            work = clusters.Work(str(model), replace(REQUEST, probabilities=True), *facts, trees)
            job = Job(1, region)
            first, again = clusters._compute(work, job, grey), clusters._compute(work, job, grey)
            assert (first.resumed, again.resumed) == (0, len(plan))
            labels, answer = mask.read(1, region)[0], scores.read(1, region)
    np.testing.assert_array_equal(labels, answer.argmax(axis=0))
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-5)
    for kept in (clusters._proved, clusters._loaded, clusters._opened):
        kept.cache_clear()


def test_a_second_cluster_on_a_machine_is_nothing_to_speak_of(small_models, recwarn):
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else's cluster does as well
            taken.bind(("", 8787))
            taken.listen()
        with Cluster(str(small_models["one"]), REQUEST, workers=1):
            pass
    assert not [each for each in recwarn if "8787" in str(each.message)]


def test_a_job_that_kills_every_worker_ends_the_run(slide, small_models, tmp_path, monkeypatch):
    def deadly(work, job, grey):
        os.kill(os.getpid(), signal.SIGKILL)

    with Cluster(str(small_models["one"]), REQUEST, workers=1) as cluster:
        monkeypatch.setattr(clusters, "_compute", deadly)
        with pytest.raises(ResourceError, match="die of one job again and again"):
            by(cluster, slide, small_models["one"], tmp_path / "mask.zarr")


def test_a_cluster_without_workers_or_without_a_scheduler_is_said(slide, small_models, tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    mask = tmp_path / "mask.zarr"
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as empty,
        Cluster(str(small_models["one"]), REQUEST, scheduler=empty.scheduler_address) as cluster,
        pytest.raises(ResourceError, match="has no workers"),
    ):
        by(cluster, slide, small_models["one"], mask)
    line = error("segment", slide, "-o", mask, "--scheduler", "tcp://127.0.0.1:1", code=4)
    assert "no scheduler answers" in line
    line = error("segment", slide, "-o", mask, "--scheduler", "tcp://127.0.0.1:1", "--workers", 1, code=2)
    assert "not both" in line
    assert os.listdir(tmp_path) == []


def test_a_scheduler_that_dies_is_said(slide, small_models, tmp_path):
    address = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(address)], stderr=subprocess.DEVNULL)
    while not address.exists():
        time.sleep(0.05)
    tcp = json.loads(address.read_text())["address"]
    with Cluster(str(small_models["one"]), REQUEST, scheduler=tcp) as cluster:
        threading.Timer(0.5, scheduler.kill).start()
        with pytest.raises(ResourceError, match="the scheduler is gone"):
            by(cluster, slide, small_models["one"], tmp_path / "mask.zarr")
    scheduler.wait()


def test_only_an_ome_zarr_mask_is_for_many(slide, small_models, tmp_path):
    words = ("segment", slide, "-m", small_models["one"], "--workers", 1)
    assert "-o mask.zarr" in error(*words, "-o", tmp_path / "mask.tif", code=2)
    _, said = unet_deploy(*words, "-o", tmp_path / "mask.zarr", "--dry-run")
    assert "those of one process" in said
    assert os.listdir(tmp_path) == []
