"""A model's ONNX graph, changed for a device: half precision, pixels as they are stored, only the outputs asked for.

The file that the trainer exports takes float32 pixels and computes in float32. A GPU wants half of everything: the
precision of a TensorRT engine is what its graph says (strong typing), and a tile of 8-bit pixels should cross the bus
as one byte a pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from unet_deploy.errors import ModelError, reason
from unet_deploy.model import finite
from unet_deploy.model.contract import IMAGE, LABELS, PROBABILITIES, Pixels, Precision
from unet_deploy.model.onnx_file import QUANTIZING, ModelFile
from unet_deploy.model.resample import RESAMPLING
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

_HEAVY = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
"""Where the time goes. They and what lies between them run in half precision; what comes before the first (grey values
up to 65,535) and after the last (softmax, the choice of a class) stays in float32."""
_FRAGILE = {"Softmax", "LogSoftmax", "Exp", "Pow", "ReduceMean", "ReduceSum", "InstanceNormalization", "Cast"}
"""What loses too much in half precision, or says its type itself."""
_ONLY_FIRST_INPUT = {"Resize"}
"""Operators whose other inputs keep their type."""
_HALF_MAX = float(np.finfo(np.float16).max)


def lower(
    model: ModelFile,
    *,
    precision: Precision,
    pixels: Pixels,
    probabilities: bool,
    shape: tuple[int, int, int] | None = None,
) -> onnx.ModelProto:
    """Return the graph of a model as a device runs it.

    pixels: how the image crosses the bus; uint16 as (N, C, H, W, 2) bytes, low one first, because TensorRT has no
    16-bit integer. probabilities: keep that output as well as labels. shape: (N, H, W) to fix, dynamic by default.
    The card stays in its metadata. Raises ModelError where the precision does not fit the model, or a weight is
    NaN or infinite.
    """
    if precision == "int8" and not model.quantized:
        raise ModelError(f"{model.path}: has no 8-bit layers; take --precision fp16, or a quantized (Q/DQ) ONNX file")
    if precision != "int8" and model.quantized:
        raise ModelError(f"{model.path}: has 8-bit layers; take --precision int8, or the model it was made from")
    for each in model.proto.graph.initializer:
        if each.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16):
            finite.check_weight(numpy_helper.to_array(each), model.path)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    keep_outputs(proto.graph, [LABELS, PROBABILITIES] if probabilities else [LABELS])
    if precision == "int8":
        _make_symmetric(proto.graph)
    if precision == "fp16":
        _halve(proto, model.path)
    _take_pixels(proto.graph, pixels)
    _labels_from_float(proto.graph)
    if shape:
        _fix_shape(proto.graph, shape, model.card.margin)
    del proto.graph.value_info[:]
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # the checker and shape inference have their own unrelated types
        raise ModelError(f"{model.path}: cannot be made {precision} ({reason(error)})") from error
    return proto


def keep_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Drop all outputs but these, and what only they need."""
    keep(graph.output, [port for port in graph.output if port.name in names])
    needed, nodes = set(names), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
    keep(graph.node, nodes[::-1])
    keep(graph.initializer, [each for each in graph.initializer if each.name in needed])


# -- 8 bits ------------------------------------------------------------------------------------------------------


def _make_symmetric(graph: onnx.GraphProto) -> None:
    """8 bits as TensorRT has them: activations signed around zero, biases in float32.

    A CPU is fastest with unsigned activations of any zero point and 32-bit integer biases; the same ranges are kept.
    """
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    added: dict[str, np.ndarray] = {}
    nodes = []
    for node in graph.node:
        if node.op_type in QUANTIZING and len(node.input) == 3:
            name, scale, zero = node.input
            if name in values and values[name].dtype == np.int32:
                added[node.output[0]] = (values[name].astype(np.float64) * values[scale]).astype(np.float32)
                continue
            if values[zero].dtype == np.uint8:
                if node.op_type == "QuantizeLinear" and int(values[zero]) == 0:
                    # Unsigned around zero it clips what is negative, and the quantizer has left the Relu to it.
                    clipped = f"{name}.relu"
                    nodes.append(helper.make_node("Relu", [name], [clipped], name=f"{node.name}.relu"))
                    node.input[0] = clipped
                reach = max(int(values[zero]), 255 - int(values[zero]))
                node.input[1], node.input[2] = f"{scale}.s8", f"{zero}.s8"
                added[node.input[1]] = np.asarray(values[scale] * reach / 127, np.float32)
                added[node.input[2]] = np.zeros_like(values[zero], np.int8)
        nodes.append(node)
    keep(graph.node, nodes)
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in added.items())
    keep(graph.initializer, [each for each in graph.initializer if each.name in used])


# -- half precision --------------------------------------------------------------------------------------------


