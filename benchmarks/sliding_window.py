"""The predecessor against the U-Net: a patch classifier run once for every pixel, and one pass, at equal output.

`python benchmarks/sliding_window.py`, with OpenVINO for both. The classifier of Ciresan et al. 2012: convolutions of 48
maps with max-pooling, a layer of 200 and one of 2; table 1 for windows of 95 x 95, and its smaller sister of 65 x 65
with one stage less. Timed on batches of windows and multiplied by the pixels of a 512 x 512 image.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from onnx import TensorProto, helper, numpy_helper
from record import Spread, save
from widen import widened

from unet_deploy.segmentation.run import segment_array
from unet_deploy.system.machine import usable_cores
from unet_deploy.zoo import find_model, open_model

PIXELS = 512 * 512
BATCH, ROUNDS = 512, 7
KERNELS = {65: (4, 4, 5), 95: (4, 5, 4, 4)}


def classifier(window: int) -> Any:
    """The patch classifier for a window of this side, compiled for BATCH windows."""
    rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    side, maps = window, 1

    def layer(kind: str, *shape: int, **attributes: Any) -> None:
        nonlocal last
        inputs = [last]
        if shape:
            values = rng.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
            weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
            inputs.append(weights[-1].name)
        last = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [last], **attributes))

    for kernel in KERNELS[window]:
        layer("Conv", 48, maps, kernel, kernel)
        layer("Tanh")
        layer("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        side, maps = (side - kernel + 1) // 2, 48
    layer("Flatten")
    layer("Gemm", 200, 48 * side * side, transB=1)
    layer("Tanh")
    layer("Gemm", 2, 200, transB=1)
    layer("Softmax", axis=1)
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, 1, window, window]),
        helper.make_tensor_value_info(last, TensorProto.FLOAT, [BATCH, 2]),
    ]
    graph = helper.make_graph(nodes, "patches", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores(), "NUM_STREAMS": 1}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings).create_infer_request()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    image = np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8)
    works: dict[str, tuple[Callable[[], object], float]] = {}
    for window in KERNELS:
        request, patches = classifier(window), np.random.default_rng(1).random((BATCH, 1, window, window), np.float32)

        def classify(request: Any = request, patches: np.ndarray = patches) -> object:
            return request.infer({0: patches}, share_inputs=True, share_outputs=True)

        works[f"patch classifier, {window} x {window}"] = classify, PIXELS / BATCH
    with tempfile.TemporaryDirectory() as place:
        full = open_model(widened(find_model(), 4, Path(place)), device="cpu")
        works["U-Net of the original width, one pass"] = lambda: segment_array(image, full, None), 1
        times: dict[str, list[float]] = {name: [] for name in works}
        for round_ in range(ROUNDS + 1):
            for name, (work, times_over) in works.items():
                taken = seconds(work) * times_over
                if round_:  # the first warms up
                    times[name].append(taken)
        full.close()
    figures: dict[str, object] = {}
    unet = times["U-Net of the original width, one pass"]
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, unet, strict=True))
        figures[name] = {"seconds": vars(Spread.of(values)), "us_a_pixel": Spread.of(values).median / PIXELS * 1e6,
                         "times_unet": ratio}  # fmt: skip
        print(f"{name:<40} {Spread.of(values)} s for 512 x 512, {ratio:.3g} times the U-Net")
    save("sliding-window", figures)


if __name__ == "__main__":
    main()
