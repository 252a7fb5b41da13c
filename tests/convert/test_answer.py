"""What a network's answer is, is seen in its numbers, whatever the last operators of its graph are."""

import numpy as np
import onnx
import pytest
import tifffile
from command_line import error
from onnx import TensorProto, helper, numpy_helper

from unet_deploy import segment
from unet_deploy.convert.adopt import AdoptOptions, adopt
from unet_deploy.convert.answer import find_activation
from unet_deploy.convert.external import measure_padded, measure_valid, read_network
from unet_deploy.errors import ModelError, UsageError
from unet_deploy.model.card import Normalization
from unet_deploy.model.onnx_file import read_model, save

STRIDE = 4


class Net:
    """One layer of 3 x 3, and what is put behind it."""

    def __init__(self, planes, seed=2):
        self.nodes, self.weights = [], []
        weight = np.random.default_rng(seed).normal(0, 1, (planes, 1, 3, 3)).astype(np.float32)
        self.at = self.put("Conv", "x", self.constant(weight), pads=[1] * 4)

    def put(self, kind, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def constant(self, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def then(self, *ends):
        """Operators one behind another: (kind, further inputs, attributes)."""
        for kind, *more in ends:
            arrays = [self.constant(each) if each is not None else "" for each in more if not isinstance(each, dict)]
            attributes = next((each for each in more if isinstance(each, dict)), {})
            self.at = self.put(kind, self.at, *arrays, **attributes)
        return self

    def save(self, path, kind=TensorProto.FLOAT, rank=4):
        taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, "H", "W"])
        given = helper.make_tensor_value_info(self.at, kind, [None] * rank)
        graph = helper.make_graph(self.nodes, "net", [taken], [given], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save_model(model, str(path))
        return path


def one(value):
    return np.float32(value)


HALF = (("Cast", {"to": TensorProto.FLOAT16}), ("Cast", {"to": TensorProto.FLOAT}))
SCALES = np.array([1, 1, 2, 2], np.float32)
ENDS = {
    "": (),
    "a cast": HALF,
    "a clip": (("Clip", one(1e-6), one(1 - 1e-6)),),
    "a product": (("Mul", one(1)),),
    "a resize": (
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Resize", None, SCALES, {"mode": "linear"}),
    ),
    "two transposes": (("Transpose", {"perm": [0, 2, 3, 1]}), ("Transpose", {"perm": [0, 3, 1, 2]})),
    "a dropout": (("Dropout",), ("Identity",)),
}
SIGMOID, SOFTMAX = (("Sigmoid",),), (("Softmax", {"axis": 1}),)
WRITTEN_OUT = (("Neg",), ("Exp",), ("Add", one(1)), ("Reciprocal",))


def seen(path, wanted="auto"):
    network = read_network(path)
    return find_activation(network, measure_padded(network, STRIDE), wanted)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(
    ("planes", "makes", "missing"),
    [
        (1, SIGMOID, "none"),
        (1, WRITTEN_OUT, "none"),
        (1, (("HardSigmoid",),), "none"),
        (1, (*SIGMOID, ("Sub", one(1)), ("Neg",)), "none"),
        (2, SOFTMAX, "none"),
        (3, SOFTMAX, "none"),
        (3, (("LogSoftmax", {"axis": 1}),), "softmax"),
        (1, (), "sigmoid"),
        (2, (), "softmax"),
        (1, (("Mul", one(1e-2)),), "sigmoid"),
    ],
)
def test_it_is_seen_what_is_missing(planes, makes, missing, end, tmp_path):
    if end == ENDS["a clip"] and missing != "none":
        end = (("Clip", one(-60), one(60)),)
    assert seen(Net(planes).then(*makes, *end).save(tmp_path / "net.onnx")) == missing


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_several_sigmoids_are_refused_whatever_follows(end, tmp_path):
    for planes, makes in ((2, SIGMOID), (3, SIGMOID), (2, WRITTEN_OUT), (3, (*SIGMOID, ("Mul", one(255))))):
        fits = makes[-1][0] != "Mul" or end != ENDS["a clip"]
        path = Net(planes).then(*makes, *(end if fits else ())).save(tmp_path / "net.onnx")
        with pytest.raises(ModelError, match=f"{planes} classes by sigmoid may overlap"):
            seen(path)


def test_two_planes_of_one_sigmoid_are_probabilities(tmp_path):
    net = Net(1).then(*SIGMOID)
    rest = net.put("Sub", net.constant(one(1)), net.at)
    net.at = net.put("Concat", rest, net.at, axis=1)
    assert seen(net.save(tmp_path / "net.onnx")) == "none"


def test_a_softmax_written_out_is_seen(tmp_path):
    net = Net(3).then(("Exp",))
    net.at = net.put("Div", net.at, net.put("ReduceSum", net.at, net.constant(np.array([1]))))
    assert seen(net.save(tmp_path / "net.onnx")) == "none"


def test_the_mean_of_two_networks_is_probabilities(tmp_path):
    net = Net(1).then(*SIGMOID)
    first, net.at = net.at, net.nodes[0].output[0]
    net.then(("Mul", one(2)), *SIGMOID)
    net.at = net.put("Add", first, net.at)
    assert seen(net.then(("Mul", one(0.5))).save(tmp_path / "net.onnx")) == "none"


CLASS_NUMBERS = {
    "argmax": (("ArgMax", {"axis": 1}),),
    "argmax without an axis": (("ArgMax", {"axis": 1, "keepdims": 0}),),
    "threshold": (("Slice", np.array([0]), np.array([1]), np.array([1])), ("Greater", one(0.3))),
    "rounded": (("Slice", np.array([0]), np.array([1]), np.array([1])), *SIGMOID, ("Round",)),
}


@pytest.mark.parametrize("makes", CLASS_NUMBERS.values(), ids=CLASS_NUMBERS)
def test_class_numbers_are_refused_by_name(makes, tmp_path):
    rank = 3 if makes[-1][-1] == {"axis": 1, "keepdims": 0} else 4
    as_float = () if makes[-1][0] == "Round" else (("Cast", {"to": TensorProto.FLOAT}),)
    with pytest.raises(ModelError, match="answers class numbers; export it before the argmax"):
        seen(Net(3).then(*makes, *as_float).save(tmp_path / "float.onnx", rank=rank))
    if as_float:
        kind = TensorProto.BOOL if makes[-1][0] == "Greater" else TensorProto.INT64
        with pytest.raises(ModelError, match="answers class numbers; export it before the argmax"):
            seen(Net(3).then(*makes).save(tmp_path / "whole.onnx", kind, rank))


def test_an_argmax_that_finds_nothing_is_one_all_the_same(tmp_path):
    net = Net(2).then(("Add", np.array([1e6, 0], np.float32).reshape(1, 2, 1, 1)), *CLASS_NUMBERS["argmax"])
    with pytest.raises(ModelError, match="answers class numbers"):
        seen(net.then(("Cast", {"to": TensorProto.FLOAT})).save(tmp_path / "net.onnx"))


def test_what_answers_the_same_everywhere_is_refused(tmp_path):
    for planes, ends in ((1, SIGMOID), (2, SOFTMAX), (2, ())):
        with pytest.raises(ModelError, match="answers the same everywhere"):
            seen(Net(planes).then(("Mul", one(0)), *ends).save(tmp_path / "net.onnx"))
    with pytest.raises(UsageError, match="a softmax of one plane is 1 everywhere"):
        seen(Net(1).then(*SOFTMAX, *HALF).save(tmp_path / "net.onnx"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_weights_are_refused(value, tmp_path):
    with pytest.raises(ModelError, match="answers NaN or infinity"):
        seen(Net(2).then(("Add", np.array([value, 1], np.float32).reshape(1, 2, 1, 1))).save(tmp_path / "net.onnx"))


def test_an_exponential_that_overflows_far_from_ordinary_values_is_not_damaged(tmp_path):
    net = Net(2).then(("Exp",))
    net.at = net.put("Div", net.at, net.put("ReduceSum", net.at, net.constant(np.array([1]))))
    assert seen(net.save(tmp_path / "net.onnx")) == "none"


def test_probabilities_in_percent_are_refused(tmp_path):
    with pytest.raises(ModelError, match="its planes sum to 100 everywhere"):
        seen(Net(3).then(*SOFTMAX, ("Mul", one(100))).save(tmp_path / "net.onnx"))
    with pytest.raises(UsageError, match="export it to give probabilities of 0 to 1"):
        seen(Net(1).then(*SIGMOID, ("Mul", one(255))).save(tmp_path / "net.onnx"))


CUBIC = (ENDS["a resize"][0], ("Resize", None, SCALES, {"mode": "cubic"}))


@pytest.mark.parametrize(
    ("planes", "makes", "resolved"),
    [
        (1, (("Clip", one(0), one(1)),), ("none", "sigmoid")),
        (1, (("Relu",),), ("sigmoid",)),
        (2, (("Relu",),), ("softmax",)),
        (1, (("Tanh",),), ("sigmoid",)),
        (1, (*SIGMOID, ("Log",)), ("sigmoid",)),
        (1, (*SIGMOID, *CUBIC), ("sigmoid",)),
    ],
)
def test_what_stays_open_is_asked_for(planes, makes, resolved, tmp_path):
    path = Net(planes).then(*makes).save(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=f"answers .* to .*; .*pass --activation {resolved[0]}"):
        seen(path)
    for wanted in resolved:
        assert seen(path, wanted) == wanted


def test_an_activation_is_not_put_on_probabilities(tmp_path):
    with pytest.raises(UsageError, match=r"probabilities already, .* leave --activation sigmoid out"):
        seen(Net(1).then(*SIGMOID, *HALF).save(tmp_path / "net.onnx"), "sigmoid")
    with pytest.raises(UsageError, match="leave --activation softmax out"):
        seen(Net(3).then(*SOFTMAX).save(tmp_path / "net.onnx"), "softmax")


def test_channels_last_are_told_from_another_size(tmp_path):
    path = Net(3).then(("Transpose", {"perm": [0, 2, 3, 1]})).save(tmp_path / "net.onnx")
    for measure in (measure_padded, measure_valid):
        with pytest.raises(ModelError, match="channels last; export it to give"):
            measure(read_network(path), STRIDE)


def test_half_precision_out_is_taken(tmp_path):
    path = Net(1).then(*SIGMOID, HALF[0]).save(tmp_path / "net.onnx", TensorProto.FLOAT16)
    assert seen(path) == "none"


def test_nodes_in_any_order_are_sorted(tmp_path):
    net = Net(2).then(*SOFTMAX, *HALF)
    net.nodes.reverse()
    network = read_network(net.save(tmp_path / "net.onnx"))
    assert [node.op_type for node in network.proto.graph.node] == ["Conv", "Softmax", "Cast", "Cast"]
    net.nodes[-1].input[0] = net.nodes[0].output[0]
    with pytest.raises(ModelError, match="its nodes go in a circle"):
        read_network(net.save(tmp_path / "circle.onnx"))


@pytest.mark.usefixtures("unmeasured")
def test_a_sigmoid_with_a_cast_behind_it_segments_as_it_does_without(tmp_path):
    """A second sigmoid would make foreground of every pixel."""
    ramp, masks = np.tile(np.arange(256, dtype=np.uint8), (256, 1)), []
    for name, end in (("last", ()), ("cast", HALF)):
        net = Net(1)
        net.nodes[0].ClearField("attribute")
        net.weights[0] = numpy_helper.from_array(np.full((1, 1, 1, 1), 20, np.float32), "w0")
        path = net.then(("Add", one(-10)), *SIGMOID, *end).save(tmp_path / f"{name}.onnx")
        made = tmp_path / f"{name}.card.onnx"
        adopt(path, made, AdoptOptions(stride=2, normalization=Normalization("fixed")))
        masks.append(segment(ramp, model=made))
    np.testing.assert_array_equal(masks[0], ramp > 127)
    np.testing.assert_array_equal(masks[1], masks[0])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("outputs", [(), ("--probabilities",)])
def test_a_model_whose_weights_are_damaged_makes_no_mask(small_models, tmp_path, speckle, runtime, outputs):
    pytest.importorskip(runtime)
    model = read_model(small_models["one"])
    weight = next(each for each in model.proto.graph.initializer if each.name == "head.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    damaged, image, mask = (tmp_path / name for name in ("m.onnx", "speckle.tif", "mask.tif"))
    save(model.proto, model.card, damaged)
    tifffile.imwrite(image, speckle)
    said = error("segment", image, "-m", damaged, "-o", mask, "--runtime", runtime, *outputs, code=3)
    assert "NaN or infinit" in said
    assert str(damaged) in said
    assert not mask.exists()
