"""Weights to a self-describing ONNX file.

The graph is written node by node from the weights: it is small and regular, so it comes out with nothing in it but
what the network does, the same bytes for the same weights, and no exporter to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper

from trainer.layers import Layer, named_layers
from trainer.recipe import first_decision
from trainer.unet import UNet
from trainer.weights import SCORE, load_weights
from unet_deploy._version import __version__
from unet_deploy.errors import ModelError, VerificationError, reason
from unet_deploy.images.grey import GreyScale
from unet_deploy.masks.apart import check_apart
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.contract import LIMIT_PPM, PROBABILITIES
from unet_deploy.model.decision import Decision
from unet_deploy.model.nodes import GraphBuilder
from unet_deploy.model.onnx_file import save
from unet_deploy.model.parent import Parent
from unet_deploy.model.ports import graph_ports
from unet_deploy.runtimes import Answer
from unet_deploy.runtimes.agreement import compare
from unet_deploy.runtimes.onnxruntime import OnnxRuntime, measure_bytes_per_pixel
from unet_deploy.system.files import check_ends, check_free, replacing

OPSET, IR_VERSION = 17, 9
"""Read by ONNX Runtime 1.14, TensorRT 10.12 and TensorRT-RTX, and all later ones."""


def export(
    weights: Path,
    output: Path,
    *,
    name: str | None = None,
    limit_ppm: float = LIMIT_PPM,
    overwrite: bool = False,
) -> ModelCard:
    """Write the weights of `unet-deploy train` as ONNX with a model card; returns the card.

    The file gets its name only after ONNX Runtime agrees with PyTorch on the real tiles that the weights carry.
    name: the model's name in its card, by default that of the file. limit_ppm: as of the card.
    Raises ModelError for a file that holds no weights, UsageError, and VerificationError.
    """
    check_ends(output, "models", (".onnx",))
    check_apart([output], [weights])
    check_free(output, overwrite=overwrite)
    network, saved = load_weights(weights)
    card = replace(card_of_weights(network, saved, name or output.stem), limit_ppm=limit_ppm)
    graph = build(network, card)
    with replacing(output, overwrite=overwrite) as beside:
        save(graph, card, beside)
        check(beside, network, card, saved["examples"])
        card = replace(card, bytes_per_pixel=measure_bytes_per_pixel(beside))
        save(graph, card, beside)
    return card


def card_of_weights(network: UNet, saved: dict[str, Any], name: str) -> ModelCard:
    """The card of what a file of weights holds. Raises ModelError for what no card may say."""
    parent = Parent.from_plain(saved["parent"]) if saved.get("parent") else None
    description = {**saved["about"], "normalization": Normalization(**saved["about"]["normalization"])}
    if parent and not description.get("license"):
        description["license"] = parent.license
    channels = saved["architecture"]["channels"]
    split, metrics = _split(saved)
    return ModelCard(
        name=name,
        channels=channels,
        margin=network.margin,
        stride=network.stride,
        base=network.base,
        split=split,
        training_images=tuple(saved.get("training_images", ())),
        mask_kind=saved.get("mask_kind", ""),
        mask_values=tuple(saved.get("mask_values", ())),
        seed=saved["recipe"]["seed"],
        metrics=metrics,
        decision=_decision(saved),
        parent=parent,
        **description,
    )


def _decision(saved: dict[str, Any]) -> Decision:
    """How the network's answer becomes objects. Weights of earlier versions know what the recipe decides alone."""
    if saved.get("decision"):
        return Decision.from_plain(saved["decision"])
    return first_decision(saved["recipe"].get("diameter"))


