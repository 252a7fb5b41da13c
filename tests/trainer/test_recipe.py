"""What no training can have is refused before it, by the name of its option."""

import math
from dataclasses import replace

import pytest

from trainer.description import ModelDescription
from trainer.recipe import PRESETS, tailored
from unet_deploy.errors import UsageError

MODERN = PRESETS["modern"]


@pytest.mark.parametrize(
    ("field", "option", "values"),
    [
        ("learning_rate", "--learning-rate", (0, -1, math.inf, math.nan)),
        ("w0", "--border-weight", (-1, math.inf, math.nan)),
        ("seed", "--seed", (-1, 2**64)),
        ("steps", "--steps", (0, 10**10)),
        ("width", "--width", (0, 10**6)),
        ("depth", "--depth", (0, 7)),
        ("batch", "--batch-size", (0, 10**6)),
        ("tile", "--tile-size", (-5, 10**6)),
    ],
)
def test_a_value_beyond_sense_is_named_with_its_option_and_the_limits(field, option, values):
    for value in values:
        with pytest.raises(UsageError, match=f"{option} {value}: give a number of "):
            replace(MODERN, **{field: value})


@pytest.mark.parametrize("strength", [-1, math.inf, math.nan, 1e9])
def test_an_augmentation_beyond_sense_is_refused(strength):
    with pytest.raises(UsageError, match="--augmentation"):
        tailored(MODERN, strength=strength)


def test_the_largest_seed_of_64_bits_seeds_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(replace(MODERN, seed=2**64 - 1).seed)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"classes": ("background",)}, "--classes 'background': must be 2 to 256 names"),
        ({"classes": ()}, "--classes"),
        ({"classes": ("a", "a")}, "--classes 'a,a': two classes have one name"),
        ({"classes": ("a", "b\nc")}, "--classes"),
        ({"pixel_size_um": math.nan}, "--pixel-size nan: must be"),
        ({"pixel_size_um": 0.0}, "--pixel-size"),
        ({"pixel_size_um": math.inf}, "--pixel-size"),
    ],
)
def test_what_no_card_can_say_is_known_before_the_training(fields, says):
    with pytest.raises(UsageError, match=says) as refused:
        ModelDescription(**fields)
    assert "\n" not in str(refused.value)
