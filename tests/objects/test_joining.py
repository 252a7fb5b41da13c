"""Which nodes are joined, however long the chains that join them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unet_deploy.objects.runs import components


def known(pairs, count):
    """SciPy's answer."""
    graph = coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(count, count))
    return connected_components(graph, directed=False)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_are_those_of_scipy_by_their_first_nodes(graph):
    count, edges = graph
    pairs = np.array(edges, np.intp).reshape(-1, 2).T
    found, owner = components(pairs, count)
    expected, numbers = known(pairs, count)
    assert found == expected
    assert owner.dtype == np.int32
    np.testing.assert_array_equal(owner, numbers)


def test_nothing_makes_no_component():
    found, owner = components(np.zeros((2, 0), np.intp), 0)
    assert (found, owner.shape) == (0, (0,))


@pytest.mark.parametrize("order", ["rising", "falling", "mixed", "halves"])
def test_a_chain_is_one_component_in_whatever_order_its_nodes_come(order):
    count = 100_000
    nodes = np.arange(count)
    chain = {
        "rising": nodes,
        "falling": nodes[::-1],
        "mixed": np.random.default_rng(0).permutation(count),
        "halves": nodes.reshape(2, -1).T.ravel(),
    }[order]
    found, owner = components(np.stack([chain[1:], chain[:-1]]), count)
    assert found == 1
    assert not owner.any()
