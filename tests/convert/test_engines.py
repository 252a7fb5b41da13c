"""An engine takes its name only when it is whole and, where that was asked for, proved."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from unet_deploy.convert import engines
from unet_deploy.convert.engines import ProofImage, make_engine
from unet_deploy.errors import DeviceError, ImageError, UsageError, VerificationError
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import read_record, record_path, set_accuracy
from unet_deploy.system.kernel import try_lock

pytest.importorskip("tensorrt_rtx")
ASKED = BuildOptions(Profile((1, 44, 44), (1, 76, 76), (2, 76, 76)), targets=("sm86",))
GOOD = Agreement(1_000_000, 12, 0, 0.003, 0, image="slide.tif", tiles=4)
BAD = replace(GOOD, labels_differ=2_000)


@pytest.fixture
def model(small_models):
    return read_model(small_models["one"])


@pytest.fixture
def compiler():
    return find_compiler("tensorrt_rtx")


@pytest.fixture
def slide(tmp_path_factory, speckle):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    tifffile.imwrite(path, speckle)
    return path


@pytest.fixture
def found_to(monkeypatch):
    """Say what the comparison on a GPU finds: an accuracy, or an error."""

    def set_finding(finding):
        def verify_against(built, model, image, *, limit_ppm, reading):
            if isinstance(finding, Exception):
                raise finding
            set_accuracy(engines.Path(built), finding)
            return finding

        monkeypatch.setattr(engines, "verify_against", verify_against)

    return set_finding


def test_without_an_image_it_is_unverified(model, compiler, tmp_path):
    steps = []
    record = make_engine(
        model, tmp_path / "e.engine", ASKED, compiler, progress=lambda *step: steps.append(step), notify=pytest.fail
    )
    assert record == read_record(tmp_path / "e.engine")
    assert record.accuracy is None
    assert record.options == ASKED
    assert steps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.engine", "e.engine.json"]


def test_what_was_found_stands_in_the_record(model, compiler, slide, tmp_path, found_to):
    found_to(GOOD)
    record = make_engine(model, tmp_path / "e.engine", ASKED, compiler, proof=ProofImage(slide), notify=pytest.fail)
    assert record.accuracy == GOOD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.engine", "e.engine.json"]


def test_an_engine_that_is_there_stays_until_there_is_a_better_one(model, compiler, slide, tmp_path, found_to):
    engine = tmp_path / "e.engine"
    before = make_engine(model, engine, ASKED, compiler)
    found_to(BAD)
    with pytest.raises(VerificationError, match=r"e\.engine: not the model's answer"):
        make_engine(model, engine, replace(ASKED, pixels="uint16"), compiler, proof=ProofImage(slide), overwrite=True)
    assert read_record(engine) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.engine", "e.engine.json"]
    found_to(GOOD)
    make_engine(model, engine, replace(ASKED, pixels="uint16"), compiler, proof=ProofImage(slide), overwrite=True)
    assert read_record(engine).options.pixels == "uint16"


def test_an_engine_that_cannot_run_here_is_said_to_be_unverified(model, compiler, slide, tmp_path, found_to):
    found_to(DeviceError("no NVIDIA GPU"))
    said = []
    record = make_engine(model, tmp_path / "e.engine", ASKED, compiler, proof=ProofImage(slide), notify=said.append)
    assert record.accuracy is None
    assert said == ["note: unverified: no NVIDIA GPU"]


def test_an_image_that_does_not_fit_is_refused_before_anything_is_compiled(model, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "build_engine", lambda *rest, **more: pytest.fail("compiled"))
    compiler = find_compiler("tensorrt_rtx")
    for pixels, error, says in (
        (np.zeros((50, 50), np.uint16), UsageError, "takes uint8 pixels, but the image has uint16"),
        (np.zeros((50, 50, 3), np.uint8), ImageError, "3 channels"),
    ):
        tifffile.imwrite(tmp_path / "wrong.tif", pixels)
        with pytest.raises(error, match=says):
            make_engine(model, tmp_path / "e.engine", ASKED, compiler, proof=ProofImage(tmp_path / "wrong.tif"))


def test_neither_an_engine_nor_a_record_is_replaced_without_being_told(model, compiler, tmp_path):
    for taken in (tmp_path / "e.engine", record_path(tmp_path / "e.engine")):
        taken.write_text("mine")
        with pytest.raises(UsageError, match="--overwrite"):
            make_engine(model, tmp_path / "e.engine", ASKED, compiler)
        taken.unlink()


def test_an_engine_has_a_name_of_engines(model, tmp_path):
    for name in ("e.onnx", "e.tif", "e", "."):
        with pytest.raises(UsageError, match=r"engines end in \.engine; try"):
            make_engine(model, tmp_path / name, ASKED, None)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_goes_and_one_at_work_is_not_disturbed(model, compiler, tmp_path):
    left = tmp_path / ".e.engine.part"
    left.mkdir()
    (left / "e.engine").write_bytes(b"half of it")
    with (left / "lock").open("wb") as file:
        assert try_lock(file)
        with pytest.raises(UsageError, match="another run"):
            make_engine(model, tmp_path / "e.engine", ASKED, compiler)
    assert (left / "e.engine").exists()
    make_engine(model, tmp_path / "e.engine", ASKED, compiler)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.engine", "e.engine.json"]
