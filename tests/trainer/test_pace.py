"""A training ends in its time or when it no longer gets better, and its rate of learning follows."""

import csv
from dataclasses import replace

import pytest
from broken import press_ctrl_c

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from trainer import pace as keeping_time  # noqa: E402
from trainer import train as training  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.pace import SPARE, Pace  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.run import Run  # noqa: E402
from trainer.selection import Selection  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.step import learning_rate  # noqa: E402
from trainer.told import Told  # noqa: E402
from trainer.train import train  # noqa: E402
from unet_deploy.errors import UsageError  # noqa: E402

TINY = replace(PRESETS["modern"], width=4, depth=1, tile=42, batch=1, steps=100, warmup=10, w0=0.0)
CELLS = ModelDescription(("background", "cell"))


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    """A clock by which a step takes ten seconds, a validation two, and what comes before the first step twenty."""
    clock = Clock()
    real = {name: getattr(training, name) for name in ("step", "validate", "add_weights")}

    def taking(name, seconds):
        def slow(*arguments):
            clock.seconds += seconds
            return real[name](*arguments)

        monkeypatch.setattr(training, name, slow)

    for name, seconds in (("step", 10), ("validate", 2), ("add_weights", 20)):
        taking(name, seconds)
    monkeypatch.setattr(training, "_expected", lambda *_: 0.2)
    for module in (training, keeping_time):
        monkeypatch.setattr(module, "now", clock)
    return clock


def run(folder, output, recipe=TINY, **options):
    return train(DataSet(folder), output, recipe, CELLS, evaluate_every=20, **options)


def rows(output):
    return list(csv.DictReader(output.with_suffix(".csv").open()))


def test_a_training_ends_in_time_and_validates_as_the_time_goes(folder, tmp_path, clock):
    notes, seen, began = [], [], clock.seconds
    run(folder, tmp_path / "w.pt", replace(TINY, max_minutes=5), told=Told(seen.append, notes.append))
    steps = [int(row["step"]) for row in rows(tmp_path / "w.pt")]
    assert 22 < steps[-1] < 28
    assert len(steps) in (5, 6)
    assert 240 < clock.seconds - began + SPARE < 300
    assert f"note: ended at step {steps[-1]}, when --max-minutes 5 were over" in notes
    assert seen[-1].steps == seen[-1].step == steps[-1]
    assert seen[10].left + clock.seconds - began == pytest.approx(300, abs=170)
    assert abs(seen[10].steps - steps[-1]) < 4


def test_a_run_that_goes_on_counts_the_minutes_that_it_has_had(folder, tmp_path, clock):
    recipe, output = replace(TINY, max_minutes=5), tmp_path / "w.pt"

    def interrupt(state):
        if state.step == 9:
            press_ctrl_c()

    began = clock.seconds
    with pytest.raises(KeyboardInterrupt):
        run(folder, output, recipe, told=Told(interrupt))
    assert clock.seconds - began < 130
    run(folder, output, recipe, resume=True)
    assert 240 < clock.seconds - began + SPARE < 300
    assert 20 < int(rows(output)[-1]["step"]) < 26


def test_one_that_goes_on_when_its_time_is_over_takes_no_step_and_looks_once(folder, tmp_path, clock):
    output = tmp_path / "w.pt"

    def interrupt(state):
        if state.step == 9:
            press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        run(folder, output, told=Told(interrupt))
    seen, notes = [], []
    run(folder, output, replace(TINY, max_minutes=1), resume=True, told=Told(seen.append, notes.append))
    assert (seen, [row["step"] for row in rows(output)]) == ([], ["9"])
    assert any("--max-minutes was not given, is 1: the rate" in note for note in notes)


def test_a_limit_that_is_never_met_changes_no_weight(folder, tmp_path):
    recipe = replace(TINY, steps=30)
    for name, each in (("a", recipe), ("b", replace(recipe, max_minutes=1000, patience=100))):
        run(folder, tmp_path / f"{name}.pt", each)
    a, b = (torch.load(tmp_path / f"{name}.pt", weights_only=True)["state"] for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_rate_warms_up_and_falls_as_the_time_goes():
    position = Run(None, None, None, step=5, gone=0.5).position(TINY)
    assert position == 50
    assert learning_rate(TINY, position) == learning_rate(TINY, 50)
    assert Run(None, None, None, step=70, gone=0.5).position(TINY) == 70
    assert learning_rate(TINY, Run(None, None, None, step=5, gone=3).position(TINY)) == pytest.approx(5e-6)


def test_even_without_time_a_step_is_taken_and_scored(folder, tmp_path):
    run(folder, tmp_path / "w.pt", replace(TINY, max_minutes=0.01))
    assert [row["step"] for row in rows(tmp_path / "w.pt")] == ["1"]


def of_scores(*scores):
    return Run(None, None, None, step=1, log=[{"score": score} for score in scores])


@pytest.mark.parametrize(
    ("scores", "over"), [((), False), ((0.5, 0.4), False), ((0.5, 0.4, 0.5), True), ((0.5, 0.4, 0.3, 0.6), False)]
)
def test_patience_counts_validations_since_the_last_better_one(scores, over):
    pace = Pace(replace(TINY, patience=2), 20, Selection(("background", "cell"), (0, 1)))
    assert pace.is_over(of_scores(*scores)) is over


def test_where_no_score_can_choose_patience_ends_nothing():
    pace = Pace(replace(TINY, patience=2), 20, Selection(("background", "cell"), (0,)))
    assert not pace.is_over(of_scores(0.5, 0.4, 0.3, 0.2))


def test_patience_ends_a_training_whose_best_weights_are_kept(folder, tmp_path, monkeypatch):
    scores = iter((0.3, 0.7, 0.6, 0.5, 0.9))
    monkeypatch.setattr(training, "validate", lambda *_: next(scores))
    notes = []
    trained = run(folder, tmp_path / "w.pt", replace(TINY, patience=2), told=Told(note=notes.append))
    assert (trained.score, trained.step) == (0.7, 40)
    assert "note: ended at step 80: no score of the last 2 validations was better" in notes
    trained = run(folder, tmp_path / "w.pt", replace(TINY, patience=3), resume=True)
    assert (trained.score, trained.step) == (0.9, 100)


@pytest.mark.parametrize(("field", "value"), [("max_minutes", 0), ("max_minutes", float("nan")), ("patience", 0)])
def test_a_limit_of_no_sense_is_refused(field, value):
    with pytest.raises(UsageError, match=r"--max-minutes|--patience"):
        replace(TINY, **{field: value})


def test_validations_that_take_long_wait_for_their_turn(folder, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(training, "_expected", lambda *_: 4.0)
    run(folder, tmp_path / "w.pt", replace(TINY, max_minutes=5))
    assert len(rows(tmp_path / "w.pt")) < 4
