"""Training learns, resumes to the same weights, and stops with a line."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from broken import press_ctrl_c

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from trainer import train as training  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.predict import predict  # noqa: E402
from trainer.recipe import PRESETS, Augmentation, tailored  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.told import NOBODY, Told  # noqa: E402
from trainer.train import train  # noqa: E402
from trainer.unet import UNet  # noqa: E402
from trainer.weights import load_weights  # noqa: E402
from unet_deploy.annotations.marking import Marking  # noqa: E402
from unet_deploy.errors import DataError, ResourceError, UsageError  # noqa: E402
from unet_deploy.model.card import Normalization  # noqa: E402

TINY = replace(PRESETS["modern"], width=4, depth=2, tile=84, batch=2, steps=30, warmup=3, average=0.9, w0=2.0)
CELLS = ModelDescription(("background", "cell"))


def weights(path):
    return load_weights(path)[0].state_dict()


def run(folder, output, recipe=TINY, **options):
    return train(DataSet(folder), output, recipe, CELLS, evaluate_every=10, **options)


def test_it_learns_cells_from_a_handful_of_images(folder, tmp_path):
    trained = run(folder, tmp_path / "w.pt", replace(TINY, steps=100, learning_rate=3e-3))
    assert trained.score > 0.8


def test_it_leaves_weights_a_log_and_two_pictures(folder, tmp_path):
    seen = []
    output = tmp_path / "out" / "w.pt"
    output.parent.mkdir()
    trained = run(folder, output, told=Told(progress=seen.append))
    assert sorted(p.name for p in output.parent.iterdir()) == [
        "w.checkpoint.pt",
        "w.csv",
        "w.curves.png",
        "w.pt",
        "w.validation.png",
    ]
    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert [row["step"] for row in rows] == ["10", "20", "30"]
    assert max(float(row["score"]) for row in rows) == trained.score
    assert [state.step for state in seen] == list(range(1, 31))


@pytest.mark.usefixtures("all_cores")
def test_a_seed_reproduces_and_another_does_not(folder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(folder, tmp_path / f"{name}.pt", replace(TINY, seed=seed, steps=10))
    a, b, c = (weights(tmp_path / f"{name}.pt") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


@pytest.mark.usefixtures("all_cores")
def test_an_interrupted_run_resumes_to_the_weights_of_an_uninterrupted_one(folder, tmp_path):
    run(folder, tmp_path / "whole.pt")

    def interrupt(state):
        if state.step == 17:
            press_ctrl_c()

    cut = tmp_path / "cut.pt"
    with pytest.raises(KeyboardInterrupt):
        run(folder, cut, told=Told(progress=interrupt))
    run(folder, cut, resume=True)
    whole, resumed = weights(tmp_path / "whole.pt"), weights(cut)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    rows = [list(csv.DictReader((tmp_path / f"{name}.csv").open())) for name in ("whole", "cut")]
    assert [(r["step"], r["loss"], r["score"]) for r in rows[0]] == [
        (r["step"], r["loss"], r["score"]) for r in rows[1]
    ]


def test_ctrl_c_of_the_command_keeps_a_checkpoint_and_exits_with_130(folder, tmp_path):
    output = tmp_path / "w.pt"
    words = ["train", folder, "-o", output, "--width", "4", "--tile-size", "444", "--evaluate-every", "1"]
    command = [sys.executable, "-m", "unet_deploy.cli", *map(str, words)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "w.checkpoint.pt").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-2:] == [
        "the checkpoint is kept; go on with the same command and --resume",
        "error: interrupted; no file was left half-written",
    ]


@pytest.fixture
def begun(folder, tmp_path):
    """Ten steps of a run, and what goes on from there with what is given."""
    output, recipe = tmp_path / "w.pt", replace(TINY, steps=10)
    run(folder, output, recipe)

    def go_on(description=CELLS, rule="last:0.1", told=NOBODY, **changes):
        changed = replace(recipe, **changes)
        return train(DataSet(folder, validation=rule), output, changed, description, resume=True, told=told)

    return go_on


def test_resuming_with_other_settings_or_data_is_refused_by_their_names(begun, folder):
    for says, other in (
        ("--width was 4, is 6; --seed was 0, is 1", {"width": 6, "seed": 1}),
        ("--augmentation was another", {"augmentation": Augmentation(noise=1)}),
        ("--preset was another", {"optimizer": "sgd"}),
        ("--validation was last:0.1, is last:2", {"rule": "last:2"}),
        (
            "--classes was background,cell, is background,disc",
            {"description": ModelDescription(("background", "disc"))},
        ),
        ("normalization was another", {"description": replace(CELLS, normalization=Normalization("fixed"))}),
        ("has taken 10 steps already; --steps 9 is fewer", {"steps": 9}),
    ):
        with pytest.raises(UsageError, match=says):
            begun(**other)
    picture = folder / "images" / "cell0.tif"
    tifffile.imwrite(picture, 255 - tifffile.imread(picture))
    with pytest.raises(UsageError, match="changed: image or mask cell0;"):
        begun()
    for kind in ("images", "masks"):
        (folder / kind / "cell0.tif").rename(folder / kind / "cell00.tif")
    with pytest.raises(UsageError, match="new: image cell00; missing: image cell0;"):
        begun()


def test_a_run_goes_on_for_more_steps_at_another_rate_and_says_so(begun, tmp_path):
    notes = []
    begun(steps=12, learning_rate=1e-4, told=Told(note=notes.append))
    assert [note.partition(":")[2].partition(":")[0] for note in notes if " was " in note] == [
        " --steps was 10, is 12",
        " --learning-rate was 0.0005, is 0.0001",
    ]
    rows = list(csv.DictReader((tmp_path / "w.csv").open()))
    assert [row["step"] for row in rows] == ["10", "12"]


def test_another_machine_is_told_of(begun, monkeypatch):
    notes = []
    cores = torch.get_num_threads()
    monkeypatch.setattr("trainer.device.usable_cores", lambda: cores + 1)
    begun(told=Told(note=notes.append))
    torch.set_num_threads(cores)
    assert f"begun on another machine (cores was {cores}, is {cores + 1})" in notes[0]


def test_finished_work_is_not_overwritten_by_accident(folder, tmp_path):
    run(folder, tmp_path / "w.pt", replace(TINY, steps=10))
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        run(folder, tmp_path / "w.pt", replace(TINY, steps=10))


def test_a_loss_that_is_no_number_is_one_line_and_keeps_the_checkpoint(folder, tmp_path, monkeypatch):
    real = training.step

    def broken(state, *rest):
        loss = real(state, *rest)
        return float("nan") if state.step == 25 else loss

    monkeypatch.setattr(training, "step", broken)
    with pytest.raises(ResourceError, match=r"no number at step 25; .*, at a lower --learning-rate"):
        run(folder, tmp_path / "w.pt")
    monkeypatch.setattr(training, "step", real)
    run(folder, tmp_path / "w.pt", replace(TINY, learning_rate=1e-4), resume=True)


def test_a_class_that_is_only_in_what_is_held_back_is_refused(folder, tmp_path):
    for at, path in enumerate(sorted((folder / "masks").iterdir())):
        tifffile.imwrite(path, (tifffile.imread(path) > 0) * np.uint8(1 + (at == 5)))
    three = ModelDescription(("background", "cell", "nerve"))
    with pytest.raises(DataError, match="class 'nerve' occurs only in what --validation last:1 holds back"):
        train(DataSet(folder, validation="last:1"), tmp_path / "w.pt", TINY, three)


def test_a_tile_the_network_cannot_take_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="--tile-size 85"):
        run(folder, tmp_path / "w.pt", replace(TINY, tile=85))


def test_a_network_that_memory_cannot_hold_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.run.usable_memory", lambda: 10**6)
    with pytest.raises(ResourceError, match=r"--width 64: training a network this wide takes .* GB at least"):
        run(folder, tmp_path / "w.pt", replace(TINY, width=64))


def test_the_papers_preset_is_the_papers():
    paper = PRESETS["paper"]
    assert (paper.optimizer, paper.momentum, paper.tile, paper.batch) == ("sgd", 0.99, 572, 1)
    assert (paper.w0, paper.sigma, paper.balance, paper.augmentation.elastic) == (10, 5, 1, 10)
    assert (paper.width, paper.depth) == (64, 4)
    assert tailored(paper, width=16, steps=None) == replace(paper, width=16)
    assert tailored(paper, strength=2).augmentation == paper.augmentation.times(2)


@pytest.mark.long
def test_the_papers_preset_learns_cells(folder, tmp_path):
    recipe = replace(PRESETS["paper"], width=8, depth=2, tile=84, steps=200, learning_rate=3e-3)
    assert run(folder, tmp_path / "w.pt", recipe).score > 0.7


def test_tiled_prediction_is_that_of_one_pass(folder):
    torch.manual_seed(3)
    network = UNet(width=2, depth=2).eval()
    image = np.random.default_rng(0).normal(size=(1, 1300, 60)).astype(np.float32)
    tiled = predict(network, image, torch.device("cpu"))
    mirrored = np.pad(image, ((0, 0), (20, 20), (20, 20)), mode="reflect")
    with torch.no_grad():
        whole = network(torch.from_numpy(mirrored)[None])[0]
    assert tiled.shape == (2, 1300, 60)
    assert torch.allclose(tiled, whole, atol=1e-4)


@pytest.mark.usefixtures("unmeasured")
def test_weights_and_card_keep_what_the_masks_were(folder, tmp_path):
    pytest.importorskip("onnx")
    from trainer.export import export

    run(folder, tmp_path / "objects.pt", replace(TINY, steps=2))
    card = export(tmp_path / "objects.pt", tmp_path / "objects.onnx")
    assert (card.mask_kind, card.mask_values) == ("instances", ())
    for path in (folder / "masks").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8) + 1)
    run(folder, tmp_path / "two.pt", replace(TINY, steps=2))
    card = export(tmp_path / "two.pt", tmp_path / "two.onnx")
    assert (card.mask_kind, card.mask_values) == ("binary", (1, 2))
    assert type(card).from_json(card.to_json()) == card


def test_a_tile_of_which_the_masks_say_nothing_ends_no_training(folder, tmp_path):
    for path in sorted((folder / "masks").iterdir())[:4]:
        numbers = np.full((90, 90), 255, np.uint8)
        numbers[0, 0] = 0
        tifffile.imwrite(path, numbers, extratags=[(42113, "s", 0, "255", True)], metadata=None)
    assert run(folder, tmp_path / "w.pt", replace(TINY, batch=1)).score >= 0


@pytest.mark.parametrize("kind", ["instances", "binary", "classes"])
def test_what_an_ignored_pixel_holds_changes_no_weight(folder, tmp_path, kind):
    """The same pixels are ignored by two values that mean nothing; learned from, they give other weights."""
    plain = {path: tifffile.imread(path) for path in sorted((folder / "masks").iterdir())}

    def trained(value, ignore):
        for path, numbers in plain.items():
            marked = numbers.copy() if kind == "instances" else np.minimum(numbers, 1)
            marked[20:60, 30:] = value
            tifffile.imwrite(path, marked.astype(np.uint8))
        data = DataSet(folder, mask_kind=kind, marking=Marking(ignore=ignore))
        output = tmp_path / f"{value}-{ignore}.pt"
        train(data, output, replace(TINY, steps=3), CELLS, evaluate_every=3)
        return weights(output)

    one, other, learned = trained(200, 200), trained(255, 255), trained(1, None)
    assert all(torch.equal(each, other[name]) for name, each in one.items())
    assert not all(torch.equal(each, learned[name]) for name, each in one.items())
