"""Floating-point operations of a model, counted on its graph: two for each multiply-add of its convolutions."""

from __future__ import annotations

import math
from typing import Any

from unet_deploy.errors import ModelError, reason
from unet_deploy.model.contract import IMAGE
from unet_deploy.system.extras import importing


def count_flops(proto: Any, shape: tuple[int, int, int]) -> int:
    """Count the FLOPs of one run on (N, H, W) by its convolutions, plain and transposed: all else is a few per mille.

    proto: an onnx.ModelProto. Raises ModelError where shapes cannot be inferred.
    """
    with importing("onnx", "onnx"):
        import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for port in fixed.graph.input:
        dims = port.type.tensor_type.shape.dim
        dims[0].dim_value = shape[0]
        if port.name == IMAGE:
            dims[2].dim_value, dims[3].dim_value = shape[1:]
    for port in fixed.graph.output:
        port.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the model's shapes cannot be inferred ({reason(error)})") from error
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {each.name: list(each.dims) for each in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight = shapes[node.input[1]]
            # A convolution applies its weights (O, I / groups, ...) at every output, a transposed one at every input.
            places = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            total += 2 * math.prod(weight) * places[0] * math.prod(places[2:])
    return total
