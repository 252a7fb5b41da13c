"""The record of an engine: what it says comes back as it was, or is refused in one line with the remedy."""

import copy
import json
import shlex
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from unet_deploy.errors import ModelError
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.tensorrt.library import version_numbers
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile, capability_of, target_of
from unet_deploy.runtimes.tensorrt.record import EngineRecord, check_runs_here, record_path
from unet_deploy.system.gpu import Gpu

CARD = ModelCard("cells", 1, ("background", "cell"), 20, 4, 44)
ENGINE = Path("a folder/cells.engine")
A4000 = Gpu(0, "NVIDIA RTX A4000", "8.6", "13.0")


@st.composite
def profiles(draw):
    """Three shapes that grow, or one shape alone."""
    if draw(st.booleans()):
        return Profile.of(*[draw(st.integers(1, 4000)) for _ in range(3)])
    low, middle, high = np.sort(draw(st.lists(st.tuples(*[st.integers(1, 4000)] * 3), min_size=3, max_size=3)), axis=0)
    return Profile(tuple(low.tolist()), tuple(middle.tolist()), tuple(high.tolist()))


build_options = st.builds(
    BuildOptions,
    profile=profiles(),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    pixels=st.sampled_from(["uint8", "uint16", "float32"]),
    probabilities=st.booleans(),
    targets=st.lists(st.sampled_from(["sm75", "sm86", "sm89", "sm120"]), unique=True).map(tuple),
    workspace=st.none() | st.integers(0, 1 << 50),
    optimization_level=st.none() | st.integers(0, 5),
    compatibility=st.sampled_from(["none", "same", "ampere"]),
    version_compatible=st.booleans(),
)


def record_of(options: BuildOptions, **changes) -> EngineRecord:
    record = EngineRecord(
        CARD, "m.onnx", "a" * 64, "b" * 64, "tensorrt", "10.3.0", "NVIDIA T4", ("7.5",), {"fp16": 23}, options
    )
    return replace(record, **changes)


@pytest.fixture
def record() -> EngineRecord:
    return record_of(BuildOptions(Profile((1, 44, 44), (2, 76, 92), (4, 108, 108)), targets=("sm86", "sm89")))


@given(build_options)
def test_a_record_comes_back_as_it_was_written(options):
    accuracy = Agreement(1_000_000, 12, 0, 0.003, 0, image="a.tif", tiles=4)
    for record in (record_of(options), record_of(options, accuracy=accuracy, inspected={"Half": 3})):
        assert EngineRecord.from_json(record.to_json(), ENGINE) == record


# -- the command that makes it again -------------------------------------------------------------------------


class Asked(Exception):
    """Stops the command where it would compile; tells what it was asked for."""


def asked_of_the_command_line(command: str, engine: Path):
    """What `build-engine` would compile: (model, engine, options, compiler, overwrite)."""

    def make_engine(model, output, options, compiler, *, overwrite, **rest):
        raise Asked(model.path, output, options, compiler.name, overwrite)

    def find_compiler(name, **rest):
        found = mock.Mock()
        found.name, found.with_timings.return_value = name, found
        return found

    from unet_deploy.cli.app import app

    with (
        mock.patch("unet_deploy.convert.engines.make_engine", make_engine),
        mock.patch("unet_deploy.runtimes.tensorrt.compilers.find_compiler", find_compiler),
    ):
        program, *words = shlex.split(command)
        assert program == "unet-deploy"
        done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, Asked), (command, done.output, done.exception)
    return done.exception.args


@given(build_options, st.sampled_from(["tensorrt", "tensorrt_rtx"]))
def test_the_rebuild_command_asks_for_every_option_again(nuclei, options, compiler):
    record = record_of(options, compiler=compiler, model=str(nuclei))
    asked = asked_of_the_command_line(record.rebuild_command(ENGINE), ENGINE)
    assert asked == (nuclei, ENGINE, options, compiler, True)


def test_the_rebuild_command_for_another_gpu_names_that_gpu_too(record):
    record = replace(record, gpu="", compiler="tensorrt_rtx", capabilities=("8.6", "8.9"))
    with pytest.raises(Exception, match=r"build it again here: .* --target sm86,sm89,sm120"):
        check_runs_here(record, ENGINE, record.compiler_version, replace(A4000, capability="12.0"))


