"""A network that another toolkit exported to ONNX: what it is, and its graph between our ports."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_deploy._version import __version__
from unet_deploy.errors import ModelError, UsageError, reason
from unet_deploy.model.card import METADATA_KEY, Normalization
from unet_deploy.model.contract import PROBABILITIES
from unet_deploy.model.nodes import GraphBuilder
from unet_deploy.model.onnx_file import load
from unet_deploy.model.ports import graph_ports
from unet_deploy.model.unreadable import no_network
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    import onnx
    from onnx import TensorProto, compose, helper, numpy_helper, version_converter

Added = Literal["softmax", "sigmoid", "none"]

_OLDEST_OPSET, _OPSET = 13, 17
"""A graph older than the first is converted to the second; a later one keeps its own."""

CLASS_NUMBERS = "answers class numbers; export it before the argmax or threshold, to give its scores"
"""What is wrong with an answer that has chosen already."""

MOST_CHANNELS = 1024
"""Of an image: the bands of an imaging spectrometer are fewer."""


class ChannelsLastError(ModelError):
    """A network that answers (N, H, W, K)."""


@dataclass(frozen=True)
class Network:
    """A network in memory: (N, C, H, W) float32 in, (N, K, h, w) float32 out, with N, H and W dynamic."""

    path: Path
    proto: onnx.ModelProto
    channels: int
    fixed: str
    """The sides that the file was exported for, where it names them."""

    @cached_property
    def _session(self) -> Any:
        from unet_deploy.runtimes.onnxruntime import open_session

        try:
            return open_session(self.proto.SerializeToString())
        except Exception as error:  # ORT's errors share no base class but this
            raise ModelError(f"{self.path}: ONNX Runtime cannot load it ({reason(error)})") from error

    def run(self, batch: int, height: int, width: int) -> tuple[int, int, int]:
        """Planes, height and width of the answer to an input of this shape. Raises ModelError where it fails."""
        planes, tall, wide = self.answer(np.zeros((batch, self.channels, height, width), np.float32)).shape[1:]
        return planes, tall, wide

    def answer(self, tiles: np.ndarray) -> np.ndarray:
        """The answer (N, K, h, w) float32 to tiles (N, C, H, W) float32. Raises ModelError where it fails.

        Raises ChannelsLastError where it is (N, h, w, K), which shows in tiles that are not square.
        """
        shape, session = tiles.shape, self._session
        try:
            answer: np.ndarray = session.run(None, {self.proto.graph.input[0].name: tiles})[0]
        except Exception as error:
            if self.fixed:
                raise self.needs_dynamic_sides() from error
            raise ModelError(
                f"{self.path}: fails on an input of {shape} ({reason(error)}); give the --stride that its sides "
                "must be multiples of, --padding valid where it has none, or export it with dynamic batch and sides"
            ) from error
        if not isinstance(answer, np.ndarray):
            raise ModelError(f"{self.path}: answers a {type(answer).__name__}; export it to give (N, K, H, W) float32")
        if answer.ndim == 3 and (answer == np.round(answer)).all():
            raise ModelError(f"{self.path}: {CLASS_NUMBERS}")
        if answer.ndim != 4 or len(answer) != len(tiles) or answer.dtype != np.float32:
            raise ModelError(
                f"{self.path}: answers {answer.shape} {answer.dtype} to {shape}; export it to give (N, K, H, W) float32"
            )
        longer = shape[3] - shape[2]
        if longer and answer.shape[2] - answer.shape[1] == longer != answer.shape[3] - answer.shape[2]:
            raise ChannelsLastError(
                f"{self.path}: answers {answer.shape} to {shape}, channels last; export it to give (N, K, H, W) "
                "(tf2onnx: --outputs-as-nchw)"
            )
        return answer

    def needs_dynamic_sides(self) -> ModelError:
        """What is wrong with a network that only runs on the shape it was exported for."""
        return ModelError(
            f"{self.path}: was exported for {self.fixed} pixels and takes no other; export it with dynamic batch, "
            "height and width (torch.onnx.export: dynamic_axes or dynamic_shapes)"
        )

    @property
    def quantized(self) -> bool:
        """Whether the graph holds 8-bit layers."""
        return any(node.op_type == "DequantizeLinear" for node in self.proto.graph.node)


def read_network(path: Path, *, channels: int | None = None, head: str | None = None) -> Network:
    """Read an ONNX file that has no card. channels: where the file does not say; head: one of several outputs.

    Raises ModelError for what is no network of 2-D images, and UsageError where channels or head do not fit it.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        proto = load(path)
        if not proto.graph.node:
            raise ValueError("it holds no node")
    except Exception as error:  # protobuf's errors share no base class but this
        raise no_network(path, reason(error)) from error
    if any(each.key == METADATA_KEY for each in proto.metadata_props):
        raise UsageError(f"{path}: has a model card already; see it with: unet-deploy info {path}")
    graph = proto.graph
    weights = {each.name for each in graph.initializer}  # older files list them among the inputs
    inputs = [port for port in graph.input if port.name not in weights]
    outputs = [port for port in graph.output if head in (None, port.name)]
    if len(inputs) != 1:
        raise ModelError(f"{path}: takes {_names(inputs)}; export a network that takes one image")
    if len(outputs) != 1:
        raise UsageError(f"{path}: gives {_names(graph.output)}; choose one with --head")
    takes, sides = _channels(path, inputs[0], channels)
    _answer_in_float32(graph, outputs[0], path)
    shapes: tuple[list[str | int | None] | None, ...] = (["N", takes, "H", "W"], None)
    for there, port, shape in zip((graph.input, graph.output), (inputs[0], outputs[0]), shapes, strict=True):
        name = port.name
        del there[:]
        there.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    del graph.value_info[:]  # it may hold the shapes of one size
    _sort(graph, path)
    return Network(path, _modern(proto, path), takes, sides)


