"""One model, many threads: one tile at a time, or as many as there are threads? All in one run, in turns.

`python benchmarks/threads.py [--rounds 3] [--sides 512 2048] [--threads 1 2 4 8]`, with the shipped model on the CPU.
`turn` is what the product does: a lock around the network. `pool` gives each thread its own request of the compiled
network in OpenVINO, and lets ONNX Runtime's session run as often at once as it is asked.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np

from unet_deploy.runtimes import Answer
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.openvino import OpenVinoRuntime
from unet_deploy.segmentation.run import segment
from unet_deploy.zoo import find_model


class PooledOpenVino(OpenVinoRuntime):
    """A request for each thread."""

    def __init__(self, *args, **how) -> None:
        super().__init__(*args, **how)
        self._turn, self._mine, self._network = nullcontext(), threading.local(), self._request.get_compiled_model()

    def _compute(self, feeds):
        if not hasattr(self._mine, "request"):
            self._mine.request = self._network.create_infer_request()
        results = self._mine.request.infer(feeds, share_inputs=True, share_outputs=True)

        return Answer(*(np.array(results[name]) for name in self._outputs))


class FreeOnnx(OnnxRuntime):
    """A session that any number of threads run at once."""

    def __init__(self, *args, **how) -> None:
        super().__init__(*args, **how)
        self._turn = nullcontext()


KINDS: dict[str, tuple[Callable, Callable]] = {
    "openvino": (OpenVinoRuntime, PooledOpenVino),
    "onnxruntime": (OnnxRuntime, FreeOnnx),
}


def seconds_an_image(model, image: np.ndarray, threads: int, images: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: segment(image, model=model), range(threads)))
        start = time.perf_counter()
        list(pool.map(lambda _: segment(image, model=model), range(images)))
        return (time.perf_counter() - start) / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8])
    asked = parser.parse_args()
    path = find_model()
    print("runtime      side threads  turn ms  pool ms  pool/turn")
    for kind, (turn, pool) in KINDS.items():
        for side in asked.sides:
            image = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
            with turn(path) as one, pool(path) as many:
                for threads in asked.threads:
                    images = max(threads, 8 if side <= 512 else 2)
                    found = [
                        [seconds_an_image(model, image, threads, images) for model in (one, many)]
                        for _ in range(asked.rounds)
                    ]
                    a, b = (statistics.median(each) for each in zip(*found, strict=True))
                    ratio = statistics.median(second / first for first, second in found)
                    print(
                        f"{kind:<12} {side:>4} {threads:>7} {a * 1e3:>8.1f} {b * 1e3:>8.1f} {ratio:>9.2f}", flush=True
                    )


if __name__ == "__main__":
    main()
