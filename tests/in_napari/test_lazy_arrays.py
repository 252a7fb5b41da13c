"""Arrays that read what they are indexed for give what NumPy gives, and read no more than is around it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.napari.lazy import LazyArray
from unet_deploy.tiling import Region
from unet_deploy.viewing.pixels import Pixels

STORED = np.arange(2 * 3 * 5 * 7 * 3, dtype=np.int32).reshape(2, 3, 5, 7, 3)


def lazy(stored=STORED, *, picture=True, seen=None):
    """The pixels as a lazy array; what it reads is noted in `seen`."""
    shape = stored.shape if picture else stored.shape[:-1]
    pages = stored.reshape(-1, *stored.shape[-3:])

    def read(page, region):
        if seen is not None:
            seen.append((page, region))
        values = np.moveaxis(pages[(page, *region.slices)], -1, 0)
        return Pixels(values if picture else values[:1])

    return LazyArray(read, shape, stored.dtype, is_picture=picture)


def keys(size):
    whole = st.integers(-size, size - 1)
    steps = st.sampled_from([None, 1, 2, -1])
    return whole | st.builds(slice, st.none() | whole, st.none() | whole, steps)


@given(st.tuples(*map(keys, STORED.shape)), st.integers(0, 5))
def test_a_picture_is_indexed_as_numpy_indexes_it(key, asked):
    assert np.array_equal(lazy()[key[:asked]], STORED[key[:asked]])


@given(st.tuples(*map(keys, STORED.shape[:-1])))
def test_a_channel_is_indexed_as_numpy_indexes_it(key):
    found = lazy(picture=False)[key]
    assert np.array_equal(found, STORED[..., 0][key])
    assert found.dtype == STORED.dtype


def test_an_ellipsis_stands_for_all_axes_between():
    assert np.array_equal(lazy()[0, ..., 1], STORED[0, ..., 1])


def test_nothing_is_read_but_what_is_asked_for():
    seen = []
    lazy(seen=seen)[1, 2, 1:3, 4:6]
    ((page, region),) = seen
    assert page == 5
    assert region == Region(1, 4, 2, 2)


def test_more_indices_than_axes_are_an_error():
    with pytest.raises(IndexError, match="6 indices for 5 axes"):
        lazy()[0, 0, 0, 0, 0, 0]


def test_what_holds_no_data_is_0():
    there = np.array([[True, False]])
    array = LazyArray(lambda page, region: Pixels(np.array([[[3.6, np.nan]]]), there), (1, 2), np.dtype(np.uint8))
    assert array[...].tolist() == [[4, 0]]
