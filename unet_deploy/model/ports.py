"""The ports of a model file, and the parts of its graph that lie beside them: docs/model-file.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import DeviceError
from unet_deploy.model.card import METADATA_KEY, ModelCard, Normalization
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise DeviceError("the package onnx is not installed; run: pip install onnx") from error


class Part:
    """Nodes in order and constants; every node has one output, of its own name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: type = np.int64) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, dtype)), name))
        return name

    def crop(self, name: str, features: str, pixels: int) -> str:
        """Features without so many pixels at each side."""
        ends = {"from": [pixels] * 2, "to": [-pixels] * 2, "axes": [2, 3]}
        return self.node("Slice", name, features, *(self.constant(f"{name}.{end}", at) for end, at in ends.items()))

    def shift(self, grey: Normalization) -> tuple[str, str]:
        """image - offset, and the scale to multiply it by: both measured, or the card's."""
        if grey.method == "percentile":
            axes = self.constant("spatial", [2, 3])
            offset, scale = (self.node("Unsqueeze", f"{each}4d", each, axes) for each in (OFFSET, SCALE))
        else:
            offset = self.constant(OFFSET, np.reshape(grey.offset, (1, 1, 1, 1)), np.float32)
            scale = self.constant(SCALE, np.reshape(grey.scale, (1, 1, 1, 1)), np.float32)
        return self.node("Sub", "shifted", IMAGE, offset), scale

    def decide(self, scores: str, classes: int) -> None:
        """The class of the largest score, the lower one of a tie."""
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
        self.node("Cast", LABELS, index, to=TensorProto.UINT8)


def ports(channels: int, classes: int, grey: Normalization) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs; batch, height and width are dynamic.

    image: (N, C, H, W) float32; offset, scale: (N, C) float32, where the grey scale is measured.
    labels: (N, h, w) uint8; probabilities: (N, K, h, w) float32.
    """
    inputs = [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["N", channels, "H", "W"])]
    if grey.method == "percentile":
        inputs += [helper.make_tensor_value_info(each, TensorProto.FLOAT, ["N", channels]) for each in (OFFSET, SCALE)]
    outputs = [
        helper.make_tensor_value_info(LABELS, TensorProto.UINT8, ["N", "h", "w"]),
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes, "h", "w"]),
    ]
    return inputs, outputs


def save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a model with its card in its metadata."""
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save_model(model, str(path))
