"""Figures in a card say what they are of."""

import doctest
from pathlib import Path

from unet_deploy.evaluation import conditions
from unet_deploy.evaluation.conditions import Conditions
from unet_deploy.objects.rules import Rules


def test_examples_are_true():
    assert doctest.testmod(conditions).failed == 0


def test_only_what_was_asked_for_is_said():
    assert str(Conditions(3, Path("cells"))) == "3 images of cells"
    whole = Conditions(3, Path("a/stack.tif"), "last:6", tta=True, objects=Rules(min_size=9))
    assert str(whole) == "3 images of stack, validation last:6, mean of 8 orientations, objects of 9 pixels and more"
