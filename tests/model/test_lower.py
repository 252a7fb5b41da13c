"""A lowered graph still says what the model says, and says what it cannot be."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from unet_deploy.errors import ModelError
from unet_deploy.measure.sample import BLOCK, SampleSlide
from unet_deploy.model.card import METADATA_KEY, ModelCard, Normalization
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.streamed import encode
from unet_deploy.zoo import shipped_models


def run(proto, image, scale=0.02, outputs=("labels", "probabilities"), offset=9.0):
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"image": image}
    if len(session.get_inputs()) > 1:
        channels = image.shape[1]
        feeds |= {
            "offset": np.full((1, channels), offset, np.float32),
            "scale": np.full((1, channels), scale, np.float32),
        }
    return session.run([name for name in outputs if name in {o.name for o in session.get_outputs()}], feeds)


@pytest.mark.parametrize("name", ["one", "three", "colour", "deep"])
@pytest.mark.parametrize("pixels", ["uint8", "uint16", "float32"])
def test_pixels_as_stored_give_the_same_answer_as_float32(small_models, name, pixels):
    model = read_model(small_models[name])
    side = model.card.base + 2 * model.card.stride
    dtype = {"float32": np.int32}.get(pixels, pixels)
    image = np.random.default_rng(0).integers(
        0, 255 if pixels == "uint8" else 60_000, (model.card.channels, side, side)
    )
    image = image.astype(dtype)
    expected = run(model.proto, image[None].astype(np.float32))
    lowered = lower(model, precision="fp32", pixels=pixels, probabilities=True)
    answer = run(lowered, encode(image, pixels, "test")[None])
    np.testing.assert_array_equal(answer[0], expected[0])
    np.testing.assert_array_equal(answer[1], expected[1])


def test_half_precision_leaves_grey_values_and_softmax_in_float32(small_models):
    """Grey values of 16-bit images are beyond half precision; all that is heavy is in it."""
    model = read_model(small_models["one"])
    lowered = lower(model, precision="fp16", pixels="uint16", probabilities=True)
    typed = onnx.shape_inference.infer_shapes(lowered, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*typed.value_info, *typed.output]}
    for node in typed.node:
        half = types[node.output[0]] == TensorProto.FLOAT16
        if (
            node.op_type in ("Conv", "ConvTranspose", "Relu", "MaxPool", "Concat", "Slice")
            and node.name != "foreground"
        ):
            assert half == (node.name not in ("background", "foreground")), node.name
        if node.op_type in ("Sub", "Mul", "Softmax"):
            assert not half, node.name
    side = model.card.base + 64
    image = np.random.default_rng(0).integers(0, 65_535, (1, side, side)).astype(np.uint16)
    full, half_answer = (
        run(lower(model, precision=kind, pixels="uint16", probabilities=True), encode(image, "uint16", "")[None], 1e-5)[
            1
        ]
        for kind in ("fp32", "fp16")
    )
    assert np.isfinite(half_answer).all()
    np.testing.assert_allclose(half_answer, full, atol=0.02)
    assert np.abs(half_answer - full).max() > 0  # it really is another precision


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_says_the_same_in_half_precision(name):
    """Training bounds no activation by itself, and what outgrows half precision is no number."""
    model = read_model(shipped_models()[name])
    slide = SampleSlide(4 * BLOCK, 4 * BLOCK, seed=3)
    light = np.block([[slide.block(row, column)[0] for column in (1, 2)] for row in (1, 2)])
    side = model.card.base + model.card.stride * ((len(light) - model.card.base) // model.card.stride)
    image = light[None, None, :side, :side].astype(np.float32)
    full, half = (
        run(lower(model, precision=kind, pixels="float32", probabilities=True), image, 1 / light.max(), offset=0.0)[1]
        for kind in ("fp32", "fp16")
    )
    assert np.ptp(full[:, 1]) > 0.5  # it answers something
    np.testing.assert_allclose(half, full, atol=0.02)


def test_labels_alone_drop_what_only_probabilities_need(small_models):
    model = read_model(small_models["one"])
    lowered = lower(model, precision="fp16", pixels="uint8", probabilities=False)
    assert [port.name for port in lowered.graph.output] == ["labels"]
    assert "Softmax" not in {node.op_type for node in lowered.graph.node}
    used = {name for node in lowered.graph.node for name in node.input}
    assert {each.name for each in lowered.graph.initializer} <= used


def test_a_fixed_shape_is_fixed_at_every_port(small_models):
    model = read_model(small_models["one"])
    side = model.card.base + model.card.stride
    lowered = lower(model, precision="fp32", pixels="uint8", probabilities=True, shape=(2, side, side + 8))
    for port in [*lowered.graph.input, *lowered.graph.output]:
        assert all(dim.dim_value for dim in port.type.tensor_type.shape.dim), port.name


def test_int8_needs_quantized_layers_and_they_need_int8(small_models):
    with pytest.raises(ModelError, match="has no 8-bit layers"):
        lower(read_model(small_models["one"]), precision="int8", pixels="uint8", probabilities=False)


def test_a_weight_beyond_half_precision_is_named(small_models, tmp_path):
    proto = onnx.load(str(small_models["one"]))
    at = next(i for i, each in enumerate(proto.graph.initializer) if each.name == "head.weight")
    weights = numpy_helper.to_array(proto.graph.initializer[at]) * 1e6
    proto.graph.initializer[at].CopyFrom(numpy_helper.from_array(weights, "head.weight"))
    onnx.save(proto, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match=r"head\.weight is beyond half precision"):
        lower(read_model(tmp_path / "large.onnx"), precision="fp16", pixels="uint8", probabilities=False)


def test_a_network_made_elsewhere_is_halved_too(tmp_path):
    """Constants as nodes, a resize with float32 scales, an instance norm that must stay in float32."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((2, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)),
        helper.make_node("Conv", ["image", "w"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "s", "b"], ["n"]),
        helper.make_node("Clip", ["n", "", "six"], ["c"]),
        helper.make_node("Resize", ["c", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("Conv", ["r", "w2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
    ]
    constants = {
        "s": np.ones(2, np.float32),
        "b": np.zeros(2, np.float32),
        "six": np.array(6, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "w2": rng.standard_normal((2, 2, 1, 1)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "h", "w"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2, "h", "w"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = ModelCard("foreign", 1, ("a", "b"), 0, 1, 8, Normalization("fixed", 0, 1))
    helper.set_model_props(proto, {METADATA_KEY: card.to_json()})
    onnx.save(proto, tmp_path / "foreign.onnx")
    model = read_model(tmp_path / "foreign.onnx")
    image = rng.standard_normal((1, 1, 16, 16)).astype(np.float32)
    lowered = lower(model, precision="fp16", pixels="float32", probabilities=True)
    np.testing.assert_allclose(run(lowered, image)[1], run(model.proto, image)[1], atol=0.01)
    kinds = {node.op_type for node in lowered.graph.node}
    assert "Constant" not in kinds
