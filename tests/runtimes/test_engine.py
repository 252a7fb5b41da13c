"""Engines are really compiled here, by TensorRT for RTX, which needs no GPU to compile."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unet_deploy.errors import DeviceError, ModelError, ResourceError, UsageError, VerificationError
from unet_deploy.model.onnx_file import ModelFile, read_model
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.tensorrt import compilers
from unet_deploy.runtimes.tensorrt.build import build_engine
from unet_deploy.runtimes.tensorrt.compiler import Compiler, RunsOn
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import (
    EngineRecord,
    check_runs_here,
    read_record,
    record_path,
    set_accuracy,
)
from unet_deploy.runtimes.tensorrt.rtx import RtxCompiler
from unet_deploy.system.gpu import Gpu
from unet_deploy.zoo import find_reference

pytest.importorskip("tensorrt_rtx")
A4000 = Gpu(0, "NVIDIA RTX A4000", "8.6", "13.0")
H200 = Gpu(0, "NVIDIA H200", "9.0", "13.0")


@pytest.fixture(scope="module")
def compiler():
    return find_compiler("tensorrt_rtx")


def options(model: ModelFile, **changes) -> BuildOptions:
    side = model.card.base + 8 * model.card.stride
    profile = Profile((1, model.card.base, model.card.base), (1, side, side), (2, side, side))
    return replace(BuildOptions(profile, targets=("sm86", "sm89")), **changes)


@pytest.fixture
def built(small_models, compiler, tmp_path):
    model, engine = read_model(small_models["one"]), tmp_path / "one.engine"
    return model, engine, build_engine(model, engine, options(model), compiler)


def test_the_shipped_model_compiles_and_its_record_says_what_it_is(nuclei, compiler, tmp_path):
    model, engine = read_model(nuclei), tmp_path / "nuclei.engine"
    steps = []
    asked = BuildOptions(Profile((1, 188, 188), (1, 572, 572), (2, 1212, 1212)), targets=("sm86", "sm89", "sm120"))
    record = build_engine(model, engine, asked, compiler, progress=lambda *step: steps.append(step))
    assert read_record(engine) == record
    assert record.layers == {"fp16": 23}
    assert record.capabilities == ("8.6", "8.9", "12.0")
    assert record.limits.batch == 2
    assert (record.limits.least, record.limits.most) == ((188, 188), (1212, 1212))
    assert record.accuracy is None
    assert "unverified" in record_path(engine).read_text()
    assert record.weights_sha256 == model.weights_sha256
    assert steps
    assert all(0 <= done <= total for done, total, _ in steps)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.long
def test_the_original_network_of_31_million_parameters_compiles(compiler, tmp_path):
    torch = pytest.importorskip("torch")
    from trainer.export import build
    from trainer.unet import UNet
    from unet_deploy.model.onnx_file import save

    torch.manual_seed(0)
    network = UNet(1, 2, width=64, depth=4).eval()
    card = card_of(network)
    save(build(network, card), card, tmp_path / "full.onnx")
    model = read_model(tmp_path / "full.onnx")
    for pixels in ("uint8", "uint16", "float32"):
        asked = BuildOptions(Profile.of(1, 572, 572), pixels=pixels, probabilities=True, targets=("sm89",))
        record = build_engine(model, tmp_path / f"{pixels}.engine", asked, compiler)
        assert record.layers == {"fp16": 23}
        assert record.limits.fixed
        assert (tmp_path / f"{pixels}.engine").stat().st_size > 50e6  # 31 million weights of two bytes


def card_of(network):
    from unet_deploy.model.card import ModelCard

    return ModelCard("full", 1, ("a", "b"), network.margin, network.stride, network.base)


def test_fp32_is_fp32(small_models, compiler, tmp_path):
    model = read_model(small_models["three"])
    record = build_engine(model, tmp_path / "e.engine", options(model, precision="fp32"), compiler)
    assert set(record.layers) == {"fp32"}


def test_int8_layers_are_found_in_a_quantized_model(small_models, compiler, tmp_path, speckle):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            image = speckle[None, None, :300, :300].astype(np.float32)
            self.left = iter([{"image": image}])

        def get_next(self):
            return next(self.left, None)

    path = tmp_path / "int8.onnx"
    source = small_models["three"]
    quantize_static(
        str(source),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False},
        op_types_to_quantize=["Conv"],
    )
    model = read_model(path)
    record = build_engine(model, tmp_path / "e.engine", options(model, precision="int8"), compiler)
    assert record.layers["int8"] >= 10
    with pytest.raises(ModelError, match="take --precision int8"):
        build_engine(model, tmp_path / "f.engine", options(model), compiler)


# -- an engine is never used on trust ------------------------------------------------------------------------


def test_another_gpu_another_version_and_the_remedy_are_said(built):
    _, engine, record = built
    check_runs_here(record, engine, record.compiler_version, A4000)
    with pytest.raises(
        DeviceError, match=r"compiled for compute capability 8\.6, 8\.9, but here is NVIDIA H200 \(9\.0\)"
    ):
        check_runs_here(record, engine, record.compiler_version, H200)
    with pytest.raises(DeviceError, match=r"made by tensorrt_rtx .*, but 1\.0\.0 is installed here; .*build-engine"):
        check_runs_here(record, engine, "1.0.0", A4000)
    here = replace(record, gpu="NVIDIA RTX A4000", capabilities=("8.6",))
    with pytest.raises(DeviceError, match="compiled for NVIDIA RTX A4000, but here is NVIDIA RTX A5000"):
        check_runs_here(here, engine, record.compiler_version, replace(A4000, name="NVIDIA RTX A5000"))
    wide = replace(here, options=replace(record.options, compatibility="ampere", targets=()))
    check_runs_here(wide, engine, record.compiler_version, H200)


@pytest.mark.parametrize("damage", ["truncated", "foreign byte", "swapped"])
def test_a_damaged_plan_is_refused_before_it_is_loaded(built, damage):
    _, engine, _ = built
    plan = engine.read_bytes()
    changed = plan[: len(plan) // 2] if damage == "truncated" else b"x" + plan[1:]
    if damage == "swapped":
        changed = b"ftrt" + plan
    engine.write_bytes(changed)
    with pytest.raises(ModelError, match=r"is not the engine that one\.engine\.json describes .* build it again"):
        read_record(engine)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"format": 99}', "another version"),
        ("[1]", "cannot be read"),
    ],
)
def test_a_damaged_record_is_refused(built, text, says):
    _, engine, _ = built
    record_path(engine).write_text(text)
    with pytest.raises(ModelError, match=says):
        read_record(engine)
    record_path(engine).write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match="cannot be read"):
        read_record(engine)
    record_path(engine).unlink()
    with pytest.raises(ModelError, match="has no record"):
        read_record(engine)


def test_the_rebuild_command_makes_the_same_engine_again(built, small_models):
    _, engine, record = built
    command = record.rebuild_command(engine)
    assert command.startswith("unet-deploy build-engine ")
    done = subprocess.run(
        [sys.executable, "-m", "unet_deploy.cli", *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = read_record(engine)
    assert (again.options, again.weights_sha256) == (record.options, record.weights_sha256)


def test_the_reference_of_an_engine_is_found_by_its_weights(built, small_models, tmp_path):
    _, engine, record = built
    assert find_reference(engine, record) == Path(small_models["one"])
    other = replace(record, weights_sha256="0" * 64)
    with pytest.raises(VerificationError, match="was never compared with its model"):
        find_reference(engine, other)


def test_the_accuracy_is_kept_in_the_record(built):
    _, engine, record = built
    accuracy = Agreement(2_000_000, 25, 3, 0.003, 0, image="a.tif", tiles=4)
    set_accuracy(engine, accuracy)
    assert read_record(engine) == replace(record, accuracy=accuracy)
    assert accuracy.holds
    for bad in (replace(accuracy, labels_differ=2002), replace(accuracy, not_finite=1)):
        with pytest.raises(VerificationError, match="not the model's answer"):
            bad.require("engine")


# -- what cannot be compiled ---------------------------------------------------------------------------------


def test_an_operator_that_the_compiler_does_not_know_is_named(small_models, compiler, tmp_path):
    model = read_model(small_models["three"])
    relu = next(node for node in model.proto.graph.node if node.op_type == "Relu")
    relu.op_type = "Bernoulli"
    with pytest.raises(ModelError, match=r"cannot compile this model: node '.*' \(Bernoulli\)"):
        build_engine(model, tmp_path / "e.engine", options(model, precision="fp32"), compiler)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"targets": ("sm90",)}, DeviceError, "--target sm90: tensorrt_rtx .* knows sm120, .*sm86"),
        ({"targets": ()}, DeviceError, "compiles for the GPU at hand, but there is no NVIDIA GPU.*--target"),
        ({"version_compatible": True}, UsageError, "are TensorRT's"),
        ({"compatibility": "ampere"}, UsageError, "are TensorRT's"),
        ({"workspace": 1 << 12}, ResourceError, "no room to compile .*--workspace"),
        ({"profile": Profile.of(1, 101, 100)}, UsageError, "takes sides of .* the nearest to 101 are"),
        ({"profile": Profile((1, 44, 44), (2, 44, 44), (1, 44, 44))}, UsageError, "must grow in this order"),
        ({"profile": Profile((2, 44, 44), (2, 44, 44), (4, 44, 44))}, UsageError, "an image may end with one"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(small_models, compiler, tmp_path, change, error, says):
    model = read_model(small_models["one"])
    with pytest.raises(error, match=says):
        build_engine(model, tmp_path / "e.engine", options(model, **change), compiler)
    assert not list(tmp_path.iterdir())


def test_an_engine_is_not_replaced_without_being_told(built, compiler):
    model, engine, _ = built
    with pytest.raises(UsageError, match="--overwrite"):
        build_engine(model, engine, options(model), compiler)


def test_a_compiler_that_is_not_here_is_said():
    with pytest.raises(DeviceError, match=r"pip install 'unet-deploy\[tensorrt\]'"):
        find_compiler("tensorrt")
    with pytest.raises(UsageError, match="there are tensorrt"):
        find_compiler("nvcc")


def test_auto_takes_tensorrt_first_and_for_targets_only_what_compiles_ahead_of_time(monkeypatch):
    installed = {"tensorrt_rtx"}
    monkeypatch.setattr(compilers, "is_installed", lambda name: name in installed)
    assert find_compiler().name == find_compiler(targets=True).name == "tensorrt_rtx"
    installed.add("tensorrt")
    monkeypatch.setitem(compilers.COMPILERS, "tensorrt", PlayedTensorRt)
    assert find_compiler().name == "tensorrt"
    assert find_compiler(targets=True).name == "tensorrt_rtx"
    installed.clear()
    with pytest.raises(
        DeviceError, match=r"pip install 'unet-deploy\[tensorrt\]', or pip install 'unet-deploy\[tensorrt-rtx\]'"
    ):
        find_compiler()
    with pytest.raises(DeviceError, match=r"pip install 'unet-deploy\[tensorrt-rtx\]'$"):
        find_compiler(targets=True)


class PlayedTensorRt(Compiler):
    """TensorRT 10.3 as far as it is asked what it has."""

    def __init__(self):
        levels = dict.fromkeys(["NONE", "AMPERE_PLUS"])
        self.trt, self.version = SimpleNamespace(HardwareCompatibilityLevel=SimpleNamespace(__members__=levels)), "10.3"


def test_what_tensorrt_does_not_have_is_said(small_models):
    model, tensorrt = read_model(small_models["one"]), PlayedTensorRt()
    tensorrt.check(options(model, targets=(), compatibility="ampere", version_compatible=True))
    with pytest.raises(UsageError, match="TensorRT compiles for the GPU at hand; use --compiler tensorrt_rtx"):
        tensorrt.check(options(model))
    with pytest.raises(DeviceError, match=r"--hardware-compatibility same: TensorRT 10\.3 does not have it"):
        tensorrt.check(options(model, targets=(), compatibility="same"))


def test_an_engine_of_tensorrt_runs_on_the_gpu_that_it_was_compiled_for(small_models):
    asked = options(read_model(small_models["one"]), targets=())
    assert PlayedTensorRt().runs_on(asked, H200) == RunsOn("NVIDIA H200", ("9.0",))
    assert RtxCompiler().runs_on(asked, H200) == RunsOn("NVIDIA H200", ("9.0",))
    assert RtxCompiler().runs_on(replace(asked, targets=("sm86", "sm120")), H200) == RunsOn("", ("8.6", "12.0"))


def test_kernel_timings_are_read_before_a_build_and_written_after_it(tmp_path):
    file, given = tmp_path / "kernels.timings", []
    config = SimpleNamespace(
        create_timing_cache=given.append,
        set_timing_cache=lambda cache, ignore_mismatch: True,
        get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"timings"),
    )
    timed = PlayedTensorRt().with_timings(file)
    with pytest.raises(KeyboardInterrupt), timed._timings(config):
        raise KeyboardInterrupt
    assert not file.exists()
    for _ in range(2):
        with timed._timings(config):
            pass
    assert file.read_bytes() == b"timings"
    assert given == [b"", b"", b"timings"]


def test_rtx_times_no_kernels(small_models, compiler, tmp_path):
    model = read_model(small_models["one"])
    build_engine(model, tmp_path / "e.engine", options(model), compiler.with_timings(tmp_path / "kernels.timings"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.engine", "e.engine.json"]


def test_a_build_that_is_killed_leaves_nothing_half_written(small_models, tmp_path):
    """Killed at random moments: there is a whole engine with its record, or there is none that could be used."""
    command = [sys.executable, "-m", "unet_deploy.cli", "build-engine", str(small_models["deep"])]
    command += ["-o", str(tmp_path / "e.engine"), "--target", "sm86", "--overwrite"]
    for delay in (0.2, 0.5, 0.7, 0.8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if (tmp_path / "e.engine").exists() and record_path(tmp_path / "e.engine").exists():
            assert isinstance(read_record(tmp_path / "e.engine"), EngineRecord)
            json.loads(record_path(tmp_path / "e.engine").read_text())
