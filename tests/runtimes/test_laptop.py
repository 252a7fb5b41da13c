"""The GPU or NPU of a laptop by OpenVINO and by ONNX Runtime's providers, on stand-ins that are as strict as those."""

import numpy as np
import pytest
from runtimes.laptop import Intel, Laptop

from unet_deploy.errors import DeviceError, UsageError, VerificationError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import GreyScale
from unet_deploy.images.pyramid import OneLevel
from unet_deploy.model.change import Change
from unet_deploy.runtimes import table
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.table import TABLE
from unet_deploy.segmentation.cluster import _as_taken
from unet_deploy.segmentation.measuring import measure_scale
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream import proof
from unet_deploy.stream.proof import Unproved
from unet_deploy.stream.timed import Timed
from unet_deploy.system import gpu
from unet_deploy.zoo import Request, default_runtime, open_model

pytest.importorskip("openvino")
NAMES = {
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
PROVIDERS = pytest.mark.parametrize("runtime", NAMES)


@pytest.fixture(autouse=True)
def _no_nvidia(monkeypatch, tmp_path):
    def none():
        raise DeviceError("no NVIDIA GPU")

    monkeypatch.setattr(gpu, "find_gpus", none)
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))


class TimedAs(Timed):
    """Says how long an answer took, whatever it did."""

    device = 0.5

    def result(self, ticket):
        answer = super().result(ticket)
        self.seconds = 1.0 if isinstance(self.runtime, OnnxRuntime) else self.device
        return answer


@pytest.fixture(autouse=True)
def times(monkeypatch):
    """How long a pixel takes on the device, where it takes a second on the processor."""
    monkeypatch.setattr(TimedAs, "device", 0.5)
    monkeypatch.setattr(proof, "Timed", TimedAs)
    return TimedAs


@pytest.fixture
def intel(monkeypatch):
    return Intel().install(monkeypatch)


@pytest.fixture
def laptop(monkeypatch):
    """Puts a provider in place, with nothing else in the table but a CPU's ONNX Runtime."""

    def install(runtime):
        here = [row for row in TABLE if row.name == runtime or (row.name, row.device) == ("onnxruntime", "cpu")]
        monkeypatch.setattr("unet_deploy.runtimes.request.TABLE", here)
        for asked in ("fits", "installed"):
            monkeypatch.setattr(table.Row, asked, property(lambda row: True))
        return Laptop(NAMES[runtime]).install(monkeypatch)

    return install


@pytest.fixture
def exact(small_models, speckle):
    with OnnxRuntime(small_models["one"]) as reference:
        return segment_array(speckle, reference, None)[0]


def few_differ(labels, exact):
    return (labels != exact).mean() <= 1e-3


# -- OpenVINO --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "precision", "name", "hint"),
    [
        ("gpu", None, "OpenVINO fp16, Intel(R) Arc(TM) Graphics GPU.0", "f16"),
        ("gpu:1", "fp32", "OpenVINO fp32, Intel(R) Arc(TM) Graphics GPU.1", "f32"),
        ("npu", None, "OpenVINO fp16, Intel(R) AI Boost", "f16"),
    ],
)
def test_openvinos_device_is_proved_on_its_first_image_and_remembered(
    intel, small_models, speckle, exact, device, precision, name, hint
):
    asked = {"device": device, "runtime": "openvino", "precision": precision}
    with open_model(small_models["one"], **asked) as runtime:
        assert runtime.name == name
        assert isinstance(runtime, Unproved)
        labels, _ = segment_array(speckle, runtime, None)
        assert runtime.proof is None
    assert few_differ(labels, exact)
    place = {"gpu": "GPU.0", "gpu:1": "GPU.1", "npu": "NPU"}[device]
    assert {(where, how) for where, how, _ in intel.compiled} == {(place, hint)}
    with open_model(small_models["one"], **asked) as runtime:
        assert not isinstance(runtime, Unproved)


def test_all_tiles_of_an_image_take_one_compiled_network(intel, small_models, speckle):
    for _ in ("to be proved", "proved"):
        del intel.compiled[:]
        with open_model(small_models["one"], device="npu", tile_size=200) as runtime:
            for _ in range(2):
                segment_array(speckle, runtime, None)
    assert len(intel.compiled) == 2, "the one that is tried when it opens, and that of the tiles"


