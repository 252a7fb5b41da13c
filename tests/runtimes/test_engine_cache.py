"""The cache of engines: once for all processes, keyed by all that decides, and never trusted when it is damaged."""

import subprocess
import sys
from dataclasses import replace

import pytest

from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.tensorrt import cache as engine_cache
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import read_record, record_path
from unet_deploy.system.gpu import Gpu

pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked():
    return BuildOptions(Profile((1, 44, 44), (1, 76, 76), (1, 76, 76)), targets=("sm86",))


A4000 = Gpu(0, "RTX A4000", "8.6", "13.0")
A5000 = replace(A4000, name="RTX A5000")


def compile_it(model, asked, gpu=A4000):
    return engine_cache.cached_engine(model, asked, find_compiler("tensorrt_rtx"), gpu)


def test_an_engine_is_compiled_once(folder, small_models, asked):
    model = read_model(small_models["one"])
    engine = compile_it(model, asked)
    made = engine.stat().st_mtime_ns
    assert compile_it(model, asked) == engine
    assert engine.stat().st_mtime_ns == made
    assert engine.parent == folder


def test_everything_that_decides_an_engine_is_in_its_key(folder, small_models, asked):
    model, other = read_model(small_models["one"]), read_model(small_models["colour"])
    wide = Profile((1, 44, 44), (1, 92, 92), (1, 92, 92))
    wanted = [
        (model, asked, A4000),
        (model, asked, A5000),
        (model, replace(asked, precision="fp32"), A4000),
        (model, replace(asked, pixels="uint16"), A4000),
        (model, replace(asked, probabilities=True), A4000),
        (model, replace(asked, profile=wide), A4000),
        (model, replace(asked, targets=("sm89",)), A4000),
        (other, asked, A4000),
    ]
    assert len({compile_it(*each).name for each in wanted}) == len(wanted)


@pytest.mark.parametrize("damage", ["plan", "record", "no record", "no plan"])
def test_a_damaged_entry_is_compiled_again(folder, small_models, asked, damage):
    model = read_model(small_models["one"])
    engine = compile_it(model, asked)
    whole = engine.read_bytes()
    if damage == "plan":
        engine.write_bytes(whole[:-1000])
    elif damage == "record":
        record_path(engine).write_text("{")
    elif damage == "no record":
        record_path(engine).unlink()
    else:
        engine.unlink()
    assert compile_it(model, asked) == engine
    assert read_record(engine).weights_sha256 == model.weights_sha256


def test_of_two_processes_at_once_one_compiles(folder, small_models):
    """Both end with the engine, and only the first to come has compiled it."""
    script = """
import sys
from pathlib import Path
from unet_deploy.runtimes.tensorrt import cache as engine_cache
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.model.onnx_file import read_model
from unet_deploy.system.gpu import Gpu
steps = []
asked = BuildOptions(Profile((1, 188, 188), (1, 572, 572), (1, 572, 572)), targets=("sm86",))
model = read_model(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
gpu = Gpu(0, "RTX A4000", "8.6", "13.0")
engine = engine_cache.cached_engine(
    model, asked, find_compiler("tensorrt_rtx"), gpu, progress=lambda *step: steps.append(step)
)
print(engine, any("compiling" in title for _, _, title in steps))
"""
    command = [sys.executable, "-c", script, str(small_models["deep"])]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0].split() for process in both]
    assert said[0][0] == said[1][0]
    assert sorted(each[1] for each in said) == ["False", "True"]
