"""Decoded blocks are kept by the bytes that they take, not by their number."""

import numpy as np

from unet_deploy.images.cache import BlockCache


def block(size):
    return np.zeros(size, np.uint8)


def test_what_was_not_asked_for_longest_goes_first():
    cache = BlockCache(30)
    for place in "abc":
        cache[place] = block(10)
    assert cache["a"].size == 10
    cache["d"] = block(10)
    assert set(cache) == {"a", "c", "d"}


def test_a_block_larger_than_the_cache_is_kept_alone():
    cache = BlockCache(30)
    cache["small"] = block(10)
    cache["large"] = block(100)
    assert set(cache) == {"large"}
    cache["next"] = block(10)
    assert set(cache) == {"next"}