def test_grey_values_of_16_bits_are_scaled_before_they_are_halved(intel, small_models, speckle):
    """Saturated pixels are beyond half precision, and steps between others are lost in it."""
    image = speckle.astype(np.uint16) * 4 + 60_000
    image[::50, ::50] = 65_535
    with OnnxRuntime(small_models["one"]) as reference:
        exact, _ = segment_array(image, reference, None)
    with open_model(small_models["one"], device="npu", pixels="uint16") as runtime:
        labels, _ = segment_array(image, runtime, None)
    assert few_differ(labels, exact)


@pytest.mark.parametrize("runtime", ["openvino", "directml"])
@pytest.mark.parametrize("name", ["one", "deep", "colour"])
def test_an_image_at_another_scale_is_answered_on_its_own_grid(
    monkeypatch, intel, small_models, speckle, runtime, name
):
    if runtime == "directml":
        Laptop(NAMES[runtime]).install(monkeypatch)
    with OnnxRuntime(small_models[name], change=Change(0.7)) as reference:
        image = np.stack([speckle[:300, :260]] * reference.card.channels)[None]
        exact, _ = segment_array(image, reference, None)
    with open_model(small_models[name], device="gpu", runtime=runtime, scale=0.7) as opened:
        labels, _ = segment_array(image, opened, None)
    assert few_differ(labels, exact)


def test_a_model_that_scales_grey_values_itself_takes_8_bits_in_half_precision(intel, small_models):
    fixed = small_models["three"]
    open_model(fixed, device="gpu", pixels="uint8").close()
    open_model(fixed, device="gpu", pixels="uint16", precision="fp32").close()
    with pytest.raises(DeviceError, match=r"holds but 11 bits of one; take --device cpu$"):
        open_model(fixed, device="npu", runtime="openvino", pixels="uint16")


def test_a_shape_that_does_not_compile_is_tried_smaller(intel, small_models, speckle, exact):
    intel.most = 300
    with open_model(small_models["one"], device="npu") as runtime:
        labels, _ = segment_array(speckle, runtime, None)
        assert max(runtime.limits.most) <= 300
    assert few_differ(labels, exact)


