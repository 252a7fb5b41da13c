"""Decoded pieces of an image that are kept: neighbouring tiles of a plan share them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from cachetools import LRUCache

CACHE_BYTES = 128 << 20
"""What an image may keep."""

Place = TypeVar("Place")


class BlockCache(LRUCache[Place, np.ndarray]):
    """Strips, tiles or chunks by their place, of so many bytes together; the one not asked for longest goes first.

    A block that is larger than all of that is kept alone, so that neighbouring tiles do not decode it twice.

    >>> cache = BlockCache(8)
    >>> for place in (0, 1, 2):
    ...     cache[place] = np.zeros(4, np.uint8)
    >>> list(cache)
    [1, 2]
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, getsizeof=lambda block: min(block.nbytes, most_bytes))