# -- which version loads it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "exact", "compatible"),
    [
        ("10.3.0", True, True),
        ("10.3.1", False, True),
        ("10.13.0", False, True),
        ("10.2.9", False, False),
        ("11.0.0", False, False),
    ],
)
def test_a_later_minor_version_loads_an_engine_that_was_built_for_that(record, version, exact, compatible):
    wide = replace(record, options=replace(record.options, version_compatible=True))
    here = Gpu(0, "NVIDIA T4", "7.5", "13.0")
    for each, loads in ((record, exact), (wide, compatible)):
        if loads:
            check_runs_here(each, ENGINE, version, here)
        else:
            with pytest.raises(Exception, match=f"made by tensorrt 10.3.0, but {version} is installed here"):
                check_runs_here(each, ENGINE, version, here)


def test_versions_and_targets_are_numbers():
    assert version_numbers("10.3.0.26") == (10, 3, 0, 26)
    assert version_numbers("10.13") > version_numbers("10.3")
    for target, capability in (("sm75", "7.5"), ("sm86", "8.6"), ("sm120", "12.0")):
        assert capability_of(target) == capability
        assert target_of(capability) == target


# -- what is damaged, or older -------------------------------------------------------------------------------


def paths_in(plain, at=()):
    """Every place in a nest of dictionaries and lists."""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from paths_in(value, (*at, key))


def whole() -> dict:
    options = BuildOptions(
        Profile((1, 44, 44), (2, 76, 92), (4, 108, 108)), targets=("sm86", "sm89"), workspace=1 << 20
    )
    accuracy = Agreement(1_000_000, 12, 0, 0.003, 0, image="a.tif", tiles=4)
    return json.loads(record_of(options, accuracy=accuracy, inspected={"Half": 3}).to_json())


JUNK = [None, True, -1, 0, 3, 1e999, 0.5, "junk", "", [], ["junk"], [1, 2, 3], {}, {"junk": 1}]


@given(st.sampled_from(list(paths_in(whole()))), st.sampled_from(JUNK))
def test_a_value_that_is_damaged_is_refused_in_one_line_or_does_no_harm(at, junk):
    plain = whole()
    place = plain
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = copy.deepcopy(junk)
    try:
        record = EngineRecord.from_json(json.dumps(plain), ENGINE)
    except ModelError as refused:
        said = str(refused)
    else:
        assert EngineRecord.from_json(record.to_json(), ENGINE) == record
        assert record.rebuild_command(ENGINE)
        return
    assert said.startswith(f"{record_path(ENGINE)}: ")
    assert "build the engine again" in said
    assert "\n" not in said


@given(st.sampled_from([at for at in paths_in(whole()) if at[0] == "options" and isinstance(at[-1], str)]))
def test_an_option_that_is_missing_is_refused(at):
    plain = whole()
    place = plain
    for key in at[:-1]:
        place = place[key]
    del place[at[-1]]
    with pytest.raises(ModelError, match=r"cannot be read .* build the engine again"):
        EngineRecord.from_json(json.dumps(plain), ENGINE)


@given(build_options)
def test_a_record_of_the_older_format_is_refused_with_the_command_that_makes_it_again(options):
    record = record_of(options)
    plain = json.loads(record.to_json())
    profile = plain["options"]["profile"]
    plain["options"]["profile"] = {"least": profile["min"], "best": profile["opt"], "most": profile["max"]}
    with pytest.raises(ModelError) as refused:
        EngineRecord.from_json(json.dumps({**plain, "format": 1}), ENGINE)
    assert str(refused.value) == (
        f"{record_path(ENGINE)}: written by an older version of unet-deploy; "
        f"build the engine again: {record.rebuild_command(ENGINE)}"
    )


def test_a_record_without_end_is_refused(record):
    with pytest.raises(ModelError, match="cannot be read"):
        EngineRecord.from_json('{"card": ' + "[" * 100_000, ENGINE)
