"""What a network is shown of an image that it sees smaller, and what is made of its answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import Change
from unet_deploy.runtimes import Answer, Limits
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.shrunk import Shrunk, shrunk
from unet_deploy.tiling import legal_side
from unet_deploy.zoo import open_model

GREY = GreyScale(np.zeros(1, np.float32), np.ones(1, np.float32))


class Echo:
    """A network that says of each pixel whether it is brighter than 100, with a margin as of valid convolutions."""

    slots, fingerprint = 1, "echo"

    def __init__(self, margin=20, stride=4, most=400, hard=False):
        self.card = ModelCard("echo", 1, ("dark", "bright"), margin, stride, 2 * margin + stride)
        self.name, self.probabilities = "Echo", False
        self.limits = Limits(1, (self.card.base,) * 2, (most, most), hard=hard)
        self.seen = []

    def submit(self, tiles, greys):
        self.seen += tiles
        margin = self.card.margin
        inside = np.stack(tiles)[:, 0, margin:-margin, margin:-margin]
        return Answer((inside > 100).astype(np.uint8))

    def result(self, ticket):
        return ticket

    def memory(self, height, width):
        return 100 * height * width

    def shrink(self, below):
        self.limits = below.halved(self.card)


def mean_by_a_triangle(row, step):
    """Of every `step` pixels of a row one, by weights that fall to nothing `step` pixels from its middle."""
    weights = step - np.abs(np.arange(2 * step) - (step - 0.5))
    before = step // 2
    padded = np.pad(row.astype(float), step)
    starts = range(step - before, len(padded) - 2 * step + 1, step)
    return np.array([padded[at : at + 2 * step] @ weights for at in starts]) / weights.sum()


@given(st.sampled_from([2, 4, 8]), st.integers(0, 6), st.sampled_from([np.uint8, np.uint16, np.float32]), st.booleans())
def test_the_network_sees_means_that_leave_no_false_pattern(step, blocks, dtype, is_turned):
    network = Echo()
    seen = shrunk(network, step)
    side = seen.card.base + blocks * seen.card.stride
    row = np.random.default_rng(blocks).uniform(0, 250, side).astype(dtype)
    tile = np.broadcast_to(row[:, None] if is_turned else row, (1, side, side)).copy()
    answer = seen.result(seen.submit([tile], [GREY])).labels[0]
    assert answer.shape == (side - 2 * seen.card.margin,) * 2
    (shown,) = network.seen
    assert shown.dtype == np.float32
    line = shown[0, :, 0] if is_turned else shown[0, 0]
    # Where the first pixel of what is written begins a block, a pixel of the network begins too.
    margin = seen.card.margin
    whole = mean_by_a_triangle(row[margin % step :], step)
    first = network.card.margin + 4
    middle = line[first : len(line) - first]
    ring = Change(1 / step).resampling(network.card).ring
    begin = margin // step - ring - network.card.margin + first
    np.testing.assert_allclose(whole[begin:][: len(middle)], middle, rtol=1e-5)


@pytest.mark.parametrize("step", [2, 4])
def test_labels_are_as_coarse_as_what_it_sees_and_lie_where_the_image_does(step):
    image = np.zeros((150, 210), np.uint8)
    image[40:88, 56:120] = 200
    labels, scores = segment_array(image, Shrunk(Echo(), step), None)
    assert scores is None
    np.testing.assert_array_equal(labels[0], image > 0)


@pytest.mark.parametrize("step", [2, 4])
def test_tiles_have_no_seams(step, small_models, speckle):
    with open_model(small_models["deep"], device="cpu") as model:
        seen = Shrunk(model, step)
        sides = [legal_side(least, seen.card) for least in (1, 700)]
        few, many = (segment_array(speckle, seen, side)[0] for side in sides)
    assert 0 < few.mean() < 1
    np.testing.assert_array_equal(few, many)


def test_limits_are_in_pixels_of_the_image_and_shrink_with_the_network_s():
    network = Echo(most=401)
    seen = Shrunk(network, 4)
    resampling = Change(1 / 4).resampling(network.card)
    assert (
        resampling.network_side(seen.limits.most[0])
        <= 401
        < resampling.network_side(seen.limits.most[0] + seen.card.stride)
    )
    assert seen.memory(*seen.limits.most) > network.memory(*map(resampling.network_side, seen.limits.most))
    before = seen.limits
    seen.shrink(replace(before, batch=7))
    assert seen.limits == before, "another thread has lowered them already"
    seen.shrink(before)
    assert seen.limits.most[0] < before.most[0]


def test_a_device_whose_tiles_are_too_small_to_look_through_is_refused():
    with pytest.raises(UsageError, match="--tile-size 60: Echo needs 76 to see how large objects are"):
        Shrunk(Echo(most=60, hard=True), 4)
    assert Shrunk(Echo(most=60), 4).limits.most == (Shrunk(Echo(), 4).card.base,) * 2
    assert shrunk(network := Echo(), 1) is network
