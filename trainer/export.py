"""Weights to a self-describing ONNX file.

The graph is written node by node from the weights: it is small and regular, so it comes out with nothing in it but
what the network does, the same bytes for the same weights, and no exporter to install.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from trainer.unet import UNet
from trainer.weights import load_weights
from unet_deploy import __version__
from unet_deploy.card import METADATA_KEY, ModelCard, Normalization
from unet_deploy.errors import VerificationError
from unet_deploy.files import check_free, replacing
from unet_deploy.grey import GreyScale
from unet_deploy.runtimes import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE
from unet_deploy.runtimes.onnxruntime import OnnxRuntime, measure_bytes_per_pixel

OPSET, IR_VERSION = 17, 9
"""Read by ONNX Runtime 1.14, TensorRT 10.12 and TensorRT-RTX, and all later ones."""

TOLERANCE = 1e-4
"""Largest difference of a probability between PyTorch and ONNX Runtime."""


def export(weights: Path, output: Path, *, name: str | None = None, overwrite: bool = False) -> ModelCard:
    """Write the weights of `unet-deploy train` as ONNX with a model card; returns the card.

    The file gets its name only after ONNX Runtime agrees with PyTorch on the real tiles that the weights carry.
    name: the model's name in its card, by default that of the file.
    Raises ModelError for a file that holds no weights, UsageError, and VerificationError.
    """
    check_free(output, overwrite=overwrite)
    network, saved = load_weights(weights)
    card = _card(network, saved, name or output.stem)
    graph = build(network, card)
    with replacing(output, overwrite=overwrite) as beside:
        save(graph, card, beside)
        check(beside, network, card, saved["examples"])
        card = replace(card, bytes_per_pixel=measure_bytes_per_pixel(beside))
        save(graph, card, beside)
    return card


def _card(network: UNet, saved: dict[str, Any], name: str) -> ModelCard:
    about = {**saved["about"], "normalization": Normalization(**saved["about"]["normalization"])}
    channels = saved["architecture"]["channels"]
    return ModelCard(
        name=name,
        channels=channels,
        margin=network.margin,
        stride=network.stride,
        base=network.base,
        metrics=saved["metrics"],
        **about,
    )


def save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a model with its card in its metadata."""
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save_model(model, str(path))


def check(path: Path, network: UNet, card: ModelCard, examples: Sequence[torch.Tensor]) -> None:
    """Raise VerificationError unless ONNX Runtime's probabilities are PyTorch's, on normalised tiles (C, h, w)."""
    # The examples are normalised already; a scale that is not 1 makes the graph's own normalisation part of the check.
    grey = GreyScale(np.full(card.channels, 7, np.float32), np.full(card.channels, 0.25, np.float32))
    if card.normalization.method == "fixed":
        fixed = card.normalization
        grey = GreyScale(
            np.full(card.channels, fixed.offset, np.float32), np.full(card.channels, fixed.scale, np.float32)
        )
    worst = 0.0
    with OnnxRuntime(path, probabilities=True) as runtime, torch.no_grad():
        for example in examples:
            expected = network(example[None]).softmax(1).numpy()
            raw = example.numpy() / grey.scale[:, None, None] + grey.offset[:, None, None]
            answer = runtime.submit([raw.astype(np.float32)], [grey])
            assert answer.probabilities is not None
            worst = float(np.maximum(worst, np.abs(answer.probabilities - expected).max()))  # keeps NaN
            second, first = np.sort(expected, axis=1)[:, -2:].swapaxes(0, 1)
            if (answer.labels != expected.argmax(1))[first - second > TOLERANCE].any():
                raise VerificationError(
                    f"model {card.name!r}: ONNX Runtime's labels are not PyTorch's; nothing written"
                )
    if not worst <= TOLERANCE:
        raise VerificationError(
            f"model {card.name!r}: ONNX Runtime's probabilities are {worst:.2g} from PyTorch's; nothing written"
        )


# -- the graph -----------------------------------------------------------------------------------------------