def _answer_in_float32(graph: onnx.GraphProto, port: onnx.ValueInfoProto, path: Path) -> None:
    """Let a graph that answers in another floating-point type cast it. Raises ModelError for whole numbers."""
    kind = port.type.tensor_type.elem_type
    if kind in (TensorProto.FLOAT, TensorProto.UNDEFINED):
        return
    if kind not in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
        raise ModelError(f"{path}: {CLASS_NUMBERS}")
    as_float = f"{port.name}.fp32"
    graph.node.append(helper.make_node("Cast", [port.name], [as_float], name=as_float, to=TensorProto.FLOAT))
    port.name = as_float


def _sort(graph: onnx.GraphProto, path: Path) -> None:
    """Put each node behind those whose answers it takes, as some converters do not. Raises ModelError for a circle."""
    made_by = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    waits_for = {at: {made_by[name] for name in _taken(node) & made_by.keys()} for at, node in enumerate(graph.node)}
    try:
        order = list(TopologicalSorter(waits_for).static_order())
    except CycleError as error:
        raise ModelError(f"{path}: its nodes go in a circle; export it again") from error
    if any(waits_for[at] - set(range(at)) for at in waits_for):
        nodes = [onnx.NodeProto.FromString(graph.node[at].SerializeToString()) for at in order]
        del graph.node[:]
        graph.node.extend(nodes)


def _taken(node: onnx.NodeProto) -> set[str]:
    """Names that a node takes, in the graphs that it holds too."""
    inner = (each for attribute in node.attribute for each in (attribute.g, *attribute.graphs))
    return {*node.input}.union(*(_taken(each) for graph in inner for each in graph.node))


