"""Plans are integer arithmetic, so they are tested as such."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.tiling import Region, aligned, legal_side, mirror, plan_tiles


@dataclass(frozen=True)
class Network:
    margin: int
    stride: int
    base: int


ORIGINAL = Network(margin=92, stride=16, base=188)


@st.composite
def networks(draw):
    """U-Nets of valid convolutions of depth 1 to 5, by their own arithmetic."""
    stride = 2 ** draw(st.integers(1, 5))
    margin = 6 * stride - 4
    return Network(margin, stride, base=2 * margin + min(stride, 4))


@st.composite
def plans(draw):
    network = draw(networks())
    height, width = draw(st.integers(1, 40 * network.stride)), draw(st.integers(1, 40 * network.stride))
    tile = draw(st.integers(legal_side(2 * network.margin + network.stride, network), 1400))
    origin = tuple(network.stride * draw(st.integers(0, 50)) for _ in "yx")
    return network, tile, plan_tiles(height, width, network, tile=tile, origin=origin)


def test_the_original_network_takes_572_and_gives_388():
    assert legal_side(572, ORIGINAL) == 572
    assert legal_side(571, ORIGINAL) == legal_side(557, ORIGINAL) == 572


def test_a_572_plan_steps_by_384_because_388_would_change_the_pooling_phase():
    plan = plan_tiles(4000, 4000, ORIGINAL, tile=572)
    assert (plan.step_y, plan.step_x) == (384, 384)
    assert plan[0].read == Region(-92, -92, 572, 572)


def test_a_512_image_is_one_tile():
    plan = plan_tiles(512, 512, ORIGINAL, tile=1212)
    assert len(plan) == 1
    assert plan[0].read == Region(-92, -92, 700, 700)


def test_larger_tiles_waste_less_halo():
    overheads = [plan_tiles(9216, 9216, ORIGINAL, tile=tile).overhead for tile in (572, 1212, 2236)]
    assert overheads == sorted(overheads, reverse=True)
    assert overheads[0] > 2.2 * 0.98 or overheads[0] > 2
    assert overheads[2] < 1.25


@given(plans())
def test_every_pixel_is_written_exactly_once(planned):
    _, _, plan = planned
    written, once = np.zeros((2, plan.region.bottom, plan.region.right), np.int64)
    for tile in plan:
        written[tile.write.slices] += 1
    once[plan.region.slices] = 1
    np.testing.assert_array_equal(written, once)


@given(plans())
def test_every_read_is_legal_within_the_tile_size_and_covers_its_write(planned):
    network, size, plan = planned
    for tile in plan:
        for side, start, needed in (
            (tile.read.height, tile.write.y - tile.read.y, tile.write.height),
            (tile.read.width, tile.write.x - tile.read.x, tile.write.width),
        ):
            assert (side - network.base) % network.stride == 0
            assert network.base <= side <= size
            assert start == network.margin
            assert side - 2 * network.margin >= needed


@given(plans())
def test_origins_keep_to_the_pooling_phase(planned):
    network, _, plan = planned
    assert all(tile.write.y % network.stride == 0 == tile.write.x % network.stride for tile in plan)


@given(plans(), st.data())
def test_a_plan_begins_at_its_origin_and_is_the_same_wherever_that_is(planned, data):
    network, size, plan = planned
    down, right = (network.stride * data.draw(st.integers(-5, 50)) for _ in "yx")
    origin = plan.region.y + down, plan.region.x + right
    other = plan_tiles(plan.height, plan.width, network, tile=size, origin=origin)
    assert other[0].write.origin == origin
    for tile, moved in zip(plan, other, strict=True):
        assert (tile.read.moved(down, right), tile.write.moved(down, right)) == (moved.read, moved.write)


@given(plans(), st.data())
def test_tiles_that_touch_a_region_are_those_that_write_some_of_it(planned, data):
    _, _, plan = planned
    y, x = (data.draw(st.integers(-100, 700)) for _ in "yx")
    region = Region(y, x, *(data.draw(st.integers(1, 600)) for _ in "yx"))
    expected = [tile for tile in plan if 0 not in tile.write.intersection(region).sides]
    assert plan.touching(region) == expected


@given(plans(), st.data())
def test_a_divided_tile_writes_the_same_pixels_from_what_it_reads(planned, data):
    network, size, plan = planned
    tile = plan[data.draw(st.integers(0, len(plan) - 1))]
    most = data.draw(st.integers(legal_side(2 * network.margin + network.stride, network), size))
    written, once = np.zeros((2, plan.region.bottom, plan.region.right), np.int64)
    for part in tile.divided(network, (most, most)):
        written[part.write.slices] += 1
        assert max(part.read.sides) <= most
        assert part.read.intersection(tile.read) == part.read
        assert (part.read.y - tile.read.y) % network.stride == (part.read.x - tile.read.x) % network.stride == 0
    once[tile.write.slices] = 1
    np.testing.assert_array_equal(written, once)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 300), st.sampled_from([2, 16, 32]))
def test_an_aligned_region_begins_on_the_stride_and_ends_where_it_did(y, x, side, stride):
    region = Region(y, x, side, side + 1)
    found = aligned(region, stride)
    assert found.y % stride == found.x % stride == 0
    assert 0 <= y - found.y < stride
    assert 0 <= x - found.x < stride
    assert (found.bottom, found.right) == (region.bottom, region.right)


@given(plans())
def test_overhead_is_the_pixels_read_over_the_pixels_of_the_image(planned):
    _, _, plan = planned
    read = sum(tile.read.height * tile.read.width for tile in plan)
    assert plan.overhead == pytest.approx(read / (plan.height * plan.width))


@given(st.integers(1, 40), st.integers(-150, 150), st.integers(1, 300))
def test_mirroring_is_numpys_reflection(size, start, length):
    axis = np.arange(size)
    before, after = max(0, -start), max(0, start + length - size)
    padded = np.pad(axis, (before, after), mode="reflect")
    expected = padded[start + before : start + before + length]
    assert (axis[mirror(start, start + length, size)] == expected).all()


def test_a_tile_size_below_the_network_is_refused_with_the_least_that_works():
    with pytest.raises(UsageError, match="at least 204"):
        plan_tiles(500, 500, ORIGINAL, tile=100)
    with pytest.raises(UsageError, match="at least 204"):
        plan_tiles(500, 500, ORIGINAL, tile=190)
    assert len(plan_tiles(500, 500, ORIGINAL, tile=204)) == 32 * 32


def test_plans_of_slides_beyond_32_bits_cost_nothing_until_asked():
    plan = plan_tiles(100_000, 100_000, ORIGINAL, tile=1212)
    assert len(plan) == 98 * 98
    assert plan[-1].write.bottom == plan[-1].write.right == 100_000
