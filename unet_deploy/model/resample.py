"""Resampling as part of a model's graph: the image on its way in, probabilities on their way out.

Along the last axis of (N, C, h, w) a window of old pixels becomes a block of new ones by a matrix, the same for every
block. A window is one block of old pixels and the beginning of the next; nothing is moved in memory to see it so:

    old pixels      0 1 2 3 | 4 5 6 7 | 8 9 . .        blocks of 4, and windows of 5: 0..4, 4..8
    (.., blocks, 4)  [0 1 2 3] [4 5 6 7] [8 9 . .]
    new blocks       [0 1 2 3] A + [4] B,  [4 5 6 7] A + [8] B

The other axis is turned to the end for that, and back. What belongs to resampling is named after it, so that a graph
of half precision keeps it in float32: grey values go up to 65,535.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_deploy.model.nodes import GraphBuilder
from unet_deploy.model.scaling import Cut

RESAMPLING = "resampling"
"""How the names of its nodes begin."""

_TO_THE_END = np.iinfo(np.int64).max


def resample(graph: GraphBuilder, name: str, planes: str, cut: Cut, *, columns_first: bool) -> str:
    """Add the resampling of planes (N, C, h, w) float32 along both axes, and return the name of what comes of it.

    columns_first: whether the width is resampled before the height, as costs less where an image becomes smaller.
    """
    parts = [(f"{RESAMPLING}.{name}.x", False), (f"{RESAMPLING}.{name}.y", True)]
    for part, is_turned in parts if columns_first else parts[::-1]:
        if is_turned:
            planes = graph.node("Transpose", f"{part}.turned", planes, perm=[0, 1, 3, 2])
        planes = _along_last(graph, part, planes, cut)
        if is_turned:
            planes = graph.node("Transpose", f"{part}.upright", planes, perm=[0, 1, 3, 2])
    return planes


def _along_last(graph: GraphBuilder, name: str, planes: str, cut: Cut) -> str:
    takes, weights = cut.resampler.takes, cut.resampler.weights(cut.first)
    planes = _slice(graph, f"{name}.cut", planes, axis=3, start=cut.front, end=min(0, cut.back))
    if cut.back > 0:
        pads = graph.constant(f"{name}.pads", [0] * 7 + [cut.back])
        planes = graph.node("Pad", f"{name}.padded", planes, pads)
    shape = graph.constant(f"{name}.in_blocks", [0, 0, 0, -1, takes])
    blocks = graph.node("Reshape", f"{name}.blocks", planes, shape)
    parts = [weights[at : at + takes] for at in range(0, len(weights), takes)]
    terms = []
    for at, part in enumerate(parts):
        own = f"{name}.part{at}"
        seen = _slice(graph, f"{own}.begin", blocks, axis=4, start=0, end=len(part) - takes)
        term = graph.node("MatMul", own, seen, graph.constant(f"{own}.weights", part, np.float32))
        # Of all blocks, and then some are left out: to leave them out before would copy the whole image.
        terms.append(_slice(graph, f"{own}.blocks", term, axis=3, start=at, end=at + 1 - len(parts)))
    total = terms[0]
    for at, term in enumerate(terms[1:], 1):
        total = graph.node("Add", f"{name}.sum{at}", total, term)
    joined = graph.node("Reshape", f"{name}.joined", total, graph.constant(f"{name}.in_a_row", [0, 0, 0, -1]))
    return _slice(graph, f"{name}.whole", joined, axis=3, start=0, end=-cut.surplus)


def _slice(graph: GraphBuilder, name: str, planes: str, *, axis: int, start: int, end: int) -> str:
    """Take a part along an axis. end: 0, or below it what is left out."""
    if not start and not end:
        return planes
    values: dict[str, Any] = {"from": [start], "to": [end or _TO_THE_END], "axis": [axis]}
    return graph.node("Slice", name, planes, *(graph.constant(f"{name}.{key}", at) for key, at in values.items()))