def _halve(proto: onnx.ModelProto, path: Path) -> None:
    """Compute what is heavy, and what lies between, in half precision; casts stand where the precision changes."""
    graph = proto.graph
    _constants_to_initializers(graph)
    floats = _float_tensors(proto)
    half = {name for node in _between_heavy(graph.node) if node.op_type not in _FRAGILE for name in node.output}
    initializers = {each.name: each for each in graph.initializer}
    as_half: dict[str, str] = {}
    as_full: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []

    def cast(name: str, to: int, made: dict[str, str]) -> str:
        if name not in made:
            made[name] = f"{name}.{'fp16' if to == TensorProto.FLOAT16 else 'fp32'}"
            nodes.append(helper.make_node("Cast", [name], [made[name]], name=made[name], to=to))
        return made[name]

    def half_weight(name: str) -> str:
        if name not in as_half:
            as_half[name] = f"{name}.fp16"
            values = numpy_helper.to_array(initializers[name])
            if not np.abs(values).max(initial=0) <= _HALF_MAX:
                raise ModelError(f"{path}: weight {name} is beyond half precision; take --precision fp32")
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), as_half[name]))
        return as_half[name]

    for node in graph.node:
        wants_half = node.output[0] in half
        for at, name in enumerate(node.input):
            if name not in floats or (wants_half and at and node.op_type in _ONLY_FIRST_INPUT):
                continue
            if wants_half and name in initializers:
                node.input[at] = half_weight(name)
            elif wants_half and name not in half:
                node.input[at] = cast(name, TensorProto.FLOAT16, as_half)
            elif not wants_half and name in half:
                node.input[at] = cast(name, TensorProto.FLOAT, as_full)
        nodes.append(node)
    for port in graph.output:
        if port.name in half:
            raise ModelError(f"{path}: its output {port.name} comes from a layer, not from a softmax; export it again")
    keep(graph.node, nodes)
    used = {name for node in graph.node for name in node.input}
    keep(graph.initializer, [each for each in graph.initializer if each.name in used])


def _between_heavy(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes that have a heavy operator at or above them, and one at or below them."""
    below_heavy: set[str] = set()
    for node in nodes:
        if _is_heavy(node) or below_heavy & set(node.input):
            below_heavy |= set(node.output)
    above_heavy: set[str] = set()
    chosen = []
    for node in reversed(nodes):
        if _is_heavy(node) or above_heavy & set(node.output):
            above_heavy |= set(node.input)
            if below_heavy & set(node.output):
                chosen.append(node)
    return chosen


def _is_heavy(node: onnx.NodeProto) -> bool:
    return node.op_type in _HEAVY and not node.name.startswith(RESAMPLING)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Make a weight of each node that holds one, so that all weights are found in one place."""
    rest = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            rest.append(node)
    keep(graph.node, rest)


def _float_tensors(proto: onnx.ModelProto) -> set[str]:
    """Return the names of all float32 tensors."""
    typed = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    ports = [*typed.value_info, *typed.input, *typed.output]
    names = {port.name for port in ports if port.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {each.name for each in typed.initializer if each.data_type == TensorProto.FLOAT}


# -- the image -------------------------------------------------------------------------------------------------


def _take_pixels(graph: onnx.GraphProto, pixels: Pixels) -> None:
    """Let the graph take stored pixels and make float32 of them itself."""
    if pixels == "float32":
        return
    port = next(each for each in graph.input if each.name == IMAGE)
    port.type.tensor_type.elem_type = TensorProto.UINT8
    as_float = f"{IMAGE}.fp32"
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == IMAGE:
                node.input[at] = as_float
    if pixels == "uint8":
        before = [helper.make_node("Cast", [IMAGE], [as_float], name=as_float, to=TensorProto.FLOAT)]
    else:
        port.type.tensor_type.shape.dim.add().dim_value = 2
        weights, axis = f"{IMAGE}.byte_weights", f"{IMAGE}.byte_axis"
        graph.initializer.append(numpy_helper.from_array(np.array([1, 256], np.float32), weights))
        graph.initializer.append(numpy_helper.from_array(np.array([4], np.int64), axis))
        cast, weighed = f"{IMAGE}.bytes", f"{IMAGE}.weighed"
        before = [
            helper.make_node("Cast", [IMAGE], [cast], name=cast, to=TensorProto.FLOAT),
            helper.make_node("Mul", [cast, weights], [weighed], name=weighed),
            helper.make_node("ReduceSum", [weighed, axis], [as_float], name=as_float, keepdims=0),
        ]
    keep(graph.node, [*before, *graph.node])


def _labels_from_float(graph: onnx.GraphProto) -> None:
    """TensorRT promises a cast to uint8 from floating point alone; class indices are exact in it."""
    at = next(index for index, node in enumerate(graph.node) if LABELS in node.output)
    if graph.node[at].op_type == "Cast":
        as_float = f"{LABELS}.fp32"
        cast = helper.make_node("Cast", [graph.node[at].input[0]], [as_float], name=as_float, to=TensorProto.FLOAT)
        graph.node[at].input[0] = as_float
        graph.node.insert(at, cast)


def _fix_shape(graph: onnx.GraphProto, shape: tuple[int, int, int], margin: int) -> None:
    """Make the (N, H, W) of the inputs constants; the outputs lack `margin` pixels at each side."""
    batch, height, width = shape
    for port in graph.input:
        dims = port.type.tensor_type.shape.dim
        dims[0].dim_value = batch
        if port.name == IMAGE:
            dims[2].dim_value, dims[3].dim_value = height, width
    for port in graph.output:
        dims = port.type.tensor_type.shape.dim
        dims[0].dim_value = batch
        dims[-2].dim_value, dims[-1].dim_value = height - 2 * margin, width - 2 * margin


def keep(field: Iterable, items: Sequence) -> None:
    """Replace a repeated protobuf field by some of its own items or by new ones."""
    kept = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]
