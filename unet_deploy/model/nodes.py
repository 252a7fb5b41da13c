"""What lies around the network in a model's graph: the shift of grey values before it, the choice of a class after."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_deploy.model.card import Normalization
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, SCALE
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper


class GraphBuilder:
    """Collects nodes, in order, and constants for an ONNX graph. Each node has one output, which has the node's name.

    >>> graph = GraphBuilder()
    >>> graph.crop("cropped", "features", 92)
    'cropped'
    >>> [node.op_type for node in graph.nodes], [constant.name for constant in graph.constants]
    (['Slice'], ['cropped.from', 'cropped.to', 'cropped.axes'])
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of the operator `kind` and return the name of its output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: type = np.int64) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, dtype)), name))
        return name

    def crop(self, name: str, features: str, pixels: int) -> str:
        """Take so many pixels from each side of features (N, C, H, W)."""
        ends = {"from": [pixels] * 2, "to": [-pixels] * 2, "axes": [2, 3]}
        return self.node("Slice", name, features, *(self.constant(f"{name}.{end}", at) for end, at in ends.items()))

    def shift(self, grey: Normalization) -> tuple[str, str]:
        """Return the names of image - offset and of the scale to multiply it by, each (N, C, 1, 1) or (1, 1, 1, 1).

        Both are inputs of the graph where a page is measured, and constants from the card where the scale is fixed.
        """
        if grey.method == "percentile":
            axes = self.constant("spatial", [2, 3])
            offset, scale = (self.node("Unsqueeze", f"{each}4d", each, axes) for each in (OFFSET, SCALE))
        else:
            offset = self.constant(OFFSET, np.reshape(grey.offset, (1, 1, 1, 1)), np.float32)
            scale = self.constant(SCALE, np.reshape(grey.scale, (1, 1, 1, 1)), np.float32)
        return self.node("Sub", "shifted", IMAGE, offset), scale

    def decide(self, scores: str, classes: int) -> None:
        """Add the labels (N, h, w): the class of the largest of the scores (N, K, h, w), the lower one of a tie."""
        if classes > 2:
            self.label(self.node("ArgMax", "index", scores, axis=1, keepdims=0))
            return
        # TensorRT makes a slow sort of ArgMax; two classes need one comparison.
        first, second = (self.constant(f"class{k}", [k]) for k in (0, 1))
        axis, two = self.constant("class_axis", [1]), self.constant("class2", [2])
        background = self.node("Slice", "background", scores, first, second, axis)
        foreground = self.node("Slice", "foreground", scores, second, two, axis)
        self.label(self.node("Squeeze", "index", self.node("Greater", "larger", foreground, background), axis))

    def label(self, index: str) -> None:
        """Make class indices (N, h, w) the graph's output of labels, uint8."""
        self.node("Cast", LABELS, index, to=TensorProto.UINT8)
