"""What runs a model where there is no GPU, and how the choice is said."""

from dataclasses import fields
from importlib.util import find_spec

import pytest

from unet_deploy import zoo as models
from unet_deploy.errors import DeviceError, ModelError, UsageError
from unet_deploy.runtimes import table
from unet_deploy.runtimes.cuda import binding
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.request import Opened
from unet_deploy.stream.precision import TO_BE_PROVED
from unet_deploy.stream.proof import Unproved
from unet_deploy.system import gpu
from unet_deploy.system.gpu import Gpu
from unet_deploy.zoo import Asked, Request, default_runtime, open_model


def no_gpu() -> bool:
    try:
        return not gpu.find_gpus()
    except DeviceError:
        return True


without_gpu = pytest.mark.skipif(not no_gpu(), reason="this machine has a GPU")


@without_gpu
def test_auto_takes_the_cpu_without_a_word_where_there_is_no_gpu(small_models):
    said = []
    with open_model(small_models["one"], notify=said.append) as runtime:
        assert runtime.name == ("OpenVINO fp32, CPU" if find_spec("openvino") else "ONNX Runtime fp32, CPU")
    assert not said


@without_gpu
@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "tensorrt", "tensorrt_rtx"])
def test_an_explicit_gpu_that_is_not_there_is_an_error(small_models, runtime):
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        open_model(small_models["one"], device="cuda", runtime=runtime)


def test_auto_says_why_it_falls_back_to_the_cpu(small_models, monkeypatch):
    """A GPU, and nothing installed that can use it: cuda is an error, auto goes on and says so."""
    here = [Gpu(0, "NVIDIA T4", "7.5", "12.9")]
    monkeypatch.setattr(gpu, "find_gpus", lambda: here)
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    said = []
    with open_model(small_models["one"], notify=said.append) as runtime:
        assert runtime.name == "ONNX Runtime fp32, CPU"
    assert len(said) == 1
    assert said[0].startswith("note: using the CPU: no runtime works on NVIDIA T4: tensorrt is not installed;")
    with pytest.raises(DeviceError, match="no runtime works on NVIDIA T4"):
        open_model(small_models["one"], device="cuda")
    with pytest.raises(DeviceError, match="cuda:3: there are 1 GPUs"):
        open_model(small_models["one"], device="cuda:3")


def test_an_onnx_runtime_for_cpus_alone_is_said(small_models, monkeypatch):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(gpu, "find_gpus", lambda: [Gpu(0, "NVIDIA T4", "7.5", "12.9")])
    with pytest.raises(DeviceError, match="is for CPUs only"):
        open_model(small_models["one"], device="cuda", runtime="onnxruntime")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"device": "tpu"}, "there are auto, cpu, cuda, cuda:N, gpu, gpu:N and npu"),
        ({"device": "cpu:1"}, "there are auto, cpu"),
        ({"device": "cuda:x"}, "there are auto, cpu"),
        ({"runtime": "torch"}, "there are auto, coreml, directml, onnxruntime"),
        ({"precision": "int4"}, "there are auto, fp32, fp16, bf16"),
        ({"batch_size": 0}, "take at least 1"),
    ],
)
def test_requests_that_no_machine_grants(asked, says):
    with pytest.raises(UsageError, match=says):
        Request(**asked)


def test_what_a_cpu_does_not_do(small_models):
    with pytest.raises(UsageError, match="no faster than fp32 on a CPU"):
        open_model(small_models["one"], device="cpu", precision="fp16")
    with pytest.raises(DeviceError, match="runs on an NVIDIA GPU"):
        open_model(small_models["one"], device="cpu", runtime="tensorrt")


def test_a_request_can_be_given_whole_or_by_its_fields(small_models):
    whole = Request("cpu", "onnxruntime", probabilities=True, tile_size=300)
    by_name = {"device": "cpu", "runtime": "onnxruntime", "probabilities": True, "tile_size": 300}
    for given in ({"request": whole}, by_name, {"request": Request("cpu", "onnxruntime", tile_size=300), **by_name}):
        with open_model(small_models["one"], **given) as runtime:
            assert (runtime.name, runtime.probabilities) == ("ONNX Runtime fp32, CPU", True)
            assert runtime.limits.most == (300, 300)


def test_the_names_that_open_model_takes_are_the_fields_of_a_request():
    assert list(Asked.__annotations__) == [field.name for field in fields(Request)]


def test_layers_of_another_type_than_was_asked_for_are_said(small_models):
    for runtime in filter(find_spec, ("onnxruntime", "openvino")):
        with pytest.raises(UsageError, match="is of fp32 layers; make it with: unet-deploy quantize"):
            open_model(small_models["one"], device="cpu", runtime=runtime, precision="int8")


@without_gpu
def test_the_default_runtime_is_the_one_that_auto_opens(nuclei):
    with open_model(nuclei) as runtime:
        assert default_runtime() == runtime.name


@without_gpu
def test_the_default_runtime_says_what_is_still_to_be_proved(monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setattr("unet_deploy.system.machine.bf16_pays", lambda: True)
    assert default_runtime() == f"OpenVINO fp32, CPU, or {TO_BE_PROVED}"


def test_the_default_runtime_on_a_gpu_is_named_without_compiling(monkeypatch):
    monkeypatch.setattr(gpu, "find_gpus", lambda: [Gpu(0, "NVIDIA T4", "7.5", "12.9")])
    monkeypatch.setattr(models, "is_here", lambda name: True)
    monkeypatch.setattr(binding, "is_here", lambda name: True)
    monkeypatch.setattr(table, "find_spec", lambda name: True if name == "tensorrt_rtx" else None)
    assert default_runtime() == "tensorrt_rtx on NVIDIA T4"


def test_a_runtime_of_a_gpu_that_fails_is_followed_by_the_next(small_models, monkeypatch):
    """Each is asked in turn; what is still to be proved of the one that opens travels with it."""
    monkeypatch.setattr(gpu, "find_gpus", lambda: [Gpu(0, "NVIDIA T4", "7.5", "12.9")])
    monkeypatch.setattr(table, "find_spec", lambda name: True)
    asked, kept = [], []

    def load(row):
        def opener(path, request, progress):
            asked.append(request.runtime)
            progress(1, 2, "compiling")
            if row.name == "tensorrt":
                raise DeviceError("tensorrt: no luck")
            return Opened(OnnxRuntime(path, probabilities=True), kept.append)

        return opener

    monkeypatch.setattr(table.Row, "load", load)
    steps = []
    with open_model(small_models["one"], device="cuda", progress=lambda *step: steps.append(step)) as runtime:
        assert asked == ["tensorrt", "tensorrt_rtx"]
        assert steps == [(1, 2, "compiling")] * 2
        assert isinstance(runtime, Unproved)
        with runtime.proof.open_reference() as reference:
            assert reference.card == runtime.card
    with pytest.raises(DeviceError, match="no luck"):
        open_model(small_models["one"], device="cuda", runtime="tensorrt", progress=lambda *step: None)


def test_a_shipped_name_is_the_shipped_model_whatever_else_is_called_so(tmp_path, monkeypatch):
    shipped = models.find_model("nuclei")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").mkdir()
    assert models.find_model() == models.find_model("nuclei") == shipped
    with pytest.raises(ModelError, match="no such model file"):
        models.find_model(tmp_path / "nuclei")
