"""A model file as a run wants it: resampling around the network, and another threshold, made in the graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from unet_deploy.model.card import METADATA_KEY
from unet_deploy.model.change import AS_IT_IS, Change
from unet_deploy.model.contract import IMAGE, LABELS, PROBABILITIES
from unet_deploy.model.lower import keep, keep_outputs
from unet_deploy.model.nodes import GraphBuilder
from unet_deploy.model.onnx_file import ModelFile, read_model
from unet_deploy.model.resample import RESAMPLING, resample
from unet_deploy.model.scaling import Resampling
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    import onnx
    from onnx import helper

DECISION = "decision"
"""How the names of nodes begin that choose a class."""


def read_to_run(path: Path, change: Change = AS_IT_IS) -> ModelFile:
    """Read a model as a runtime is to run it, by its own card and by what is asked for. Raises ModelError."""
    return changed(read_model(path), change)


def changed(model: ModelFile, change: Change) -> ModelFile:
    """Return the model with the change made in its graph and in its card; the model itself where there is none."""
    if not change.touches(model.card):
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    ports = {port.name: port for port in proto.graph.output}
    keep_outputs(proto.graph, [PROBABILITIES])  # labels are decided anew
    keep(proto.graph.output, [ports[LABELS], ports[PROBABILITIES]])
    classes, threshold = len(model.card.classes), change.threshold_of(model.card)
    resampling = change.resampling(model.card)
    if resampling is None:
        _decide(proto.graph, classes, threshold)
    else:
        _resample_image(proto.graph, resampling)
        _resample_answer(proto.graph, resampling, classes, threshold)
    card = change.of(model.card)
    del proto.metadata_props[:]
    del proto.graph.value_info[:]
    helper.set_model_props(proto, {METADATA_KEY: card.to_json()})
    return ModelFile(model.path, proto, card)


def _resample_image(graph: onnx.GraphProto, resampling: Resampling) -> None:
    before = GraphBuilder()
    image = resample(before, IMAGE, IMAGE, resampling.cut_in, columns_first=True)
    _rename_inputs(graph, IMAGE, image)
    graph.initializer.extend(before.constants)
    keep(graph.node, [*before.nodes, *graph.node])


def _resample_answer(graph: onnx.GraphProto, resampling: Resampling, classes: int, threshold: float) -> None:
    """Probabilities on the image's grid, and the labels that they decide; of two classes one plane says all."""
    after, answer = GraphBuilder(), f"{RESAMPLING}.network.{PROBABILITIES}"
    _rename_output(graph, PROBABILITIES, answer)
    if classes == 2:
        bounds = (after.constant(f"{RESAMPLING}.foreground.{name}", [at]) for name, at in (("from", 1), ("to", 2)))
        axis = after.constant(f"{RESAMPLING}.class_axis", [1])
        answer = after.node("Slice", f"{RESAMPLING}.foreground", answer, *bounds, axis)
    planes = resample(after, "answer", answer, resampling.cut_out, columns_first=False)
    none, full = (after.constant(f"{RESAMPLING}.{name}", at, np.float32) for name, at in (("none", 0), ("full", 1)))
    if classes == 2:
        level = after.constant(f"{DECISION}.threshold", threshold, np.float32)
        larger = after.node("Greater", f"{DECISION}.larger", planes, level)
        after.label(after.node("Squeeze", f"{DECISION}.index", larger, axis))
        foreground = after.node("Clip", f"{RESAMPLING}.clipped", planes, none, full)
        background = after.node("Sub", f"{RESAMPLING}.background", full, foreground)
        after.node("Concat", PROBABILITIES, background, foreground, axis=1)
    else:
        after.node("Clip", PROBABILITIES, planes, none, full)
        weights = _background_first(classes, threshold / (1 - threshold), 1)
        _label_best(after, planes, "Mul", weights, is_needed=threshold != 0.5)
    _append(graph, after)


def _decide(graph: onnx.GraphProto, classes: int, threshold: float) -> None:
    """Labels with the background weighed by the odds of the threshold, p0 t / (1 - t).

    Before a softmax that is a bias, so that labels alone need no softmax, as without a threshold.
    """
    odds, after = threshold / (1 - threshold), GraphBuilder()
    scores, weigh, weight, neutral = PROBABILITIES, "Mul", odds, 1.0
    made = next(node for node in graph.node if PROBABILITIES in node.output)
    if made.op_type == "Softmax" and any(each.name == "axis" and each.i in (1, -3) for each in made.attribute):
        scores, weigh, weight, neutral = made.input[0], "Add", math.log(odds), 0.0
    if classes > 2:
        _label_best(after, scores, weigh, _background_first(classes, weight, neutral), is_needed=True)
    else:
        ends = [after.constant(f"{DECISION}.class{k}", [k]) for k in range(3)]
        axis = after.constant(f"{DECISION}.class_axis", [1])
        first, second = (
            after.node("Slice", f"{DECISION}.{name}", scores, *ends[k : k + 2], axis)
            for k, name in enumerate(("background", "foreground"))
        )
        bias = after.constant(f"{DECISION}.weight", weight, np.float32)
        weighed = after.node(weigh, f"{DECISION}.weighed", first, bias)
        larger = after.node("Greater", f"{DECISION}.larger", second, weighed)
        after.label(after.node("Squeeze", f"{DECISION}.index", larger, axis))
    _append(graph, after)


def _background_first(classes: int, background: float, others: float) -> np.ndarray:
    """A number for each class, (1, K, 1, 1) float32."""
    return np.array([background] + [others] * (classes - 1), np.float32).reshape(1, -1, 1, 1)


def _label_best(graph: GraphBuilder, scores: str, weigh: str, weights: np.ndarray, *, is_needed: bool) -> None:
    if is_needed:
        scores = graph.node(
            weigh, f"{DECISION}.weighed", scores, graph.constant(f"{DECISION}.weights", weights, np.float32)
        )
    graph.label(graph.node("ArgMax", f"{DECISION}.index", scores, axis=1, keepdims=0))


def _append(graph: onnx.GraphProto, after: GraphBuilder) -> None:
    graph.initializer.extend(after.constants)
    keep(graph.node, [*graph.node, *after.nodes])


def _rename_inputs(graph: onnx.GraphProto, name: str, other: str) -> None:
    for node in graph.node:
        for at, each in enumerate(node.input):
            if each == name:
                node.input[at] = other


def _rename_output(graph: onnx.GraphProto, name: str, other: str) -> None:
    _rename_inputs(graph, name, other)
    for node in graph.node:
        for at, each in enumerate(node.output):
            if each == name:
                node.output[at] = node.name = other
