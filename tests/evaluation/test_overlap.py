"""Dice and intersection over union, small enough to count by hand."""

import numpy as np
import pytest

from unet_deploy.evaluation.overlap import Overlap


def test_dice_and_iou_by_hand():
    ours = np.array([1, 1, 1, 0, 0], bool)
    truth = np.array([0, 1, 1, 1, 0], bool)
    assert Overlap.of(ours, truth).dice == pytest.approx(4 / 6)
    assert Overlap.of(ours, truth).iou == pytest.approx(2 / 4)
    nothing = Overlap.of(ours & False, truth & False)
    assert nothing.dice == nothing.iou == 1