def _split(saved: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """Say what was held back, and the scores. Weights of earlier versions tell it in the name of their score alone."""
    split, metrics = saved.get("split", ""), {}
    for name, value in saved["metrics"].items():
        measure, named, rule = name.partition(f"{SCORE} ")
        split = f"{rule} held back" if named else split
        metrics[SCORE if named else measure] = value
    return split, metrics


def check(path: Path, network: UNet, card: ModelCard, examples: Sequence[torch.Tensor]) -> None:
    """Raise VerificationError unless ONNX Runtime's probabilities are PyTorch's, on normalised tiles (C, h, w)."""
    grey = _grey_of(card)
    with OnnxRuntime(path, probabilities=True) as runtime, torch.no_grad():
        for example in examples:
            expected = network(example[None]).softmax(1).numpy()[0]
            with np.errstate(all="ignore"):  # a scale without bounds makes numbers that the answer is refused for
                raw = example.numpy() / grey.scale[:, None, None] + grey.offset[:, None, None]
            answer = _answer(runtime, raw.astype(np.float32), grey, card)
            assert answer.probabilities is not None
            labels, threshold = card.decision.labels(expected[None])[0], card.decision.threshold
            seen = compare(labels, expected, answer.labels[0], answer.probabilities[0], threshold=threshold)
            if not seen.holds:
                raise VerificationError(
                    f"model {card.name!r}: ONNX Runtime's answer is not PyTorch's, {seen.labels_differ} labels differ "
                    f"and probabilities are {seen.worst_probability:.2g} apart, {seen.not_finite} of them not finite; "
                    "nothing written"
                )


def _answer(runtime: OnnxRuntime, tile: np.ndarray, grey: GreyScale, card: ModelCard) -> Answer:
    """The exported network's answer to a tile (C, h, w). Raises VerificationError where that says nothing."""
    try:
        return runtime.submit([tile], [grey])
    except ModelError as error:
        why = reason(error).partition(": ")[2].partition(";")[0]  # without the file, and what to do with it
        raise VerificationError(f"model {card.name!r}: ONNX Runtime {why}; train it again; nothing written") from error


def _grey_of(card: ModelCard) -> GreyScale:
    """The grey scale by which normalised tiles are taken back to grey values: the card's own, where it has one.

    Elsewhere one that is not 1, so that the graph's normalisation is part of the check.
    """
    fixed = card.normalization if card.normalization.method == "fixed" else Normalization("fixed", 7, 0.25)
    offset, scale = (np.full(card.channels, value, np.float32) for value in (fixed.offset, fixed.scale))
    return GreyScale(offset, scale)


# -- the graph -----------------------------------------------------------------------------------------------


def build(network: UNet, card: ModelCard) -> onnx.ModelProto:
    """The ONNX model: grey values in, labels and probabilities out, as `ports` has them, without the margin."""
    graph = GraphBuilder()
    inputs, outputs = graph_ports(card.channels, len(card.classes), card.normalization)
    features = graph.node("Mul", "normalised", *graph.shift(card.normalization))
    skips: list[str] = []
    layers = named_layers(network)
    for level in range(network.depth + 1):
        features = _convolve_twice(graph, layers, f"down{level}", features)
        if level < network.depth:
            skips.append(features)
            features = graph.node("MaxPool", f"pool{level}", features, kernel_shape=[2, 2], strides=[2, 2])
    for level in reversed(range(network.depth)):
        up = _layer(graph, "ConvTranspose", f"up{level}", layers, features, strides=[2, 2])
        skip = graph.crop(f"crop{level}", skips[level], network.crop(level))
        features = graph.node("Concat", f"concat{level}", skip, up, axis=1)
        features = _convolve_twice(graph, layers, f"merge{level}", features)
    logits = _layer(graph, "Conv", "head", layers, features)
    graph.node("Softmax", PROBABILITIES, logits, axis=1)
    graph.decide(logits, len(card.classes))
    model = helper.make_model(
        helper.make_graph(graph.nodes, "unet", inputs, outputs, graph.constants),
        producer_name="unet-deploy",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _convolve_twice(graph: GraphBuilder, layers: Mapping[str, Layer], name: str, features: str) -> str:
    for at in range(2):
        features = _layer(graph, "Conv", f"{name}.conv{at}", layers, features)
        features = graph.node("Relu", f"{name}.relu{at}", features)
    return features


def _layer(
    graph: GraphBuilder, kind: str, name: str, layers: Mapping[str, Layer], features: str, **attributes: Any
) -> str:
    weight, bias = (getattr(layers[name], part).detach().cpu().numpy() for part in ("weight", "bias"))
    values = {"weight": weight, "bias": bias}
    constants = [graph.constant(f"{name}.{part}", value, np.float32) for part, value in values.items()]
    return graph.node(kind, name, features, *constants, kernel_shape=list(weight.shape[2:]), **attributes)
