"""What of a network's graph OpenVINO is slow at, made otherwise, with the same answer.

Beside the convolutions of a U-Net, whose speed is the processor's, most time went here, of a tile of 1564 x 1212 pixels
in bfloat16 on two cores of a Zen 4 some 33 of 384 ms.
"""

from __future__ import annotations

import numpy as np

from unet_deploy.runtimes.table import loading

with loading("openvino", "openvino"):
    import openvino as ov
    from openvino import opset8 as ops


def eased(graph: ov.Model) -> ov.Model:
    """The same graph, changed in place."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Concat":
            _convolve_apart(node)
        elif node.get_type_name() == "Squeeze":
            _compare_in_one_plane(node)
    return graph


def _convolve_apart(concat: ov.Node) -> None:
    """A convolution of channels side by side, as the sum of those of each: nothing is copied to lie side by side.

    a ──┐                            a ── conv ──┐
        ├── concat ── conv ──   ▶                ├── add ──
    b ──┘                            b ── conv ──┘
    """
    readers = concat.output(0).get_target_inputs()
    convolution = next(iter(readers)).get_node() if len(readers) == 1 else concat
    if convolution.get_type_name() != "Convolution" or concat.get_attributes()["axis"] != 1:
        return
    channels = [_channels(each) or 0 for each in concat.input_values()]
    weights = convolution.input_value(1).get_node()
    if weights.get_type_name() != "Constant" or not all(channels):
        return
    how = convolution.get_attributes()
    same = [how[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")]
    parts = np.split(weights.data, np.cumsum(channels)[:-1], axis=1)
    terms = [
        ops.convolution(each, ops.constant(np.ascontiguousarray(part)), *same)
        for each, part in zip(concat.input_values(), parts, strict=True)
    ]
    total = terms[0]
    for term in terms[1:]:
        total = ops.add(total, term)
    _replace(convolution, total)


def _compare_in_one_plane(squeeze: ov.Node) -> None:
    """Which of two classes is larger, by the sign of their difference.

    Two planes of one channel each are compared a pixel at a time, as they lie pixel by pixel in memory. It is done with
    logits alone: probabilities would be rounded to bfloat16 before they are compared.
    """
    greater, *axes = (each.get_node() for each in squeeze.input_values())
    if greater.get_type_name() != "Greater" or [_numbers(each) for each in axes] != [[1]]:
        return
    foreground, background = (each.get_node() for each in greater.input_values())
    if foreground.get_type_name() != "Slice":
        return
    scores = foreground.input_value(0)
    if scores.get_node().get_type_name() not in ("Add", "Convolution"):
        return
    if _channels(scores) != 2 or len(scores.get_partial_shape()) != 4:
        return
    if [_channel(each, scores) for each in (foreground, background)] != [1, 0]:
        return
    weights = np.array([-1, 1], np.float32).reshape(1, 2, 1, 1)
    difference = ops.convolution(scores, ops.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])
    plane = ops.squeeze(difference, ops.constant(np.array([1])))
    _replace(squeeze, ops.greater(plane, ops.constant(np.float32(0))))


def _channels(planes: ov.Output) -> int | None:
    """How many channels (N, C, ...) planes have; None where that is open."""
    shape = planes.get_partial_shape()
    return None if shape.rank.is_dynamic or len(shape) < 2 or shape[1].is_dynamic else shape[1].get_length()


def _channel(part: ov.Node, scores: ov.Output) -> int | None:
    """Which channel of (N, C, h, w) scores a slice takes; None where it takes anything else."""
    if part.get_type_name() != "Slice" or part.get_input_size() != 5 or part.input_value(0) != scores:
        return None
    if _channels(part.output(0)) != 1:
        return None
    _, start, _, _, axes = (_numbers(each.get_node()) for each in part.input_values())
    return start[0] if start and axes == [1] else None


def _numbers(node: ov.Node) -> list[int] | None:
    """What a constant holds; None of another node."""
    return node.data.ravel().tolist() if node.get_type_name() == "Constant" else None


def _replace(node: ov.Node, other: ov.Node) -> None:
    other.set_friendly_name(node.get_friendly_name())
    for reader in node.output(0).get_target_inputs():
        reader.replace_source_output(other.output(0))