def _channels(path: Path, port: onnx.ValueInfoProto, wanted: int | None) -> tuple[int, str]:
    """Image channels that the input takes, and its sides in words where they are fixed."""
    kind = port.type.tensor_type
    dims = kind.shape.dim
    if len(dims) == 5:
        raise ModelError(f"{path}: is a network for volumes (its input has 5 dimensions); export one for 2-D images")
    if len(dims) != 4:
        raise ModelError(f"{path}: its input has {len(dims)} dimensions; export it to take (N, C, H, W)")
    if kind.elem_type != TensorProto.FLOAT:
        names = {number: name.lower() for name, number in TensorProto.DataType.items()}
        raise ModelError(
            f"{path}: takes {names.get(kind.elem_type, 'numbers of an unknown type')}; export it in float32"
        )
    found = dims[1].dim_value
    if not 0 <= found <= MOST_CHANNELS:
        raise ModelError(f"{path}: says that it takes {found} channels, must be 1 to {MOST_CHANNELS}; export it again")
    if 0 < dims[3].dim_value <= 4 < (found or 5):
        raise ModelError(f"{path}: takes channels last; export it to take (N, C, H, W) (tf2onnx: --inputs-as-nchw)")
    if wanted and found and wanted != found:
        raise UsageError(f"{path}: takes {found} channels, not --channels {wanted}")
    if not (wanted or found):
        raise UsageError(f"{path}: does not say how many image channels it takes; pass --channels")
    sides = f"{dims[2].dim_value or 'any'} x {dims[3].dim_value or 'any'}"
    return wanted or found, sides if dims[2].dim_value or dims[3].dim_value else ""


def _modern(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), _OPSET)
    if opset >= _OLDEST_OPSET:
        return proto
    try:
        return version_converter.convert_version(proto, _OPSET)
    except Exception as error:
        raise ModelError(
            f"{path}: of opset {opset} cannot be made opset {_OPSET} ({reason(error)}); export it with that"
        ) from error


def _names(ports: Any) -> str:
    return f"{len(ports)} tensors ({', '.join(port.name for port in ports)})" if ports else "nothing of that name"


# -- its geometry ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasuredGeometry:
    """What running a network shows, in pixels."""

    planes: int
    """Of the answer."""
    lacks: int
    """Pixels a side that the answer lacks."""
    side: int
    """An input side that the network takes; others are strides away."""


_PROBED = (128, 256, 512, 1024)
"""Input sides, in pixels, that a network is tried on."""


