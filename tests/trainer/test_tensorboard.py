"""A training is kept as TensorBoard reads it."""

from dataclasses import replace

import numpy as np
import pytest
from broken import press_ctrl_c

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from trainer.description import ModelDescription  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.tensorboard import TensorBoard  # noqa: E402
from trainer.told import Told  # noqa: E402
from trainer.train import train  # noqa: E402
from unet_deploy.errors import UsageError  # noqa: E402

TINY = replace(PRESETS["modern"], width=4, depth=1, tile=42, batch=1, steps=8, warmup=4, w0=0.0)


def run(folder, tmp_path, *, resume=False, overwrite=False, progress=None):
    log = TensorBoard(tmp_path / "w.tensorboard", resume=resume, overwrite=overwrite)
    try:
        train(
            DataSet(folder, validation="last:2"),
            tmp_path / "w.pt",
            TINY,
            ModelDescription(("background", "cell")),
            evaluate_every=4,
            resume=resume,
            overwrite=overwrite,
            told=Told(progress, log=log),
        )
    finally:
        log.close()


def read(tmp_path) -> EventAccumulator:
    events = EventAccumulator(str(tmp_path / "w.tensorboard"))
    events.Reload()
    return events


def test_loss_rate_and_scores_are_those_of_the_training(folder, tmp_path):
    seen = []
    run(folder, tmp_path, progress=seen.append)
    events = read(tmp_path)
    losses = events.Scalars("loss")
    assert [each.step for each in losses] == list(range(1, 9))
    np.testing.assert_allclose([each.value for each in losses], [state.loss for state in seen], rtol=1e-6)
    rates = [each.value for each in events.Scalars("learning rate")]
    assert rates.index(max(rates)) == TINY.warmup - 2
    assert [each.step for each in events.Scalars("mean Dice, validation")] == [4, 8]


def test_pictures_show_the_images_held_back(folder, tmp_path):
    run(folder, tmp_path)
    pictures = read(tmp_path).Images("cell5")
    assert [(each.step, each.height, each.width) for each in pictures] == [(4, 90, 90), (8, 90, 90)]


def test_a_run_that_goes_on_shows_each_step_once(folder, tmp_path):
    def interrupt(state):
        if state.step == 5:
            press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path, progress=interrupt)
    run(folder, tmp_path, resume=True)
    assert [each.step for each in read(tmp_path).Scalars("loss")] == list(range(1, 9))


def test_events_of_another_training_are_replaced_only_when_asked(folder, tmp_path):
    run(folder, tmp_path)
    with pytest.raises(UsageError, match="another training"):
        TensorBoard(tmp_path / "w.tensorboard")
    run(folder, tmp_path, overwrite=True)
    assert [each.step for each in read(tmp_path).Scalars("loss")] == list(range(1, 9))


def test_looking_changes_no_weight(folder, tmp_path):
    plain = tmp_path / "plain.pt"
    run(folder, tmp_path)
    train(DataSet(folder, validation="last:2"), plain, TINY, ModelDescription(("background", "cell")), evaluate_every=4)
    one, other = (torch.load(path, weights_only=True)["state"] for path in (tmp_path / "w.pt", plain))
    assert all(torch.equal(one[name], other[name]) for name in one)
