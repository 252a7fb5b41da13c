"""A network whose answer does not depend on its image is refused at its first tile; a blank image is no fault of it."""

import numpy as np
import pytest

import unet_deploy as api
from unet_deploy.errors import ModelError

onnx = pytest.importorskip("onnx")
RUNTIMES = ["onnxruntime", "openvino"]
ANSWERS = pytest.mark.parametrize("probabilities", [False, True])


@pytest.fixture
def changed(small_models, tmp_path):
    """Writes a model with other numbers in its last layer."""

    def write(weight, bias):
        proto = onnx.load_model(str(small_models["one"]))
        stored = {each.name: each for each in proto.graph.initializer}
        last = [node for node in proto.graph.node if node.op_type == "Conv"][-1]
        for name, number in zip(last.input[1:], (weight, bias), strict=True):
            old = onnx.numpy_helper.to_array(stored[name])
            new = old * number[0] + np.resize(np.asarray(number[1:], np.float32), old.shape[:1] + (1,) * (old.ndim - 1))
            stored[name].CopyFrom(onnx.numpy_helper.from_array(new.astype(np.float32), name))
        path = tmp_path / f"changed {weight[0]} {bias[1]}.onnx"
        onnx.save_model(proto, str(path))
        return path

    return write


@pytest.mark.parametrize("runtime", RUNTIMES)
@ANSWERS
def test_lost_weights_are_told_at_the_first_tile(changed, speckle, runtime, probabilities):
    pytest.importorskip(runtime)
    path = changed((0, 0.0), (0, 0.25, 0.0))
    with (
        api.open_model(path, runtime=runtime, probabilities=probabilities) as model,
        pytest.raises(ModelError, match=r"changed .*\.onnx: answers the same whatever the image; its weights are lost"),
    ):
        api.segment(speckle, model=model)


@pytest.mark.parametrize("runtime", RUNTIMES)
@ANSWERS
def test_neither_a_blank_image_nor_a_network_that_is_sure_is_taken_for_that(
    changed, small_models, speckle, runtime, probabilities
):
    pytest.importorskip(runtime)
    for path, image in (
        (small_models["one"], np.zeros((300, 300), np.uint8)),
        (small_models["one"], np.full((300, 300), 77, np.uint8)),
        (changed((1, 0.0), (0, 500.0, 0.0)), speckle),
        (changed((1, 0.0), (0, 20.0, 0.0)), speckle),
        (changed((0, 0.0), (0, 0.25, 0.0)), np.zeros((300, 300), np.uint8)),
    ):
        with api.open_model(path, runtime=runtime, probabilities=probabilities) as model:
            assert not api.segment(image, model=model).any() or path == small_models["one"]
