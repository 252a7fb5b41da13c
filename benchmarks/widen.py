"""The original network's width from the shipped model's, for speed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def widened(model: Path, factor: int, folder: Path) -> Path:
    """A model with `factor` times the channels and random weights: the original's width from the shipped one's 16."""
    proto, rng = onnx.load(str(model)), np.random.default_rng(0)
    for each in proto.graph.initializer:
        values = numpy_helper.to_array(each)
        if values.dtype != np.float32 or not each.name.endswith((".weight", ".bias")):
            continue
        shape = list(values.shape)
        if len(shape) == 4:
            first, last = each.name.startswith("down0.conv0"), each.name.startswith("head")
            shape[0] *= 1 if last else factor
            shape[1] *= 1 if first else factor
            spread = np.sqrt(2 / np.prod(shape[1:]))
            values = rng.standard_normal(shape).astype(np.float32) * np.float32(spread)
        elif not each.name.startswith("head"):
            values = np.zeros(shape[0] * factor, np.float32)
        each.CopyFrom(numpy_helper.from_array(values, each.name))
    path = folder / "original-width.onnx"
    onnx.save(proto, str(path))
    return path
