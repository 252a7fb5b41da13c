"""A plan for a region of an image gives what the whole image has there, whatever the tiles."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tiling import Network, networks

from unet_deploy.images.array import ArraySource
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.runtimes import Answer, Limits
from unet_deploy.stream.pipeline import stream
from unet_deploy.tiling import Region, aligned, legal_side, plan_tiles


class Pooling:
    """A runtime with the geometry of a U-Net: a label depends on pixels within the margin, pooled at the stride."""

    name, probabilities, proof, slots = "pooling", False, None, 1

    def __init__(self, network) -> None:
        self.card = ModelCard(
            "pooling", 1, ("dark", "bright"), network.margin, network.stride, network.base, Normalization("fixed", 0, 1)
        )
        self.limits = Limits(1, (0, 0), (1 << 20, 1 << 20))

    def submit(self, tiles, greys):
        stride, margin = self.card.stride, self.card.margin
        image = tiles[0][0].astype(np.int64)
        tall, wide = (-(-side // stride) * stride for side in image.shape)
        padded = np.zeros((tall, wide), np.int64)
        padded[: image.shape[0], : image.shape[1]] = image
        blocks = padded.reshape(tall // stride, stride, wide // stride, stride).max(axis=(1, 3))
        pooled = np.kron(blocks, np.ones((stride, stride), np.int64))[: image.shape[0], : image.shape[1]]
        far = margin - stride  # what lies so far off, in a whole block, is still inside the margin
        seen = image + 3 * np.roll(pooled, (far, -far), (0, 1)) + 7 * np.roll(pooled, (-far, 0), (0, 1))
        return Answer((seen % 5)[None, margin:-margin, margin:-margin].astype(np.uint8))

    def result(self, ticket):
        return ticket


def labels_of(image, plan, runtime):
    """What a plan makes of an image, 255 where it writes nothing, and how often it writes each pixel."""
    labels, writes = np.full(image.shape, 255, np.uint8), np.zeros(image.shape, np.int64)

    def consume(done):
        labels[done.tile.write.slices] = done.labels
        writes[done.tile.write.slices] += 1
        np.testing.assert_array_equal(done.image[0], image[done.tile.write.slices])

    stream(ArraySource(image), plan, runtime, [consume])
    return labels, writes


@settings(max_examples=60, deadline=None)
@given(networks().filter(lambda network: network.stride <= 16), st.data())
def test_a_region_has_the_labels_of_the_whole(network, data):
    height, width = (data.draw(st.integers(1, 150)) for _ in "yx")
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    region = Region(y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x)))
    tile = data.draw(st.integers(legal_side(2 * network.margin + network.stride, network), 400))
    image = np.random.default_rng(0).integers(0, 255, (height, width), dtype=np.uint8)
    runtime = Pooling(network)

    covered = aligned(region, network.stride)
    plan = plan_tiles(*covered.sides, network, tile=tile, origin=covered.origin)
    labels, writes = labels_of(image, plan, runtime)
    once = np.zeros_like(writes)
    once[covered.slices] = 1
    np.testing.assert_array_equal(writes, once)
    assert covered.intersection(region) == region
    for each in plan:
        assert (each.read.y + network.margin) % network.stride == (each.read.x + network.margin) % network.stride == 0

    side = legal_side(max(height, width) + 2 * network.margin + network.stride, network)
    whole, _ = labels_of(image, plan_tiles(height, width, network, tile=side), runtime)
    np.testing.assert_array_equal(labels[region.slices], whole[region.slices])


def test_a_region_off_the_pooling_phase_would_have_others():
    """The guarantee is not empty: an origin that ignores the stride changes labels."""
    image = np.random.default_rng(0).integers(0, 255, (100, 100), dtype=np.uint8)
    network = Network(margin=20, stride=4, base=44)
    whole, _ = labels_of(image, plan_tiles(100, 100, network, tile=500), Pooling(network))
    shifted, _ = labels_of(image, plan_tiles(98, 98, network, tile=500, origin=(2, 2)), Pooling(network))
    assert (whole[2:, 2:] != shifted[2:, 2:]).mean() > 0.3
