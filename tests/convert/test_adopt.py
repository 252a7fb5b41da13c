"""Networks of other toolkits, adopted: the tiled answer is their own answer for the whole image."""

import importlib.util
import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tifffile
from command_line import error, unet_deploy
from onnx import TensorProto, helper, numpy_helper

from unet_deploy import open_model, segment
from unet_deploy.convert.adopt import SEAMS, AdoptOptions, adopt
from unet_deploy.convert.external import read_network
from unet_deploy.convert.seams import DEEPEST
from unet_deploy.errors import ModelError, UnetDeployError, UsageError, VerificationError
from unet_deploy.model.card import Normalization
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import read_model

pytestmark = pytest.mark.usefixtures("unmeasured")
FIXED = Normalization("fixed", 128, 1 / 64)


class External:
    """A U-Net of two levels as exporters write it, node by node."""

    def __init__(self, channels, planes, *, pad=1, width=6, last=(), between=None, opset=17, seed=3):
        self.channels, self.planes, self.pad, self.between, self.opset = channels, planes, pad, between, opset
        self.rng, self.nodes, self.weights = np.random.default_rng(seed), [], []
        skips, x = [], "image"  # a name that is ours too
        for level in range(2):
            x = self.conv(x, channels if level == 0 else width, width)
            skips.append(x)
            x = self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = self.conv(x, width, width)
        for level in (1, 0):
            scales = self.constant(np.array([1, 1, 2, 2], np.float32))
            roi = self.constant(np.zeros(0, np.float32)) if opset < 13 else ""
            up = self.add("Resize", x, roi, scales, mode="nearest", coordinate_transformation_mode="asymmetric")
            if not pad:
                crop = {1: 2, 0: 8}[level]
                ends = (np.array([each] * 2, np.int64) for each in (crop, -crop))
                axes = self.constant(np.array([2, 3], np.int64))
                skips[level] = self.add("Slice", skips[level], *map(self.constant, ends), axes)
            x = self.conv(self.add("Concat", skips[level], up, axis=1), 2 * width, width)
        x = self.conv(x, width, planes, size=1)
        for kind, attributes in last:
            x = self.add(kind, x, **attributes)
        self.nodes[-1].output[0] = "labels"  # and so is this

    def add(self, kind, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value):
        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x, taken, given, size=3):
        weight = self.rng.normal(0, 1.6 / np.sqrt(taken * size * size), (given, taken, size, size))
        parts = [self.constant(each.astype(np.float32)) for each in (weight, self.rng.normal(0, 0.1, given))]
        x = self.add("Conv", x, *parts, pads=[self.pad * (size // 2)] * 4, kernel_shape=[size, size])
        if size == 1:
            return x
        if self.between == "InstanceNormalization":
            ends = (self.constant(np.full(given, each, np.float32)) for each in (1, 0))
            x = self.add("InstanceNormalization", x, *ends)
        elif self.between == "GlobalAveragePool":
            x = self.add("Mul", x, self.add("Sigmoid", self.add("GlobalAveragePool", x)))
        return self.add("Relu", x)

    def save(self, path, shape=None, outputs=("labels",)):
        shape = shape or ["N", self.channels, "H", "W"]
        taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        given = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [None] * 4) for each in outputs]
        graph = helper.make_graph(self.nodes, "net", [taken], given, self.weights)
        opset = [helper.make_opsetid("", self.opset)]
        onnx.save_model(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
        return path


def own_answer(path, pixels):
    """The network's own answer to normalised pixels (C, H, W), without us."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels[None].astype(np.float32)})[0][0]


def normalised(pixels):
    return (pixels - np.float32(128)) / np.float32(64)


def as_probabilities(scores, last):
    if not last and len(scores) > 1:
        powers = np.exp(scores - scores.max(0))
        return powers / powers.sum(0)
    share = scores if last else 1 / (1 + np.exp(-scores))
    return share if len(scores) > 1 else np.concatenate([1 - share, share])


KINDS = {
    "sigmoid": ((1, 1), {}),
    "two": ((1, 2), {}),
    "three": ((1, 3), {}),
    "colour": ((3, 2), {}),
    "with sigmoid": ((1, 1), {"last": [("Sigmoid", {})]}),
    "with softmax": ((2, 3), {"last": [("Softmax", {"axis": 1})], "seed": 5}),
    "old": ((1, 2), {"opset": 12}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_an_adopted_network_give_its_own_answer_for_the_whole_image(kind, speckle, tmp_path):
    (channels, planes), options = KINDS[kind]
    external = External(channels, planes, **options).save(tmp_path / "external.onnx")
    model = tmp_path / "adopted.onnx"
    card = adopt(external, model, AdoptOptions(stride=4, normalization=FIXED)).card
    assert card.margin % 4 == 0
    assert 0 < card.margin <= 24
    assert card.base == 2 * card.margin + 4
    assert card.metrics[SEAMS] <= 1e-4
    image = np.stack([np.roll(speckle, 40 * index, axis=1) for index in range(channels)])[:, :301, :417]
    sides = card.margin, card.margin + 20  # to a multiple of 4
    padded = np.pad(image, ((0, 0), sides, sides), mode="reflect")
    padded = padded[:, : padded.shape[1] // 4 * 4, : padded.shape[2] // 4 * 4]
    inside = (slice(None), slice(card.margin, card.margin + 301), slice(card.margin, card.margin + 417))
    expected = as_probabilities(own_answer(external, normalised(padded)), options.get("last"))[inside]
    with open_model(model, probabilities=True, device="cpu", runtime="onnxruntime") as runtime:
        labels, scores = segment(image, model=runtime, tile_size=128, probabilities=True)
    np.testing.assert_allclose(scores, expected, atol=2e-4)
    second, first = np.sort(expected, axis=0)[-2:]
    assert not ((labels != expected.argmax(0)) & (first - second > 4e-4)).any()
    assert len(np.unique(labels)) > 1


def test_a_network_without_padding_brings_its_margin(speckle, tmp_path):
    external = External(1, 2, pad=0).save(tmp_path / "external.onnx")
    card = adopt(external, tmp_path / "adopted.onnx", AdoptOptions("valid", stride=4, normalization=FIXED)).card
    assert card.margin == 10
    assert own_answer(external, np.zeros((1, card.base, card.base))).shape[1] == card.base - 20
    image = speckle[:498, :498]
    padded = np.pad(image, 10, mode="reflect")[None]
    expected = as_probabilities(own_answer(external, normalised(padded)), None)
    with open_model(tmp_path / "adopted.onnx", probabilities=True, device="cpu") as runtime:
        _, scores = segment(image, model=runtime, tile_size=100, probabilities=True)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    """A colour network with ImageNet's normalisation, adopted on the command line."""
    folder = tmp_path_factory.mktemp("adopted")
    External(3, 3).save(folder / "external.onnx")
    about = ("--classes", "glass, tissue, tumour", "--license", "CC0-1.0", "--pixel-size", "0.5")
    grey = ("--normalization", "fixed", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    shown, _ = unet_deploy("card", folder / "external.onnx", "-o", folder / "a.onnx", "--stride", "4", *about, *grey)
    assert "0 glass, 1 tissue, 2 tumour" in shown
    assert "pixels from it" in shown
    return folder / "a.onnx"


@pytest.fixture(scope="module")
def picture(tmp_path_factory, speckle):
    path = tmp_path_factory.mktemp("picture") / "picture.tif"
    tifffile.imwrite(path, np.stack([speckle, speckle.T, speckle[::-1]], axis=-1), photometric="rgb")
    return path


def test_an_adopted_model_passes_every_command(adopted, picture, tmp_path):
    assert "CC0-1.0" in unet_deploy("info", adopted)[0]
    assert "apart" in unet_deploy("verify", "--tiled", adopted, picture)[0]
    mask = tmp_path / "mask.tif"
    for runtime in ("onnxruntime", "openvino"):
        if importlib.util.find_spec(runtime):
            unet_deploy("segment", picture, "-m", adopted, "-o", mask, "--runtime", runtime, "--overwrite")
            assert tifffile.imread(mask).shape == (500, 500)


def test_normalisation_by_channel_is_in_the_graph(adopted, picture):
    mean, std = (np.array(each).reshape(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    image = tifffile.imread(picture).transpose(2, 0, 1)
    expected = own_answer(adopted.with_name("external.onnx"), (image / 255 - mean) / std).argmax(0)
    labels = segment(image, model=adopted, tile_size=200, device="cpu")
    inside = slice(40, -40)
    assert (labels != expected)[inside, inside].mean() < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pixels", ["uint8", "uint16"])
def test_an_adopted_model_can_be_lowered_for_an_engine(adopted, precision, pixels):
    model = read_model(adopted)
    side = model.card.base + 16
    lowered = lower(model, precision=precision, pixels=pixels, probabilities=True, shape=(2, side, side))
    halves = {each.data_type for each in lowered.graph.initializer} & {TensorProto.FLOAT16}
    assert bool(halves) == (precision == "fp16")


def test_a_margin_too_small_is_refused_with_the_one_that_is_not(tmp_path):
    external, model = External(1, 2).save(tmp_path / "external.onnx"), tmp_path / "adopted.onnx"
    said = error("card", external, "-o", model, "--stride", "4", "--margin", "4", code=5)
    assert "with a margin of 4 tiles leave seams" in said
    assert not model.exists()
    enough = int(re.search(r"take --margin (\d+)", said)[1])
    assert adopt(external, model, AdoptOptions(stride=4, margin=enough)).card.margin == enough
    seamed = adopt(external, model, AdoptOptions(stride=4, margin=4), allow_seams=True, overwrite=True)
    assert seamed.card.margin == 4
    assert seamed.card.metrics[SEAMS] > 1e-4


@pytest.mark.parametrize("operator", ["InstanceNormalization", "GlobalAveragePool"])
def test_a_network_that_looks_at_a_whole_tile_is_named_as_one(operator, tmp_path):
    external, model = External(1, 2, between=operator).save(tmp_path / "external.onnx"), tmp_path / "adopted.onnx"
    with pytest.raises(VerificationError, match=rf"no margin helps, as it looks at a whole tile at once \({operator}"):
        adopt(external, model, AdoptOptions(stride=4))
    assert not model.exists()
    made = adopt(external, model, AdoptOptions(stride=4), allow_seams=True)
    assert made.whole_tile == (operator,)
    assert made.card.metrics[SEAMS] > 1e-4


def test_a_stride_too_small_is_noticed(tmp_path):
    """Two poolings and no skip: the graph runs on sides that are multiples of 4 alone, or of 2 with a crop."""
    net = External(1, 2)
    net.nodes, net.weights = [], []
    x = net.conv("image", 1, 6)
    pooled = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    pooled = net.add("MaxPool", net.conv(pooled, 6, 6), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    sizes = net.add("Shape", x)
    up = net.add("Resize", pooled, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric")
    up = net.add("Slice", up, *(net.constant(np.array(each, np.int64)) for each in ([0], [6], [1])))
    net.conv(net.add("Concat", x, up, axis=1), 12, 2, size=1)
    net.nodes[-1].output[0] = "labels"
    external = net.save(tmp_path / "external.onnx")
    with pytest.raises(VerificationError, match="take --stride 4"):
        adopt(external, tmp_path / "adopted.onnx", AdoptOptions(stride=2))
    assert adopt(external, tmp_path / "adopted.onnx", AdoptOptions(stride=4)).card.stride == 4


def test_a_fixed_shape_is_freed_where_the_graph_allows_it(tmp_path):
    external = External(1, 2).save(tmp_path / "external.onnx", shape=[1, 1, 256, 256])
    assert adopt(external, tmp_path / "adopted.onnx", AdoptOptions(stride=4)).card.base < 256
    net = External(1, 2)
    at = next(index for index, node in enumerate(net.nodes) if node.op_type == "Resize")
    del net.nodes[at].input[2:]
    net.nodes[at].input.extend(["", net.constant(np.array([1, 6, 128, 128], np.int64))])
    external = net.save(tmp_path / "baked.onnx", shape=[1, 1, 256, 256])
    said = error("card", external, "-o", tmp_path / "baked.card.onnx", "--stride", "4", code=3)
    assert "exported for 256 x 256 pixels" in said
    assert "dynamic" in said


def test_what_cannot_be_adopted_is_one_line(tmp_path, nuclei):
    def refused(path, code, **asked):
        with pytest.raises(UnetDeployError) as caught:
            adopt(path, tmp_path / "out.onnx", AdoptOptions(**asked))
        assert caught.value.exit_code == code
        assert "\n" not in str(caught.value)
        return str(caught.value)

    garbage, empty = tmp_path / "garbage.onnx", tmp_path / "empty.onnx"
    garbage.write_bytes(b"no model")
    empty.touch()
    assert "is no ONNX file" in refused(garbage, 3)
    assert "is no ONNX file" in refused(empty, 3)
    assert "no such model file" in refused(tmp_path / "absent.onnx", 3)
    assert "has a model card already" in refused(nuclei, 2)
    net = External(1, 2)
    good = net.save(tmp_path / "good.onnx")
    assert "gives 2 tensors (labels, t" in refused(net.save(tmp_path / "two.onnx", outputs=("labels", "t3")), 2)
    assert "for volumes" in refused(net.save(tmp_path / "3d.onnx", shape=["N", 1, "D", "H", "W"]), 3)
    assert "channels last" in refused(net.save(tmp_path / "last.onnx", shape=["N", "H", "W", 3]), 3)
    assert "pass --channels" in refused(net.save(tmp_path / "unsaid.onnx", shape=["N", "C", "H", "W"]), 2)
    for claimed in (-1, 1 << 40):
        assert "must be 1 to 1024" in refused(net.save(tmp_path / "claims.onnx", shape=["N", claimed, "H", "W"]), 3)
    strange = onnx.load(good)
    strange.graph.input[0].type.tensor_type.elem_type = 77
    onnx.save(strange, tmp_path / "strange.onnx")
    assert "numbers of an unknown type" in refused(tmp_path / "strange.onnx", 3)
    assert "not --channels 2" in refused(good, 2, channels=2)
    assert "3 names" in refused(good, 2, stride=4, classes=("a", "b", "c"))
    assert "take 4 or 8" in refused(good, 2, stride=4, margin=6)
    assert "0 to 512" in refused(good, 2, margin=1024)
    assert "leave it out" in refused(good, 2, padding="valid", margin=32)
    assert "3 numbers for 1 channels" in refused(good, 2, stride=4, mean=(1, 2, 3))
    assert "no probabilities" in refused(good, 3, stride=4, activation="none")
    assert "--padding valid" in refused(External(1, 2, pad=0).save(tmp_path / "valid.onnx"), 3, stride=4)
    assert "is the same for inputs 6 apart" in refused(tmp_path / "valid.onnx", 3, padding="valid", stride=6)
    assert "fails on an input of" in refused(good, 3, stride=2)
    overlapping = External(1, 3, last=[("Sigmoid", {})]).save(tmp_path / "overlapping.onnx")
    assert "may overlap" in refused(overlapping, 3, stride=4)
    assert "1 everywhere" in refused(External(1, 1).save(tmp_path / "one.onnx"), 2, stride=4, activation="softmax")
    assert not (tmp_path / "out.onnx").exists()


def test_options_that_contradict_each_other_are_one_line(tmp_path):
    good, out = External(1, 2).save(tmp_path / "good.onnx"), tmp_path / "out.onnx"
    assert "--offset: does not go with" in error("card", good, "-o", out, "--offset", "3", code=2)
    assert "--low 5: is not below" in error("card", good, "-o", out, "--low", "5", "--high", "5", code=2)
    assert "there are same, valid" in error("card", good, "-o", out, "--padding", "reflect", code=2)
    assert "is what is to be read" in error("card", good, "-o", good, code=2)


def test_one_of_several_outputs_is_chosen(tmp_path):
    net = External(1, 2)
    path = net.save(tmp_path / "two.onnx", outputs=(net.nodes[3].output[0], "labels"))
    assert [port.name for port in read_network(path, head="labels").proto.graph.output] == ["labels"]
    with pytest.raises(UsageError, match="choose one with --head"):
        read_network(path, head="scores")


def test_weights_that_are_missing_are_said_so(tmp_path):
    path = External(1, 2).save(tmp_path / "net.onnx")
    whole = onnx.load_model(str(path))
    onnx.save_model(whole, str(path), save_as_external_data=True, location="net.data", size_threshold=0)
    assert read_network(path).channels == 1
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match="not all of it is there"):
        read_network(path)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_network_of_monai_is_adopted(exporter, tmp_path):
    torch, nets = pytest.importorskip("torch"), pytest.importorskip("monai.networks.nets")
    torch.manual_seed(5)
    net = nets.BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=(4, 4, 8, 8, 8, 4), norm="batch")
    axes = {0: "n", 2: "h", 3: "w"}
    ways = {"torchscript": {"dynamo": False, "dynamic_axes": {"x": axes, "y": axes}}}
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
        dims = {0: torch.export.Dim("n"), 2: 16 * torch.export.Dim("h"), 3: 16 * torch.export.Dim("w")}
        ways["dynamo"] = {"dynamo": True, "dynamic_shapes": (dims,)}
    path, example = tmp_path / "monai.onnx", torch.zeros(2, 1, 64, 64)
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(net.eval(), (example,), str(path), **names, **ways[exporter])
    card = adopt(path, tmp_path / "adopted.onnx", AdoptOptions(stride=16)).card
    assert 0 < card.margin <= DEEPEST
    assert card.metrics[SEAMS] <= 1e-4
