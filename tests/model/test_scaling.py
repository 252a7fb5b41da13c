"""Where pixels lie under a scale is integer arithmetic, so it is tested as such: with networks of numbers alone."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.model.scaling import LEAST, MOST, Cut, Resampler, Resampling, Scale
from unet_deploy.tiling import mirror, plan_tiles


@dataclass(frozen=True)
class Network:
    margin: int
    stride: int
    base: int


ORIGINAL = Network(margin=92, stride=16, base=188)
SCALES = st.floats(LEAST, MOST)


@st.composite
def networks(draw):
    """Of valid convolutions, padded ones with a margin cut off, and ones that look at a pixel alone."""
    stride = draw(st.sampled_from([1, 2, 3, 4, 8, 16]))
    margin = draw(st.integers(0, 40))
    return Network(margin, stride, base=2 * margin + draw(st.integers(1, 2 * stride)))


@st.composite
def resamplings(draw):
    network = draw(networks())
    return Resampling(network, Scale.near(draw(SCALES), network.stride))


def cut_along(axis: np.ndarray, cut: Cut) -> np.ndarray:
    """What a graph does along an axis, window by window."""
    takes, weights = cut.resampler.takes, cut.resampler.weights(cut.first).astype(np.float64)
    old = np.pad(axis[cut.front :], (0, max(0, cut.back)))
    old = old[: len(old) + min(0, cut.back)]
    assert len(old) % takes == 0
    blocks = len(old) // takes - -(-len(weights) // takes) + 1
    new = np.concatenate([old[at * takes :][: len(weights)] @ weights[: len(old) - at * takes] for at in range(blocks)])
    return new[: len(new) - cut.surplus]


def answer_of(read: np.ndarray, resampling: Resampling) -> np.ndarray:
    """The answer to an axis of an image, of a network that weighs what it sees by its place in the stride."""
    network = resampling.network
    seen = cut_along(read, resampling.cut_in)
    assert len(seen) == resampling.network_side(len(read))
    assert len(seen) >= network.base
    assert (len(seen) - network.base) % network.stride == 0
    sums = np.convolve(seen, np.arange(1, 2 * network.margin + 2), "valid")
    return cut_along(sums * (1 + np.arange(len(sums)) % network.stride), resampling.cut_out)


@given(resamplings(), st.integers(1, 400), st.integers(1, 3), st.integers(0, 3))
def test_a_scaled_network_in_tiles_answers_as_on_the_whole_axis(resampling, size, steps, begin):
    image = np.random.default_rng(size).random(size)

    def answers(tile, origin):
        """Of the plan's first row, whatever lies before the origin left out."""
        plan = plan_tiles(1, size - origin, resampling, tile=(resampling.base, tile), origin=(0, origin))
        parts = []
        for each in plan:
            read = image[mirror(each.read.x, each.read.right, size)]
            answer = answer_of(read, resampling)
            assert len(answer) == len(read) - 2 * resampling.margin
            parts.append(answer[: each.write.width])
        return np.concatenate(parts)

    whole = answers(resampling.base + -(-size // resampling.stride) * resampling.stride, 0)
    tiled = answers(resampling.base + (steps - 1) * resampling.stride, 0)
    assert len(whole) == size
    np.testing.assert_allclose(tiled, whole, rtol=1e-9)
    origin = begin * resampling.stride
    if origin < size:
        part = answers(resampling.base, origin)
        np.testing.assert_allclose(part, whole[origin:], rtol=1e-9)


@given(SCALES, st.sampled_from([1, 2, 12, 16, 32, 64]))
def test_the_scale_taken_is_within_2_per_cent_of_the_one_asked_for_and_keeps_to_the_stride(asked, stride):
    scale = Scale.near(asked, stride)
    assert float(scale) == pytest.approx(asked, rel=0.02)
    assert scale.network % stride == 0


@pytest.mark.parametrize("asked", [0, 0.01, 9, -1, float("nan")])
def test_a_scale_beyond_reason_is_refused(asked):
    with pytest.raises(UsageError, match="--scale"):
        Scale.near(asked, 16)


@given(resamplings())
def test_weights_add_up_to_one_and_none_is_negative(resampling):
    for cut in (resampling.cut_in, resampling.cut_out):
        weights = cut.resampler.weights(cut.first)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-6)


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_mirrored_axis_gives_the_mirrored_answer(takes, gives):
    resampler = Resampler(takes, gives)
    start, stop = resampler.window(0)
    assert start == takes - stop, "the window lies in the middle of its block"
    weights = resampler.weights(0)
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])


@pytest.mark.parametrize(("takes", "gives"), [(32, 32 * 5), (40, 32), (107, 32)])
def test_a_ramp_stays_a_ramp_at_its_place(takes, gives):
    resampler = Resampler(takes, gives)
    values = np.arange(*resampler.window(0)) @ resampler.weights(0)
    places = (np.arange(gives) + 0.5) * takes / gives - 0.5
    np.testing.assert_allclose(values, places, atol=0.13 if takes > gives else 1e-4)


def test_at_a_quarter_the_original_network_reads_four_times_its_margin():
    resampling = Resampling(ORIGINAL, Scale.near(0.25, 16))
    assert resampling.scale == Scale(32, 128)
    assert (resampling.stride, resampling.base - 2 * resampling.margin) == (128, 128)
    assert 4 * 92 < resampling.margin <= 4 * (92 + 4)


def test_every_scale_of_the_shipped_network_has_a_geometry():
    for network, pixels in product((32, 64), range(4, 640, 7)):
        resampling = Resampling(ORIGINAL, Scale(network, pixels))
        assert resampling.ring >= 1
        assert resampling.margin >= 92 * pixels / network
