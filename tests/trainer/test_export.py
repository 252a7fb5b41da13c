"""The ONNX file says what it is and does what PyTorch does."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from trainer import export as exporting  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.export import IR_VERSION, OPSET, build, check, export  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.train import train  # noqa: E402
from trainer.unet import UNet  # noqa: E402
from unet_deploy.errors import ModelError, UsageError, VerificationError  # noqa: E402
from unet_deploy.images.grey import GreyScale  # noqa: E402
from unet_deploy.model.card import ModelCard, Normalization  # noqa: E402
from unet_deploy.runtimes.onnxruntime import OnnxRuntime  # noqa: E402


@pytest.fixture
def weights(folder, tmp_path):
    recipe = replace(PRESETS["modern"], width=4, depth=2, tile=84, steps=10, warmup=1, seed=3)
    description = ModelDescription(
        ("background", "cell"), pixel_size_um=0.5, trained_on="round cells", license="CC0-1.0"
    )
    path = tmp_path / "weights.pt"
    train(DataSet(folder), path, recipe, description, evaluate_every=10)
    return path


def test_the_file_carries_its_card(weights, tmp_path):
    card = export(weights, tmp_path / "cells.onnx")
    with OnnxRuntime(tmp_path / "cells.onnx") as runtime:
        assert runtime.card == card
    assert (card.name, card.channels, card.classes) == ("cells", 1, ("background", "cell"))
    assert (card.margin, card.stride, card.base) == (20, 4, 44)
    assert (card.pixel_size_um, card.trained_on, card.license) == (0.5, "round cells", "CC0-1.0")
    assert card.metrics["mean Dice, validation"] > 0
    assert (card.split, card.seed) == ("last:0.1 held back: 1 of 6 images", 3)
    assert 10 < card.bytes_per_pixel < 1000


@pytest.mark.usefixtures("unmeasured")
def test_weights_of_earlier_versions_name_their_split_in_a_score(weights, tmp_path):
    saved = torch.load(weights, weights_only=True)
    score = saved["metrics"].pop("mean Dice, validation")
    del saved["split"]
    saved["metrics"]["mean Dice, validation every:10"] = score
    torch.save(saved, tmp_path / "old.pt")
    card = export(tmp_path / "old.pt", tmp_path / "old.onnx")
    assert card.split == "every:10 held back"
    assert card.metrics == {"mean Dice, validation": score, "steps": 10}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("grey", [Normalization(), Normalization("fixed", 100, 0.02)])
def test_the_graph_is_the_network_at_every_legal_size(tmp_path, classes, grey):
    torch.manual_seed(1)
    network = UNet(2, classes, width=4, depth=3).eval()
    names = tuple(f"class {k}" for k in range(classes))
    card = ModelCard("m", 2, names, network.margin, network.stride, network.base, grey)
    model = build(network, card)
    assert model.ir_version == IR_VERSION
    assert model.opset_import[0].version == OPSET
    path = tmp_path / "m.onnx"
    exporting.save(model, card, path)
    offset, scale = np.array([3, 90], np.float32), np.array([0.1, 0.02], np.float32)
    if grey.method == "fixed":
        offset, scale = np.full(2, 100, np.float32), np.full(2, 0.02, np.float32)
    rng = np.random.default_rng(0)
    with OnnxRuntime(path, probabilities=True) as runtime, torch.no_grad():
        for count, tall, wide in ((1, 0, 0), (3, 2, 0), (2, 1, 5)):
            sides = network.base + tall * network.stride, network.base + wide * network.stride
            image = rng.integers(0, 255, (count, 2, *sides), dtype=np.uint8)
            answer = runtime.submit(list(image), [GreyScale(offset, scale)] * count)
            values = (image.astype(np.float32) - offset[:, None, None]) * scale[:, None, None]
            expected = network(torch.from_numpy(values)).softmax(1).numpy()
            np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
            np.testing.assert_array_equal(answer.labels, expected.argmax(1))
            assert answer.labels.dtype == np.uint8


def test_the_same_weights_give_the_same_bytes():
    network = UNet(width=2, depth=1).eval()
    card = ModelCard("m", 1, ("a", "b"), network.margin, network.stride, network.base)
    assert build(network, card).SerializeToString() == build(network, card).SerializeToString()


def test_the_graph_holds_nothing_but_the_network():
    network = UNet(width=2).eval()
    card = ModelCard("m", 1, ("a", "b"), network.margin, network.stride, network.base)
    kinds = [node.op_type for node in build(network, card).graph.node]
    assert (kinds.count("Conv"), kinds.count("ConvTranspose"), kinds.count("MaxPool")) == (19, 4, 4)
    assert "ArgMax" not in kinds  # two classes: a comparison


def test_an_export_that_is_wrong_is_refused_and_leaves_no_file(weights, tmp_path, monkeypatch):
    real = exporting.build

    def spoiled(network, card):
        model = real(network, card)
        for constant in model.graph.initializer:
            if constant.name == "head.bias":
                constant.CopyFrom(onnx.numpy_helper.from_array(np.array([0.01, 0], np.float32), "head.bias"))
        return model

    monkeypatch.setattr(exporting, "build", spoiled)
    with pytest.raises(VerificationError, match=r"model 'cells': ONNX Runtime's .* nothing written"):
        export(weights, tmp_path / "cells.onnx")
    assert not (tmp_path / "cells.onnx").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_network_that_gives_no_numbers_is_refused(tmp_path):
    network = UNet(width=2, depth=1).eval()
    with torch.no_grad():
        network.head.bias[0] = float("nan")
    card = ModelCard("m", 1, ("a", "b"), network.margin, network.stride, network.base)
    exporting.save(build(network, card), card, tmp_path / "m.onnx")
    with pytest.raises(VerificationError):
        check(tmp_path / "m.onnx", network, card, [torch.zeros(1, 42, 42)])


def test_an_existing_model_and_a_foreign_file_are_refused(weights, tmp_path):
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        export(weights, tmp_path / "there.onnx")
    (tmp_path / "foreign.pt").write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"foreign\.pt: is no weights file"):
        export(tmp_path / "foreign.pt", tmp_path / "new.onnx")