def measure_padded(network: Network, stride: int) -> MeasuredGeometry:
    """The geometry of a network whose answer is as large as its input. Raises ModelError where it is not."""
    side = -(-_PROBED[0] // stride) * stride
    planes, height, width = network.run(2, side, side + stride)
    if (height, width) == (side, side + stride):
        return MeasuredGeometry(planes, 0, side)
    if network.fixed:
        raise network.needs_dynamic_sides()
    raise ModelError(
        f"{network.path}: answers {height} x {width} pixels to {side} x {side + stride}; pass --padding valid where "
        "its convolutions have no padding, or export it with the upsampling to its input's size"
    )


def measure_valid(network: Network, stride: int) -> MeasuredGeometry:
    """The geometry of a network of valid convolutions. Raises ModelError where its answer lacks no constant margin."""
    for start in _PROBED:
        lacks = {}
        for side in range(start, start + stride):
            with suppress(ModelError):
                planes, height, _ = network.run(1, side, side)
                if height > 0 and (side - height) % 2 == 0:
                    lacks[side] = (side - height) // 2
        if not lacks:
            continue
        side = min(lacks, key=lambda each: lacks[each])  # on other sides pooling drops a row, and more is lacking
        try:
            planes, height, width = network.run(2, side, side + stride)
        except ChannelsLastError:
            raise
        except ModelError:
            continue
        if side - height == side + stride - width == 2 * lacks[side]:
            return MeasuredGeometry(planes, lacks[side], side)
    if network.fixed:
        raise network.needs_dynamic_sides()
    raise ModelError(
        f"{network.path}: its answer lacks no even number of pixels that is the same for inputs {stride} apart; "
        "give its own --stride"
    )


def least_side(network: Network, geometry: MeasuredGeometry, margin: int, stride: int) -> int:
    """The smallest input side that the network takes and that leaves something without the margin."""
    least = 2 * margin + 1
    first = least + (geometry.side - least) % stride
    for side in range(first, max(first, geometry.side) + stride, stride):
        with suppress(ModelError):
            network.run(1, side, side)
            return side
    raise ModelError(f"{network.path}: fails on an input that leaves room for a margin of {margin} pixels")


# -- its graph ---------------------------------------------------------------------------------------------------


_WHOLE_TILE = {
    "Attention",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
}


def whole_tile_operators(network: Network) -> tuple[str, ...]:
    """Operators that let each pixel of their answer depend on the whole tile; it may be more than there are."""
    graph = network.proto.graph
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    found = {node.op_type for node in graph.node if node.op_type in _WHOLE_TILE}
    for node in graph.node:
        if node.op_type.startswith("Reduce"):
            axes = next((list(each.ints) for each in node.attribute if each.name == "axes"), None)
            if len(node.input) > 1 and node.input[1] in constants:
                axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            if axes not in ([1], [-3]):
                found.add(node.op_type)
        elif node.op_type == "MatMul" and not constants.keys() & set(node.input):
            found.add("MatMul of two features")  # attention
    return tuple(sorted(found))


@dataclass(frozen=True)
class Wrapping:
    """What stands around a network."""

    planes: int
    """Of its answer: one is the foreground, more are one for each class."""
    activation: Added
    """What makes probabilities of its answer."""
    normalization: Normalization
    mean: tuple[float, ...]
    """Taken off normalised grey values: one number, or one for each channel."""
    std: tuple[float, ...]
    """What they are then divided by."""


def wrap(network: Network, wrapping: Wrapping, *, crop: int = 0) -> onnx.ModelProto:
    """The network between the ports of docs/model-file.md, `crop` pixels a side cut off its answer.

    Raises ModelError where ONNX's checker objects.
    """
    model = compose.add_prefix(network.proto, prefix="network/")  # so that our names are free
    graph, before, after = model.graph, GraphBuilder(), GraphBuilder()
    _normalise(before, wrapping, graph.input[0].name)
    _answer(after, wrapping, graph.output[0].name, crop)
    inputs, outputs = graph_ports(network.channels, max(2, wrapping.planes), wrapping.normalization)
    nodes = [*before.nodes, *graph.node, *after.nodes]
    constants = [*before.constants, *graph.initializer, *after.constants]
    wrapped = helper.make_model(
        helper.make_graph(nodes, "adopted", inputs, outputs, constants),
        producer_name="unet-deploy",
        producer_version=__version__,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
    )
    try:
        onnx.checker.check_model(wrapped, full_check=True)
    except Exception as error:  # the checker and shape inference have their own unrelated types
        raise ModelError(f"{network.path}: cannot be wrapped ({reason(error)}); export it again") from error
    return wrapped


def _normalise(part: GraphBuilder, wrapping: Wrapping, name: str) -> None:
    """((image - offset) * scale - mean) / std."""
    shifted, scale = part.shift(wrapping.normalization)
    if not any(wrapping.mean) and set(wrapping.std) == {1}:
        part.node("Mul", name, shifted, scale)
        return
    mean = part.constant("mean", np.reshape(wrapping.mean, (1, -1, 1, 1)), np.float32)
    std = part.constant("std", np.reshape(wrapping.std, (1, -1, 1, 1)), np.float32)
    centred = part.node("Sub", "centred", part.node("Mul", "normalised", shifted, scale), mean)
    part.node("Div", name, centred, std)


def _answer(part: GraphBuilder, wrapping: Wrapping, scores: str, crop: int) -> None:
    """Probabilities, and the class of the largest, the lower one of a tie."""
    if crop:
        scores = part.crop("crop", scores, crop)
    if wrapping.planes > 1:
        part.decide(scores, wrapping.planes)
    else:
        even = part.constant("even", 0 if wrapping.activation == "sigmoid" else 0.5, np.float32)
        larger = part.node("Greater", "larger", scores, even)
        part.label(part.node("Squeeze", "index", larger, part.constant("class_axis", [1])))
    if wrapping.activation == "softmax":
        part.node("Softmax", PROBABILITIES, scores, axis=1)
    elif wrapping.planes > 1:
        part.node("Identity", PROBABILITIES, scores)
    else:
        share = part.node("Sigmoid", "share", scores) if wrapping.activation == "sigmoid" else scores
        rest = part.node("Sub", "rest", part.constant("one", 1, np.float32), share)
        part.node("Concat", PROBABILITIES, rest, share, axis=1)