@pytest.mark.parametrize(
    ("devices", "device", "says"),
    [
        (["CPU"], "npu", "sees no NPU of Intel's here; its driver may be missing"),
        (["CPU", "GPU"], "gpu:1", "--device gpu:1: OpenVINO sees GPU"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(intel, small_models, devices, device, says):
    intel.available_devices = devices
    with pytest.raises(DeviceError, match=says):
        open_model(small_models["one"], device=device, runtime="openvino")


def test_a_device_that_compiles_nothing_is_one_line(intel, small_models):
    intel.most = 8
    with pytest.raises(DeviceError, match=r"cannot be made ready for tiles of .* \(.*not enough CMX memory\)"):
        open_model(small_models["one"], device="npu", runtime="openvino")


def test_a_driver_that_is_lost_is_one_line(intel, small_models, speckle):
    with open_model(small_models["one"], device="gpu") as runtime:
        segment_array(speckle, runtime, None)
        intel.fails = RuntimeError("[GPU] clFinish, error code: -36 CL_INVALID_COMMAND_QUEUE")
        with pytest.raises(DeviceError, match=r"failed \(.*CL_INVALID_COMMAND_QUEUE.*take --device cpu"):
            segment_array(speckle, runtime, None)


def test_short_memory_makes_tiles_smaller(intel, small_models, speckle):
    with open_model(small_models["one"], device="gpu", tile_size=300) as runtime:
        segment_array(speckle, runtime, None)
        most = runtime.limits.most
        intel.fails = RuntimeError("[GPU] CL_OUT_OF_RESOURCES: out of memory")
        with pytest.raises(Exception, match="even for one tile"):
            segment_array(speckle, runtime, None)
        assert runtime.limits.most < most


# -- ONNX Runtime's providers ----------------------------------------------------------------------------------------


@PROVIDERS
@pytest.mark.parametrize("precision", ["fp32", None])
def test_a_provider_is_proved_on_its_first_image_and_remembered(
    laptop, small_models, speckle, exact, runtime, precision
):
    machine = laptop(runtime)
    asked = {"device": "gpu", "runtime": runtime, "precision": precision}
    with open_model(small_models["one"], **asked) as opened:
        assert isinstance(opened, Unproved)
        assert opened.name.startswith(f"{opened.runtime._row.title} {precision or 'fp16'}, ONNX Runtime")
        labels, _ = segment_array(speckle, opened, None)
    assert few_differ(labels, exact)
    assert machine.sessions
    with open_model(small_models["one"], **asked) as opened:
        assert not isinstance(opened, Unproved)


def test_float32_is_kept_from_apples_neural_engine(laptop, small_models):
    machine = laptop("coreml")
    for precision in ("fp32", "fp16"):
        open_model(small_models["one"], device="gpu", precision=precision).close()
    units = [settings["MLComputeUnits"] for settings, _ in machine.sessions]
    assert units == ["CPUAndGPU", "ALL"]


def test_directml_takes_the_fastest_gpu_or_the_one_that_is_named(laptop, small_models):
    machine = laptop("directml")
    for device in ("gpu", "gpu:1"):
        open_model(small_models["one"], device=device).close()
    assert [settings for settings, _ in machine.sessions] == [
        {"performance_preference": "high_performance", "device_filter": "gpu"},
        {"device_id": "1"},
    ]
    laptop("webgpu")
    with pytest.raises(DeviceError, match="WebGPU chooses the GPU itself; take --device gpu"):
        open_model(small_models["one"], device="gpu:1", runtime="webgpu")


@PROVIDERS
@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("starts", False, "does not start on this machine; take --device cpu"),
        ("leaves", 3, r"leaves 3 of \d+ convolutions to the processor; take --device cpu"),
        ("most", 8, "cannot be made ready for tiles of"),
        ("fails", RuntimeError("887A0005 the GPU device instance has been suspended"), "its driver may have stopped"),
    ],
)
def test_a_provider_that_does_not_compute_is_one_line(laptop, small_models, runtime, what, value, says):
    setattr(laptop(runtime), what, value)
    with pytest.raises(DeviceError, match=says):
        open_model(small_models["one"], device="gpu", runtime=runtime)


@PROVIDERS
def test_a_provider_that_is_not_installed_is_said_with_what_brings_it(small_models, runtime):
    remedy = "which is for macOS" if runtime == "coreml" else rf"pip install 'unet-deploy\[{runtime}\]'"
    with pytest.raises(DeviceError, match=f"--runtime {runtime}: ONNX Runtime .* has no .*{remedy}"):
        open_model(small_models["one"], runtime=runtime)


def test_a_wrong_answer_is_refused_where_the_device_is_named(laptop, small_models, speckle):
    laptop("webgpu").wrong = 1
    with (
        open_model(small_models["one"], device="gpu", runtime="webgpu") as opened,
        pytest.raises(VerificationError, match=r"not the model's answer: .*, or --device cpu"),
    ):
        segment_array(speckle, opened, None)


# -- auto ------------------------------------------------------------------------------------------------------------


def test_auto_takes_a_laptops_gpu_without_a_word_and_doctor_says_so(intel, small_models, speckle, exact):
    said = []
    assert default_runtime() == "OpenVINO on GPU.0, where it is proved"
    with open_model(small_models["one"], notify=said.append) as runtime:
        assert runtime.name == "OpenVINO fp16, Intel(R) Arc(TM) Graphics GPU.0"
        labels, _ = segment_array(speckle, runtime, None)
    assert not said
    assert few_differ(labels, exact)


@pytest.mark.parametrize("precision", [None, "auto"])
def test_auto_goes_to_the_processor_where_every_device_is_wrong(intel, small_models, speckle, exact, precision):
    intel.wrong, said = 1, []
    with open_model(small_models["one"], notify=said.append, precision=precision) as runtime:
        labels, _ = segment_array(speckle, runtime, None)
        assert runtime.name == "OpenVINO fp32, CPU"
    np.testing.assert_array_equal(labels, exact)
    assert [line.partition(": OpenVINO fp16")[0] for line in said] == [
        "note: using OpenVINO fp16, Intel(R) AI Boost",
        "note: using the CPU",
    ]


def test_auto_tries_a_device_that_is_no_faster_once(laptop, small_models, speckle, exact, times):
    times.device, said = 1.25, []
    machine = laptop("webgpu")
    for _ in range(2):
        with open_model(small_models["one"], notify=said.append) as runtime:
            tried = len(machine.sessions)
            labels, _ = segment_array(speckle, runtime, None)
            assert runtime.name == "ONNX Runtime fp32, CPU"
        np.testing.assert_array_equal(labels, exact)
    assert len(said) == 1
    assert said[0].endswith("is no faster than this processor (0.8 times as fast)")
    assert len(machine.sessions) == tried
    with open_model(small_models["one"], device="gpu") as runtime:
        assert runtime.name.startswith("WebGPU fp16")


def test_auto_takes_a_device_without_asking_again_once_it_was_proved_and_faster(laptop, small_models, speckle):
    laptop("webgpu")
    with open_model(small_models["one"]) as runtime:
        segment_array(speckle, runtime, None)
    with open_model(small_models["one"]) as runtime:
        assert not isinstance(runtime, Unproved)
        assert runtime.name.startswith("WebGPU fp16")


def test_auto_goes_on_where_a_device_does_not_open(laptop, small_models, speckle, exact):
    laptop("coreml").leaves, said = 19, []
    with open_model(small_models["one"], notify=said.append) as runtime:
        assert runtime.name == "ONNX Runtime fp32, CPU"
    assert len(said) == 1
    assert said[0].startswith("note: using the CPU: ")
    assert "convolutions to the processor" in said[0]


def test_auto_goes_on_where_a_device_is_lost_while_it_is_proved(laptop, small_models, speckle, exact):
    machine, said = laptop("directml"), []
    with open_model(small_models["one"], notify=said.append) as runtime:
        machine.fails = RuntimeError("887A0006 the device hung")
        labels, _ = segment_array(speckle, runtime, None)
        assert runtime.name == "ONNX Runtime fp32, CPU"
    np.testing.assert_array_equal(labels, exact)
    assert "887A0006" in said[0]


def test_an_image_is_measured_by_the_exact_model_whatever_the_device_says(intel, nuclei, nuclei_image):
    """Its scale is chosen before anything is proved: a wrong device must not choose it."""
    intel.wrong = 1
    found = []
    for request in (Request(), Request("cpu", "onnxruntime")):
        with Models(nuclei, request) as models:
            found.append(measure_scale(models, OneLevel(ArraySource(nuclei_image))).scaled)
    assert found[0] == found[1]
    assert found[0].diameter


def test_workers_of_a_cluster_are_told_which_device_was_taken(intel, small_models):
    auto = Request(precision="fp16")
    with open_model(small_models["one"], auto) as runtime:
        taken = _as_taken(auto, runtime)
    assert (taken.device, taken.runtime, taken.precision) == ("gpu", "openvino", "fp16")
    with open_model(small_models["one"], device="cpu") as runtime:
        assert _as_taken(Request(), runtime).device == "cpu"


def test_what_a_laptop_does_not_do_is_said_with_what_to_take(small_models):
    with pytest.raises(UsageError, match="OpenVINO does not have it on --device npu; take fp16 or int8"):
        open_model(small_models["one"], device="npu", precision="fp32")
    with pytest.raises(UsageError, match="--runtime webgpu: takes --device gpu, not npu"):
        open_model(small_models["one"], device="npu", runtime="webgpu")
    with pytest.raises(UsageError, match="is for CPUs; take --device cpu"):
        open_model(small_models["one"], device="gpu", precision="bf16")


def test_a_tile_that_is_answered_is_not_written_over(intel, small_models, speckle):
    with open_model(small_models["one"], device="gpu", probabilities=True) as runtime:
        grey = GreyScale(np.zeros(1, np.float32), np.full(1, 1 / 64, np.float32))
        first = runtime.result(runtime.submit([speckle[None, :108, :108]], [grey]))
        kept = first.labels.copy(), first.probabilities.copy()
        runtime.submit([speckle[None, 200:308, 200:308]], [grey])
    np.testing.assert_array_equal(first.labels, kept[0])
    np.testing.assert_array_equal(first.probabilities, kept[1])
