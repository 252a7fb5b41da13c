"""An engine is loaded and launched as each TensorRT wants it. Here it is played by one that computes nothing.

What a real one says on a real GPU is in benchmarks/gpu.
"""

import json
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from thread_device import ThreadDevice

from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import EngineRecord, read_record, write_record
from unet_deploy.system.files import sha256_of
from unet_deploy.system.gpu import Gpu

CARD = ModelCard("cells", 1, ("background", "cell"), 20, 4, 44)
GPU = Gpu(0, "NVIDIA RTX A4000", "8.6", "13.0")
RANGE = Profile((1, 44, 44), (1, 76, 76), (2, 76, 76))
FIXED = Profile.of(1, 76, 76)
SCRATCH = 64


class Severity:
    ERROR, INTERNAL_ERROR, INFO = "error", "internal error", "info"


class Logger:
    Severity = Severity


class Played:
    """The module tensorrt or tensorrt_rtx. `calls` is what it was told to do."""

    __version__ = "10.3.0"
    ILogger = Logger
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="ours")
    LayerInformationFormat = SimpleNamespace(JSON="json")
    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")

    def __init__(self):
        self.calls, self.kernels, self.refuses = [], b"kernels", False

    def Runtime(self, logger):  # noqa: N802
        def deserialize(data):
            if self.refuses:
                logger.log(Severity.ERROR, "another version\n of it")
                logger.log(Severity.INFO, "all is well")
                return None
            return PlayedEngine(self)

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class PlayedEngine:
    def __init__(self, module):
        self.module = module

    def create_engine_inspector(self):
        layers = [{"Outputs": [{"Format/Datatype": "Half"}]}] * 3 + [{}]
        return SimpleNamespace(get_engine_information=lambda kind: json.dumps({"Layers": layers}))

    def create_runtime_config(self):
        def create_runtime_cache():
            return SimpleNamespace(
                serialize=lambda: self.module.kernels,
                deserialize=lambda data: self.module.calls.append(("finished before", data)),
            )

        return SimpleNamespace(
            set_execution_context_allocation_strategy=lambda strategy: self.module.calls.append(("strategy", strategy)),
            create_runtime_cache=create_runtime_cache,
            set_runtime_cache=lambda cache: None,
            cuda_graph_strategy="none",
        )

    def create_execution_context(self, config):
        self.module.calls.append(("context", getattr(config, "cuda_graph_strategy", config)))
        return SimpleNamespace(
            set_input_shape=lambda name, shape: True,
            update_device_memory_size_for_shapes=lambda: SCRATCH,
            set_device_memory=lambda address, size: None,
            set_tensor_address=lambda name, address: None,
            execute_async_v3=lambda handle: self.module.calls.append("run") or True,
        )


class PlayedGraph:
    """What CudaGraph does: the work is put on the stream once, while it is captured."""

    calls: list = []  # noqa: RUF012

    def __init__(self, stream, work):
        self.calls.append("capture")
        work()

    def launch(self):
        self.calls.append("launch")

    def close(self):
        self.calls.append("close")


class Device(ThreadDevice):
    def stream(self):
        stream = super().stream()
        stream.handle = 7
        return stream


@pytest.fixture
def played(monkeypatch, tmp_path):
    """The room with a played TensorRT, a device on the CPU and a cache folder of its own."""
    module, device = Played(), Device()
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    PlayedGraph.calls = module.calls
    cuda = "unet_deploy.runtimes.cuda"
    room = "unet_deploy.runtimes.tensorrt.engine"
    monkeypatch.setitem(sys.modules, f"{cuda}.device", SimpleNamespace(CudaDevice=lambda index: device))
    monkeypatch.setitem(sys.modules, f"{cuda}.graph", SimpleNamespace(CudaGraph=PlayedGraph))
    monkeypatch.delitem(sys.modules, room, raising=False)
    opened = import_module(room)
    monkeypatch.setattr(opened, "load", lambda name: module)
    yield SimpleNamespace(module=module, device=device, open=opened.open_engine, calls=module.calls)
    del sys.modules[room]
    device.end()


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "cells.engine"
    path.write_bytes(b"plan")
    return path


