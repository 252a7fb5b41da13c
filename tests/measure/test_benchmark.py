"""benchmark measures what it says: stages that add up, work that is counted right, and a budget that is kept."""

import json

import imagecodecs
import numpy as np
import pytest
from command_line import error, unet_deploy

from unet_deploy.measure.benchmark import STAGES, Figures, benchmark, runnable
from unet_deploy.measure.roofline import peak_flops
from unet_deploy.model.flops import count_flops
from unet_deploy.model.onnx_file import read_model
from unet_deploy.zoo import Request


def test_work_is_that_of_a_hand_count(small_models):
    """Depth 1, width 1, one channel, 2 classes, input 44: every convolution by its own arithmetic."""
    model = read_model(small_models["least 1"])
    side = model.card.base + 4
    s = side
    count = 9 * 1 * 1 * (s - 2) ** 2 + 9 * 1 * 1 * (s - 4) ** 2  # down0
    s = (s - 4) // 2
    count += 9 * 1 * 2 * (s - 2) ** 2 + 9 * 2 * 2 * (s - 4) ** 2  # down1
    s -= 4
    count += 4 * 2 * 1 * s**2  # up0
    s *= 2
    count += 9 * 2 * 1 * (s - 2) ** 2 + 9 * 1 * 1 * (s - 4) ** 2 + 1 * 1 * 2 * (s - 4) ** 2  # merge0, head
    assert count_flops(model.proto, (1, side, side)) == 2 * count
    assert count_flops(model.proto, (3, side, side)) == 6 * count


def test_the_original_network_is_301_gflop_at_572(nuclei):
    """Width 16 is a sixteenth of width 64, but for its first layer."""
    flops = count_flops(read_model(nuclei).proto, (1, 572, 572))
    assert 16 * flops == pytest.approx(301e9, rel=0.02)


@pytest.mark.parametrize("channels", ["one", "colour"])
def test_every_stage_is_measured(small_models, channels):
    found = benchmark(str(small_models[channels]), Request("cpu", "onnxruntime"), size=200, runs=3)
    assert set(found.stages) == set(STAGES)
    assert all(found.stages[stage] > 0 for stage in ("decode", "prepare", "compute", "stitch", "encode"))
    assert found.stages["copy in"] == found.stages["copy out"] == 0
    assert 0 < found.p50 <= found.p95 <= found.p99
    assert found.stages["compute"] + found.stages["prepare"] <= 3 * found.p99
    assert found.flops > 0
    assert 0 < found.share <= 1
    assert found.megapixels_per_s == pytest.approx(0.04 / found.p50)


def test_a_model_that_is_faster_than_every_kernel_is_the_peak_itself(small_models, monkeypatch):
    monkeypatch.setattr("unet_deploy.measure.benchmark.peak_flops", lambda name: 1.0)
    found = benchmark(str(small_models["one"]), Request("cpu", "onnxruntime"), size=200, runs=3)
    assert 0 < found.share <= 1


def test_the_peak_is_more_than_any_network_reaches():
    peak = peak_flops("ONNX Runtime fp32, CPU")
    assert peak > 5e9
    assert peak_flops("tensorrt 10.3 on NVIDIA T4") is None


def test_the_budget_is_kept_or_said(small_models):
    options = ("--size", "200", "--runs", "3", "-d", "cpu")
    unet_deploy("benchmark", small_models["one"], *options, "--max-latency", "60")
    line = error("benchmark", small_models["one"], *options, "--max-latency", "0.000001", code=5)
    assert "over the budget of 1e-06 s" in line


@pytest.mark.long
def test_runtimes_side_by_side_with_a_picture(small_models, tmp_path):
    pytest.importorskip("matplotlib")
    options = ("--size", "200", "--runs", "2", "--runtime", "all", "--plot", tmp_path / "bars.png")
    shown, _ = unet_deploy("benchmark", small_models["one"], *options)
    lines = shown.splitlines()
    assert len(lines) == 1 + len(runnable(str(small_models["one"])))
    assert "ONNX Runtime fp32, CPU" in shown
    picture = imagecodecs.png_decode((tmp_path / "bars.png").read_bytes())
    assert picture.shape[1] > 600
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 10
    text, _ = unet_deploy("benchmark", small_models["one"], *options[:6], "--json")
    found = [Figures(**each) for each in json.loads(text) if "not_run" not in each]
    assert found[0].size == 200


def test_what_cannot_be_measured_is_said(small_models, tmp_path):
    assert "there are auto" in error("benchmark", small_models["one"], "--runtime", "torch", code=2)
    assert "no such model" in error("benchmark", tmp_path / "none.onnx", code=3)