def build(network: UNet, card: ModelCard) -> onnx.ModelProto:
    """The ONNX model: grey values in, labels and probabilities out, batch, height and width dynamic.

    image: (N, C, H, W) float32; offset, scale: (N, C) float32, where the card's normalisation is measured.
    labels: (N, H - 2 * margin, W - 2 * margin) uint8; probabilities: (N, K, ...) float32.
    """
    graph = _Graph()
    inputs = [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["N", card.channels, "H", "W"])]
    if card.normalization.method == "percentile":
        inputs += [
            helper.make_tensor_value_info(each, TensorProto.FLOAT, ["N", card.channels]) for each in (OFFSET, SCALE)
        ]
    features = _normalise(graph, card)
    skips: list[str] = []
    for level, convolve in enumerate(network.down):
        features = _convolve_twice(graph, convolve, f"down{level}", features)
        if level < network.depth:
            skips.append(features)
            features = graph.node("MaxPool", f"pool{level}", features, kernel_shape=[2, 2], strides=[2, 2])
    for level in reversed(range(network.depth)):
        up = _layer(graph, "ConvTranspose", f"up{level}", network.up[level], features, strides=[2, 2])
        skip = graph.crop(f"crop{level}", skips[level], network.crop(level))
        features = graph.node("Concat", f"concat{level}", skip, up, axis=1)
        features = _convolve_twice(graph, network.merge[level], f"merge{level}", features)
    logits = _layer(graph, "Conv", "head", network.head, features)
    graph.node("Softmax", PROBABILITIES, logits, axis=1)
    _decide(graph, logits, len(card.classes))
    outputs = [
        helper.make_tensor_value_info(LABELS, TensorProto.UINT8, ["N", "h", "w"]),
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", len(card.classes), "h", "w"]),
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "unet", inputs, outputs, graph.constants),
        producer_name="unet-deploy",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes in order and constants; every node has one output, of its own name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def crop(self, name: str, features: str, pixels: int) -> str:
        ends = {"from": [pixels] * 2, "to": [-pixels] * 2, "axes": [2, 3]}
        limits = [self.constant(f"{name}.{key}", np.array(value, np.int64)) for key, value in ends.items()]
        return self.node("Slice", name, features, *limits)


def _normalise(graph: _Graph, card: ModelCard) -> str:
    """(image - offset) * scale, with measured offset and scale, or the card's."""
    if card.normalization.method == "percentile":
        axes = graph.constant("spatial", np.array([2, 3], np.int64))
        offset, scale = (graph.node("Unsqueeze", f"{each}4d", each, axes) for each in (OFFSET, SCALE))
    else:
        offset = graph.constant(OFFSET, np.float32(card.normalization.offset).reshape(1, 1, 1, 1))
        scale = graph.constant(SCALE, np.float32(card.normalization.scale).reshape(1, 1, 1, 1))
    return graph.node("Mul", "normalised", graph.node("Sub", "shifted", IMAGE, offset), scale)


def _convolve_twice(graph: _Graph, layers: nn.Module, name: str, features: str) -> str:
    convolutions = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    for at, convolution in enumerate(convolutions):
        features = _layer(graph, "Conv", f"{name}.conv{at}", convolution, features)
        features = graph.node("Relu", f"{name}.relu{at}", features)
    return features


def _layer(graph: _Graph, kind: str, name: str, layer: nn.Module, features: str, **attributes: Any) -> str:
    weight, bias = (getattr(layer, part).detach().cpu().numpy() for part in ("weight", "bias"))
    constants = [graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias)]
    return graph.node(kind, name, features, *constants, kernel_shape=list(weight.shape[2:]), **attributes)


def _decide(graph: _Graph, logits: str, classes: int) -> None:
    """The class of the largest logit, the lower one of a tie."""
    if classes > 2:
        index = graph.node("ArgMax", "index", logits, axis=1, keepdims=0)
    else:  # TensorRT makes a slow sort of ArgMax; two classes need one comparison
        first, second = (graph.constant(f"class{k}", np.array([k], np.int64)) for k in (0, 1))
        axis = graph.constant("class_axis", np.array([1], np.int64))
        two = graph.constant("class2", np.array([2], np.int64))
        background = graph.node("Slice", "background", logits, first, second, axis)
        foreground = graph.node("Slice", "foreground", logits, second, two, axis)
        larger = graph.node("Greater", "larger", foreground, background)
        index = graph.node("Squeeze", "index", larger, axis)
    graph.node("Cast", LABELS, index, to=TensorProto.UINT8)
