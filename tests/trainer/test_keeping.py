"""What a training saves is whole and finite, and stands in nobody's place."""

import errno
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from broken import press_ctrl_c

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from trainer import train as training  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.finite import is_finite  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.run import start  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.told import Told  # noqa: E402
from trainer.train import train  # noqa: E402
from trainer.weights import load_weights  # noqa: E402
from unet_deploy.errors import ResourceError, UsageError  # noqa: E402

TINY = replace(PRESETS["modern"], width=4, depth=1, tile=42, batch=1, steps=6, warmup=1, w0=0.0)
CELLS = ModelDescription(("background", "cell"))
NAMES = ("w.pt", "w.checkpoint.pt", "w.csv", "w.curves.png", "w.validation.png")


def run(folder, output, recipe=TINY, **options):
    return train(DataSet(folder), output, recipe, CELLS, evaluate_every=2, **options)


def held(folder):
    """Everything in a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def state():
    return start(TINY, 1, 2, torch.device("cpu"))


IMAGE = np.random.default_rng(0).random((1, 30, 40), np.float32)


def test_a_fresh_network_answers_numbers(state):
    assert is_finite(state, IMAGE, torch.device("cpu"))


@pytest.mark.parametrize("network", ["model", "averaged"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30], ids=["nan", "inf", "numbers-whose-sum-is-none"])
@torch.no_grad()
def test_weights_that_answer_none_are_seen(state, network, value):
    for weight in getattr(state, network).parameters():
        weight.fill_(value)
    assert not is_finite(state, IMAGE, torch.device("cpu"))


def test_a_momentum_that_is_none_is_seen(state):
    state.optimizer.state[next(state.model.parameters())]["momentum"] = torch.tensor(float("nan"))
    assert not is_finite(state, IMAGE, torch.device("cpu"))


def spoil_after(step, monkeypatch):
    """Make the weights NaN by the update of this step, whose loss is a number still."""
    real = training.step

    @torch.no_grad()
    def spoiled(run, *rest):
        with torch.enable_grad():
            loss = real(run, *rest)
        if run.step == step:
            for network in (run.model, run.averaged):
                next(network.parameters()).fill_(float("nan"))
        return loss

    monkeypatch.setattr(training, "step", spoiled)
    return lambda: monkeypatch.setattr(training, "step", real)


@pytest.mark.parametrize("step", [4, 5, 6], ids=["at a validation", "interrupted", "at the last step"])
def test_weights_that_are_none_are_never_saved_over_good_ones(folder, tmp_path, monkeypatch, step):
    seen = {}

    def look(state):
        if state.step == step - 1:
            seen.update(held(tmp_path))
        if state.step == step == 5:
            press_ctrl_c()

    mend = spoil_after(step, monkeypatch)
    kept = (step - 1) // 2 * 2
    told = Told(progress=look)
    with pytest.raises(
        ResourceError, match=f"is no number at step {step}; what was good at step {kept} is kept; .*rate"
    ):
        run(folder, tmp_path / "w.pt", told=told)
    assert held(tmp_path) == seen
    mend()
    run(folder, tmp_path / "w.pt", replace(TINY, learning_rate=1e-5), resume=True)
    assert all(value.isfinite().all() for value in load_weights(tmp_path / "w.pt")[0].state_dict().values())


def test_where_nothing_was_saved_yet_the_remedy_is_to_start_again(folder, tmp_path, monkeypatch):
    spoil_after(1, monkeypatch)
    with pytest.raises(ResourceError, match="nothing of this run was saved; start again, at a lower --learning-rate"):
        run(folder, tmp_path / "w.pt")
    assert held(tmp_path) == {}


def test_weights_that_are_missing_are_written_again_from_the_checkpoint(folder, tmp_path):
    def interrupt(state):
        if state.step == 2:
            press_ctrl_c()

    output, seen = tmp_path / "w.pt", []
    with pytest.raises(KeyboardInterrupt):
        run(folder, output, told=Told(progress=interrupt))
    expected = output.read_bytes()
    output.unlink()
    run(folder, output, resume=True, told=Told(progress=lambda state: seen.append(output.read_bytes())))
    assert seen[0] == expected


def test_a_run_that_was_killed_while_it_saved_is_finished_by_the_one_that_goes_on(folder, tmp_path):
    output = tmp_path / "w.pt"
    run(folder, output)
    expected = {name: data for name, data in held(tmp_path).items() if not name.endswith(".png")}
    (tmp_path / "w.csv").unlink()
    for name in ("w.checkpoint.pt", "w.pt", "w.csv"):
        (tmp_path / f".{name}.4194304.beef.part").write_bytes(b"half")
    run(folder, output, resume=True)
    assert {name: data for name, data in held(tmp_path).items() if not name.endswith(".png")} == expected


# -- room ------------------------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_known_before_the_first_step(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    steps = []
    with pytest.raises(ResourceError, match=r"w\.checkpoint\.pt: no space left on its disk"):
        run(folder, tmp_path / "w.pt", told=Told(progress=steps.append))
    assert (steps, held(tmp_path)) == ([], {})


def test_a_disk_that_fills_is_one_line_and_keeps_the_last_checkpoint(folder, tmp_path, monkeypatch):
    seen = {}

    def fill(state):
        if state.step == 3:
            seen.update(held(tmp_path))
            monkeypatch.setattr("pathlib.Path.write_bytes", full)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceError, match=r"w\.checkpoint\.pt: no space left on its disk"):
        run(folder, tmp_path / "w.pt", told=Told(progress=fill))
    assert held(tmp_path) == seen


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_file_of_the_user_is_replaced(folder, tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(UsageError, match=rf"{name} exists; pass"):
        run(folder, tmp_path / "w.pt")
    assert held(tmp_path) == {name: b"precious"}


@pytest.mark.parametrize("name", ["w.csv", "w", "w.curves.png", "w.onnx"])
def test_weights_are_called_so(folder, tmp_path, name):
    with pytest.raises(UsageError, match=r"weights end in \.pt; try"):
        run(folder, tmp_path / name)
    assert held(tmp_path) == {}


def test_a_run_that_goes_on_replaces_its_own_files_and_no_other(folder, tmp_path):
    output = tmp_path / "w.pt"
    run(folder, output)
    assert sorted(held(tmp_path)) == sorted(NAMES)
    run(folder, output, replace(TINY, steps=8), resume=True)
    for name in set(NAMES) - {"w.checkpoint.pt"}:
        before = held(tmp_path)
        (tmp_path / name).write_bytes(b"precious")
        with pytest.raises(UsageError, match=rf"{name} exists; pass --overwrite to replace it"):
            run(folder, output, replace(TINY, steps=8), resume=True)
        assert held(tmp_path) == before | {name: b"precious"}
        (tmp_path / name).write_bytes(before[name])


@pytest.mark.usefixtures("all_cores")
def test_the_same_run_writes_the_same_bytes(folder, tmp_path):
    for name in "ab":
        run(folder, tmp_path / f"{name}.pt", replace(TINY, steps=2))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


# -- what is held back -----------------------------------------------------------------------------------------------


def test_where_no_image_held_back_has_foreground_the_last_weights_are_kept(folder, tmp_path):
    tifffile.imwrite(folder / "masks" / "cell5.tif", np.zeros((90, 90), np.uint16))
    notes = []
    trained = run(folder, tmp_path / "w.pt", told=Told(note=notes.append))
    assert (trained.step, trained.chosen) == (6, False)
    assert load_weights(tmp_path / "w.pt")[1]["metrics"] == {"steps": 6}
    assert [note for note in notes if "by which no weights can be chosen" in note]


def test_one_image_is_enough(folder, tmp_path):
    for path in sorted(folder.rglob("cell*.tif")):
        if path.stem != "cell0":
            path.unlink()
    notes = []
    run(folder, tmp_path / "w.pt", replace(TINY, steps=2), told=Told(note=notes.append))
    assert notes[0] == "note: there is but one image, so blocks of it are: last:0.1 held back: 10% of the only image"
    assert load_weights(tmp_path / "w.pt")[1]["split"] == "last:0.1 held back: 10% of the only image"


@pytest.mark.parametrize("rule", ["last:inf", "last:nan"])
def test_a_rule_of_no_number_is_refused_before_anything_is_written(folder, tmp_path, rule):
    with pytest.raises(UsageError, match=f"--validation {rule}"):
        train(DataSet(folder, validation=rule), tmp_path / "w.pt", TINY, CELLS)
    assert held(tmp_path) == {}


def test_what_weights_say_of_themselves_may_change_when_a_run_goes_on(folder, tmp_path):
    output = tmp_path / "w.pt"

    def words(description, **options):
        train(DataSet(folder), output, TINY, description, evaluate_every=2, **options)
        about = load_weights(output)[1]["about"]
        return about["license"], about["trained_on"]

    assert words(replace(CELLS, license="A", trained_on="ours")) == ("A", "ours")
    assert words(replace(CELLS, license="B"), resume=True) == ("B", "ours")
    assert words(CELLS, resume=True) == ("B", "ours")
