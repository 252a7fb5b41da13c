"""The most operations a second that this processor is seen to do: the best of several convolutions and products.

A single matrix product misleads: libraries differ by a factor of two in how near they come to the processor's peak. Of
these kernels the best came to 97 % of a loop of register FMAs in float32 and to 93 % in bfloat16 on two Zen 4 cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from unet_deploy.runtimes.table import loading
from unet_deploy.system.machine import usable_cores

_SECONDS = 0.6
"""For each kernel."""


def peak_flops(runtime: str) -> float | None:
    """Operations a second of the best kernel at the precision in a runtime's name; None where none is known."""
    if not runtime.endswith("CPU") or not find_spec("onnx"):  # the kernels are written as ONNX
        return None
    if "bf16" in runtime:
        return _best([_openvino(channels, side, "bf16") for channels, side in _SHAPES])
    if "int8" in runtime:
        kernels = [_onnxruntime(channels, side, quantized=True) for channels, side in _SHAPES]
        if find_spec("openvino"):
            kernels += [_openvino(channels, side, "f32", quantized=True) for channels, side in _SHAPES]
        return _best(kernels)
    if "fp32" in runtime:
        kernels = [_onnxruntime(channels, side) for channels, side in _SHAPES] + [_numpy()]
        if find_spec("openvino"):
            kernels += [_openvino(channels, side, "f32") for channels, side in _SHAPES]
        return _best(kernels)
    return None


_SHAPES = ((256, 96), (512, 64))
"""Channels and side of 3 x 3 convolutions: large enough to be bound by arithmetic alone."""

_IN_A_ROW = 4
"""Convolutions of a kernel: to bring float32 into the layout and the precision of tile instructions (AMX) and back
takes as long as one of them."""

Kernel = tuple[Callable[[], Any], float]
"""What to run, and the operations of one run."""


def _best(kernels: list[Kernel]) -> float:
    return max(operations / _least_time(run) for run, operations in kernels)


def _least_time(run: Callable[[], Any]) -> float:
    run()
    least, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        run()
        least = min(least, time.perf_counter() - start)
    return least


def _numpy() -> Kernel:
    side = 1024
    a = np.ones((side, side), np.float32)
    return lambda: a @ a, 2.0 * side**3


def _onnxruntime(channels: int, side: int, *, quantized: bool = False) -> Kernel:
    with loading("onnxruntime", "cpu"):
        import onnxruntime as ort

        ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 4
    model = _convolution(channels, quantized=quantized)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.ones((1, channels, side, side), np.float32)}
    return lambda: session.run(None, feeds), _operations(channels, side)


def _openvino(channels: int, side: int, precision: str, *, quantized: bool = False) -> Kernel:
    from unet_deploy.runtimes.openvino import core

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": usable_cores(), "NUM_STREAMS": 1}
    model = core().read_model(_convolution(channels, quantized=quantized))
    model.reshape([1, channels, side, side])
    request = core().compile_model(model, "CPU", settings).create_infer_request()
    feeds = {0: np.ones((1, channels, side, side), np.float32)}
    return lambda: request.infer(feeds, share_inputs=True, share_outputs=True), _operations(channels, side)


def _operations(channels: int, side: int) -> float:
    """Of the convolutions, each of which answers two pixels less along a side."""
    sides = (side - 2 * at for at in range(1, _IN_A_ROW + 1))
    return 2.0 * channels**2 * 9 * sum(each**2 for each in sides)


def _convolution(channels: int, *, quantized: bool = False) -> bytes:
    """3 x 3 convolutions in a row as an ONNX file, in 8 bits where it says so."""
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, None, None]) for name in ("x", "y")]
    shape = (channels, channels, 3, 3)
    names = ["x", *(f"y{at}" for at in range(1, _IN_A_ROW)), "y"]
    constants: dict[str, Any]
    if not quantized:
        nodes = [helper.make_node("Conv", [taken, "w"], [given]) for taken, given in pairwise(names)]
        constants = {"w": np.full(shape, 0.01, np.float32)}
    else:
        nodes = [helper.make_node("DequantizeLinear", ["w8", "s", "zw"], ["wf"]), *_rounded("x", "rounded")]
        for taken, given in pairwise(["rounded", *names[1:]]):
            nodes += [helper.make_node("Conv", [taken, "wf"], [f"{given}.exact"]), *_rounded(f"{given}.exact", given)]
        constants = {"w8": np.ones(shape, np.int8), "s": np.float32(0.01), "z": np.uint8(0), "zw": np.int8(0)}
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def _rounded(taken: str, given: str) -> list[Any]:
    """Nodes that make 8 bits of a tensor and float32 of them, which runtimes take as 8 bits between two layers."""
    from onnx import helper

    return [
        helper.make_node("QuantizeLinear", [taken, "s", "z"], [f"{given}.8"]),
        helper.make_node("DequantizeLinear", [f"{given}.8", "s", "z"], [given]),
    ]
