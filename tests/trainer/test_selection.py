"""By what weights are chosen is known before the first step, and no training is thrown away."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trainer.data import Annotated  # noqa: E402
from trainer.selection import selection_of  # noqa: E402

NAMES = ("background", "cell", "nerve")


def held(*values):
    """An image whose labels are these values."""
    labels = np.array([values], np.uint8)
    return Annotated("a", labels[None].astype(np.float32), labels, labels.astype(np.int32))


def test_images_of_all_classes_choose_by_all_but_background_and_there_is_nothing_to_say():
    chosen = selection_of([held(0, 1), held(0, 2)], NAMES)
    assert (chosen.can_choose, chosen.scored, chosen.note) == (True, (1, 2), None)


def test_a_class_that_is_not_held_back_has_no_part_in_the_choice_and_is_named():
    chosen = selection_of([held(0, 1)], NAMES)
    assert (chosen.can_choose, chosen.scored) == (True, (1,))
    assert "no image held back has nerve: the best weights are chosen by cell alone" in chosen.note


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_alone_chooses_nothing_and_the_last_weights_are_kept(value):
    chosen = selection_of([held(value, value)], NAMES)
    assert not chosen.can_choose
    assert chosen.scored == (1, 2)
    assert f"all {NAMES[value]}, by which no weights can be chosen: the last are kept" in chosen.note
    assert chosen.better(0.0, 1.0)


def test_of_equal_scores_the_later_weights_are_kept():
    chosen = selection_of([held(0, 1)], NAMES[:2])
    assert chosen.better(0.5, 0.5)
    assert not chosen.better(0.4, 0.5)
