"""The GPU benchmark's own arithmetic, on a device of threads: it must be right before a GPU is at hand."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unet_deploy.errors import DeviceError
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.system.gpu import find_gpus

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "everything.py"


@pytest.fixture(scope="module")
def everything():
    spec = importlib.util.spec_from_file_location("everything", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so():
    try:
        find_gpus()
        pytest.skip("this machine has a GPU")
    except DeviceError:
        pass
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no NVIDIA GPU")


def test_every_part_runs_on_a_device_that_works_asynchronously(everything, small_models, speckle, tmp_path):
    from runtimes.test_onnx_program import streamed

    marks = []
    with streamed(small_models["one"], "fp16", "uint8", tile=300, batch=1, probabilities=False) as runtime:
        runtime.watch = marks.append
        seen = everything.correctness(runtime, small_models["one"], speckle)
        assert seen["pixels"] == speckle.size
        times = everything.latency(runtime, speckle[:128, :128], runs=5)
        assert 0 < times["p50_ms"] <= times["p99_ms"]
        found = everything.overlap(runtime, marks, speckle)
        assert 0 < found["computing_share"] <= 1
        assert 0 <= found["copies_hidden_share"] <= 1
        import tifffile

        tifffile.imwrite(tmp_path / "slide.tif", speckle)
        assert everything.throughput(runtime, tmp_path / "slide.tif")["mpx_per_s"] > 0


class At:
    def __init__(self, time):
        self.time = time

    def seconds_since(self, earlier):
        return self.time - earlier.time


def test_shares_of_a_flight_that_is_known(everything):
    """Two submissions: 1 s in, 3 s computing, 1 s out; the second copies in while the first computes."""
    from unet_deploy.runtimes.ring import Marks

    def marks(*times):
        return Marks(*map(At, times))

    seen = everything.shares([marks(0, 1, 1, 4, 5), marks(1, 2, 2, 7, 8)])
    assert seen["computed_s"] == 6
    assert (seen["copied_in_s"], seen["copied_out_s"], seen["device_s"]) == (2, 2, 8)
    assert seen["copies_hidden_share"] == 0.5


def test_the_widened_model_is_the_original_network(everything, nuclei, tmp_path):
    import onnx
    from onnx import numpy_helper

    path = everything.widened(nuclei, 4, tmp_path)
    arrays = [numpy_helper.to_array(each) for each in onnx.load(str(path)).graph.initializer]
    assert sum(array.size for array in arrays if array.dtype == np.float32) == 31_030_658
    with OnnxRuntime(path) as runtime:
        from unet_deploy.images.grey import GreyScale

        grey = GreyScale(np.zeros(1, np.float32), np.full(1, 1 / 255, np.float32))
        tile = np.random.default_rng(0).integers(0, 255, (1, 188, 188), dtype=np.uint8)
        assert runtime.submit([tile], [grey]).labels.shape == (1, 4, 4)
