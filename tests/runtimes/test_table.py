"""The one table of runtimes, and all that must say the same: documentation, help, extras, messages, the packages."""

import importlib.util
import re
from pathlib import Path
from typing import get_args

import pytest
from command_line import error, unet_deploy

from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.model.contract import Precision
from unet_deploy.runtimes.request import Request
from unet_deploy.runtimes.table import PRECISIONS, RUNTIMES, TABLE, loading

ROOT = Path(__file__).parents[2]


def ids(row):
    return f"{row.name} on {row.device}"


def test_the_documentation_lists_exactly_its_rows():
    text = (ROOT / "docs" / "speed.md").read_text()
    row = r"\| `[a-z_]+` \| `(cuda|gpu|npu|cpu)`"
    lines = [re.findall(r"`([^`]+)`", line) for line in text.splitlines() if re.match(row, line)]
    expected = [[row.name, row.device, *row.precisions, f"unet-deploy[{row.extra}]"] for row in TABLE]
    assert lines == expected


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_what_installs_a_row_is_an_extra_that_brings_its_package(row):
    text = (ROOT / "pyproject.toml").read_text()
    brings = re.search(rf"^{re.escape(row.extra)} = \[(.*)\]$", text, re.MULTILINE)[1]
    wheel = row.wheel or row.package.replace("_", "-")
    assert re.search(rf"\"{wheel}(-gpu)?(\[.*\])?>=", brings)


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_what_opens_a_row_is_there(row):
    module, _, function = row.opener.partition(":")
    assert f"def {function}(" in Path(importlib.util.find_spec(module).origin).read_text()


def test_options_and_their_help_name_what_is_in_the_table(nuclei):
    help_text = unet_deploy("segment", "--help")[0]
    for names, option in ((RUNTIMES, "--runtime"), (PRECISIONS, "--precision")):
        said = error("benchmark", nuclei, option, "abacus", code=2)
        for name in names:
            assert re.search(rf"\b{name}\b", said)
            assert re.search(rf"\b{name}\b", help_text)


def test_a_gpus_precisions_are_those_of_a_graph_and_every_precision_runs_somewhere():
    assert {each for row in TABLE for each in row.precisions} == set(PRECISIONS)
    for row in TABLE:
        assert row.precisions[0] == ("fp16" if row.device == "npu" else "fp32")
        if row.device == "cuda":
            assert set(row.precisions) == set(get_args(Precision))


def test_a_model_of_8_bit_layers_runs_in_8_bits_and_another_does_not():
    for row in TABLE:
        assert row.of("int8") == tuple(each for each in row.precisions if each == "int8")
        assert row.of("fp32") == tuple(each for each in row.precisions if each != "int8")


def test_auto_tries_a_device_in_the_order_of_the_table():
    assert [row.name for row in Request().rows("cuda")] == ["tensorrt", "tensorrt_rtx", "onnxruntime"]
    assert [row.name for row in Request().rows("gpu")] == ["openvino", "coreml", "directml", "webgpu"]
    assert [row.name for row in Request().rows("npu")] == ["openvino"]
    assert [row.name for row in Request().rows("cpu")] == ["openvino", "onnxruntime"]
    assert [row.name for row in Request(precision="bf16").rows("cpu")] == ["openvino"]
    assert Request(precision="bf16").rows("cuda") == ()
    assert Request(runtime="openvino").rows("cuda") == ()


def test_a_runtime_of_one_system_is_installed_nowhere_else(monkeypatch):
    monkeypatch.setattr("unet_deploy.runtimes.table.find_spec", lambda name: True)
    for system, here in (("linux", set()), ("darwin", {"coreml"}), ("win32", {"directml"})):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.setattr("unet_deploy.runtimes.table._has_wheel", lambda name: name != "onnxruntime-webgpu")
        assert {row.name for row in TABLE if row.installed and row.package != row.name} == here


@pytest.mark.parametrize("device", ["gpu:", "gpu:x", "npu:0", "cpu:0", "cuda:-1", "gpu:1.5", "gpu:²", "tpu"])
def test_devices_that_there_are_not(device):
    with pytest.raises(UsageError, match="there are auto, cpu, cuda, cuda:N, gpu, gpu:N and npu"):
        Request(device)


@pytest.mark.parametrize(
    ("asked", "device", "kind", "says"),
    [
        ({"precision": "fp16"}, "cpu", UsageError, "--precision fp16: is no faster than fp32 on a CPU; take bf16"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, "cpu", UsageError, "ONNX Runtime does not have it on a CPU"),
        ({"runtime": "tensorrt", "precision": "fp16"}, "cpu", DeviceError, "--runtime tensorrt: runs on an NVIDIA GPU"),
        ({"precision": "bf16"}, "cuda", UsageError, "--precision bf16: is for CPUs; take --device cpu"),
        ({"runtime": "openvino"}, "cuda", UsageError, "--runtime openvino: takes --device gpu or npu or cpu, not cuda"),
        ({"runtime": "coreml"}, "cpu", UsageError, "--runtime coreml: takes --device gpu, not cpu"),
        ({"precision": "bf16"}, "gpu", UsageError, "--precision bf16: is for CPUs; take --device cpu"),
        ({"precision": "fp32"}, "npu", UsageError, "OpenVINO does not have it on --device npu; take fp16 or int8"),
    ],
)
def test_what_a_device_does_not_do_is_said_with_what_to_take(asked, device, kind, says):
    with pytest.raises(kind, match=says):
        Request(**asked).rows_or_raise(device)


def test_a_runtime_that_is_not_installed_is_a_device_error_with_the_remedy():
    with pytest.raises(DeviceError, match=r"pip install 'unet-deploy\[gpu\]'"), loading("no_such_package", "gpu"):
        import no_such_package  # noqa: F401