def record_of(engine, compiler="tensorrt", profile=RANGE, **options) -> EngineRecord:
    asked = BuildOptions(profile, **options)
    name, capabilities = (GPU.name, (GPU.capability,)) if compiler == "tensorrt" else ("", ("8.6", "8.9"))
    record = EngineRecord(
        CARD, "m.onnx", "a" * 64, sha256_of(engine), compiler, "10.3.0", name, capabilities, {"fp16": 23}, asked
    )
    write_record(engine, record)
    return record


def segment(runtime, times):
    for _ in range(times):
        runtime.result(runtime.submit([np.zeros((1, 76, 76), np.uint8)], [GreyScale(np.zeros(1), np.ones(1))]))


@pytest.mark.parametrize(
    ("compiler", "profile", "context", "calls"),
    [
        ("tensorrt", RANGE, "ours", ["run", "run", "run"]),
        ("tensorrt", FIXED, "ours", ["run", "capture", "run", "launch", "launch", "close"]),
        ("tensorrt_rtx", RANGE, "none", ["run", "run", "run"]),
        ("tensorrt_rtx", FIXED, "whole", ["run", "run", "run"]),  # which captures by itself
    ],
)
def test_a_fixed_shape_is_captured_as_a_graph_and_a_range_is_not(played, engine, compiler, profile, context, calls):
    with played.open(engine, record_of(engine, compiler, profile), GPU, slots=1) as runtime:
        assert runtime.limits == profile.limits
        segment(runtime, 3)
    assert ("context", context) in played.calls
    assert [each for each in played.calls if isinstance(each, str)] == calls
    assert played.device.held == 0


def test_every_slot_has_its_own_graph(played, engine):
    with played.open(engine, record_of(engine, profile=FIXED), GPU, slots=2) as runtime:
        segment(runtime, 6)
    assert [played.calls.count(each) for each in ("run", "capture", "launch", "close")] == [4, 2, 4, 2]


def test_rtx_finishes_an_engine_once_for_a_gpu(played, engine, tmp_path):
    record = record_of(engine, "tensorrt_rtx")
    played.open(engine, record, GPU).close()
    assert not any(each[0] == "finished before" for each in played.calls)
    (kept,) = (tmp_path / "cache").glob("*.kernels")
    assert kept.read_bytes() == b"kernels"
    played.module.kernels = b"more kernels"
    played.open(engine, record, GPU).close()
    assert ("finished before", b"kernels") in played.calls
    assert kept.read_bytes() == b"more kernels"
    played.open(engine, record, replace(GPU, name="NVIDIA RTX A2000")).close()
    assert len(list((tmp_path / "cache").glob("*.kernels"))) == 2


def test_tensorrt_keeps_no_kernels(played, engine, tmp_path):
    played.open(engine, record_of(engine), GPU).close()
    assert not (tmp_path / "cache").exists()


def test_what_the_engine_tells_of_its_layers_goes_to_the_record_once(played, engine):
    record = record_of(engine)
    played.open(engine, record, GPU).close()
    assert read_record(engine) == replace(record, inspected={"Half": 3})


def test_an_engine_that_cannot_be_loaded_is_refused_with_the_reason(played, engine):
    played.module.refuses = True
    with pytest.raises(DeviceError, match=r"tensorrt cannot load it \(another version of it\); look at: .* doctor"):
        played.open(engine, record_of(engine), GPU)
    assert played.device.held == 0


def test_probabilities_that_it_does_not_return_are_said_with_the_command_that_brings_them(played, engine):
    record = record_of(engine, pixels="uint16", workspace=1 << 30)
    wanted = replace(record, options=replace(record.options, probabilities=True)).rebuild_command(engine)
    with pytest.raises(DeviceError) as refused:
        played.open(engine, record, GPU, probabilities=True)
    assert str(refused.value).endswith(wanted)
    assert "--output probabilities" in wanted
    assert "--workspace 1073741824" in wanted


def test_a_tile_is_within_what_the_engine_takes(played, engine):
    record = record_of(engine)
    with played.open(engine, record, GPU, tile_size=60) as runtime:
        assert runtime.limits.most == (60, 60)
    for side in (43, 77):
        with pytest.raises(UsageError, match="takes 44 x 44 to 76 x 76 pixels; leave it out"):
            played.open(engine, record, GPU, tile_size=side)
