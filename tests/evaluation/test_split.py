"""Images, or blocks of the only one, are held back by a rule that leaves some on either side."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import DataError, UsageError
from unet_deploy.evaluation import split as room
from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.evaluation.split import split, split_pairs, split_set
from unet_deploy.tiling import Region

TEN = [str(number) for number in range(10)]


def test_examples_are_true():
    assert doctest.testmod(room).failed == 0


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("last:0.2", [8, 9]),
        ("last:3", [7, 8, 9]),
        ("every:5", [0, 5]),
        ("last:0.01", [9]),
        ("fold:2/5", [2, 3]),
        ("names:4,2,4", [2, 4]),
        ("every:99999999999999999999999", [0]),
    ],
)
def test_validation_is_a_block_at_the_end_or_every_nth(rule, held):
    kept, ours = split(TEN, rule)
    assert ours == held
    assert sorted(kept + ours) == list(range(10))


NOTHING = (
    "first:3 last: last:x last:10 last:11 last:-1 last:inf last:nan last:1e300 last:1.5 every:1 every:inf every:0 "
    "fold:1/0 fold:1/11 fold:1/99999999999 fold:0/5 fold:1 names: names:nobody"
)


@pytest.mark.parametrize("rule", ["", *NOTHING.split()])
def test_a_rule_that_says_nothing_or_leaves_nothing_is_refused(rule):
    with pytest.raises(UsageError, match="--validation"):
        split(TEN, rule)


@pytest.fixture
def alone(tmp_path):
    """Makes a folder of one image of this shape and returns its pairs."""

    def make(shape):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir()
            tifffile.imwrite(tmp_path / kind / "a.tif", np.ones(shape, np.uint8))
        return find_pairs(tmp_path)

    return make


@pytest.mark.parametrize(
    ("shape", "rule", "held"),
    [((100, 60), "last:0.1", "a[90:100, 0:60]"), ((40, 105), "fold:1/5", "a[0:40, 0:21]")],
)
def test_of_the_only_image_blocks_of_its_longer_side_are_held_back(alone, shape, rule, held):
    pairs = alone(shape)
    found = split_pairs(pairs, rule)
    (part,) = found.validation
    assert part.named(pairs[0]) == held
    covered = np.zeros(shape, int)
    for each in (*found.training, *found.validation):
        covered[each.region.slices] += 1
    assert (covered == 1).all()


def test_an_only_image_too_small_for_blocks_is_refused(alone):
    with pytest.raises(DataError, match=r"a\.tif: is the only image and too small"):
        split_pairs(alone((12, 19)), "last:0.1")


@given(st.integers(20, 3000), st.integers(1, 3000), st.sets(st.integers(0, 9), min_size=1, max_size=9))
def test_blocks_cover_what_they_are_asked_for_once(height, width, numbers):
    height, width = max(height, width), min(height, width)
    inside = list(room._blocks(sorted(numbers), Region(0, 0, height, width)))
    outside = list(room._blocks(sorted(set(range(10)) - numbers), Region(0, 0, height, width)))
    assert sum(part.region.height for part in inside + outside) == height
    assert all(part.region.width == width for part in inside + outside)


def test_a_rule_of_whole_sets_takes_all_of_one_and_nothing_of_another():
    pairs = [Pair(name, Path(name), Path(name)) for name in "ab"]
    whole, none = (split_set(name, pairs, "set:mine,yours") for name in ("mine", "theirs"))
    assert ([part.image for part in whole.validation], whole.training) == ([0, 1], ())
    assert (none.validation, len(none.training)) == ((), 2)
    assert split_set("mine", pairs, "last:1") == split_pairs(pairs, "last:1")
