"""How a model and an engine become a runtime on a GPU, and what of it is still to be proved.

There is no GPU here: what would load the engine is replaced by ONNX Runtime, all around it is real.
"""

import contextlib
import sys
from types import SimpleNamespace

import pytest

from unet_deploy.errors import DeviceError, UnetDeployError, VerificationError
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.tensorrt import cache, opening
from unet_deploy.runtimes.tensorrt.build import build_engine
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import read_record, set_accuracy
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.proof import Unproved
from unet_deploy.system import gpu
from unet_deploy.system.gpu import Gpu
from unet_deploy.zoo import open_model

pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def engine(small_models, tmp_path, monkeypatch):
    """An engine that was never compared with its model, on a machine with a GPU that fits it."""
    model, path = read_model(small_models["one"]), tmp_path / "one.engine"
    profile = Profile((1, 44, 44), (1, 300, 300), (1, 300, 300))
    build_engine(model, path, BuildOptions(profile, targets=("sm86",)), find_compiler("tensorrt_rtx"))

    def open_engine(engine, record, gpu, *, probabilities, tile_size):
        return OnnxRuntime(small_models["one"], probabilities=probabilities, tile_size=tile_size)

    class CudaDevice(contextlib.ExitStack):
        def __init__(self, index):
            super().__init__()

        def active(self):
            return self

    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpu, "find_gpus", lambda: [Gpu(0, "NVIDIA RTX A4000", "8.6", "13.0")])
    monkeypatch.setitem(sys.modules, "unet_deploy.runtimes.tensorrt.engine", SimpleNamespace(open_engine=open_engine))
    monkeypatch.setitem(sys.modules, "unet_deploy.runtimes.cuda.device", SimpleNamespace(CudaDevice=CudaDevice))
    return path


def test_an_engine_is_proved_once_and_its_record_says_so(engine, speckle):
    with open_model(engine) as runtime:
        assert isinstance(runtime, Unproved)
        segment_array(speckle, runtime, None)
        assert runtime.proof is None
    assert read_record(engine).accuracy.labels_differ == 0
    with open_model(engine) as runtime:
        assert not isinstance(runtime, Unproved)


def test_what_was_proved_is_kept_in_the_cache_where_the_record_cannot_be_written(engine, speckle, monkeypatch):
    def refuse(engine, agreement):
        raise UnetDeployError("read-only")

    monkeypatch.setattr(opening, "set_accuracy", refuse)
    with open_model(engine) as runtime:
        segment_array(speckle, runtime, None)
    assert read_record(engine).accuracy is None
    with open_model(engine) as runtime:
        assert not isinstance(runtime, Unproved)


def test_an_engine_that_failed_its_proof_is_not_opened(engine):
    set_accuracy(engine, Agreement(1_000_000, 5_000, image="a.tif", tiles=4))
    with pytest.raises(VerificationError, match=r"one.engine: not the model's answer: 5e\+03 labels in a million"):
        open_model(engine)


def test_an_engine_is_for_gpus(engine):
    with pytest.raises(DeviceError, match="an engine runs on an NVIDIA GPU; for a CPU give the"):
        open_model(engine, device="cpu")


def test_a_model_is_compiled_for_what_was_asked_for(engine, small_models, monkeypatch):
    asked = []

    def cached_engine(model, options, compiler, gpu, *, progress):
        asked.append((model.path, compiler.name, options, gpu.name, gpu.index))
        progress(1, 3, "compiling")
        return engine

    monkeypatch.setattr(cache, "cached_engine", cached_engine)
    steps = []
    how = {"device": "cuda", "runtime": "tensorrt_rtx", "tile_size": 300, "batch_size": 4, "pixels": "uint16"}
    with open_model(small_models["one"], progress=lambda *step: steps.append(step), **how) as runtime:
        assert isinstance(runtime, Unproved)
    profile = Profile((1, 44, 44), (4, 300, 300), (4, 300, 300))
    options = BuildOptions(profile, precision="fp16", pixels="uint16")
    assert asked == [(small_models["one"], "tensorrt_rtx", options, "NVIDIA RTX A4000", 0)]
    assert steps == [(1, 3, "compiling")]
