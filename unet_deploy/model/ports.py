"""The inputs and outputs that the graph of every model file has: docs/model-file.md."""

from __future__ import annotations

from typing import Any

from unet_deploy.model.card import Normalization
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    from onnx import TensorProto, helper


def graph_ports(channels: int, classes: int, grey: Normalization) -> tuple[list[Any], list[Any]]:
    """Return the inputs and the outputs of a model; batch, height and width are dynamic.

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
