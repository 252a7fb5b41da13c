"""What is written for Triton is what Triton's own message says, parsed by it."""

import json
from dataclasses import replace

import pytest

from unet_deploy.convert.triton import export_triton
from unet_deploy.errors import ModelError, UsageError, VerificationError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.decision import Decision
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.tensorrt.build import build_engine
from unet_deploy.runtimes.tensorrt.compilers import find_compiler
from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
from unet_deploy.runtimes.tensorrt.record import set_accuracy, write_record


def parsed(folder):
    text_format = pytest.importorskip("google.protobuf.text_format")
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_model_becomes_a_repository(small_models, tmp_path):
    folder = export_triton(small_models["one"], tmp_path / "models", most_tiles=4)
    config = parsed(folder)
    assert folder == tmp_path / "models" / "one"
    assert (config.name, config.platform, config.max_batch_size) == ("one", "onnxruntime_onnx", 4)
    inputs = {each.name: (each.data_type, list(each.dims)) for each in config.input}
    assert inputs == {"image": (11, [1, -1, -1]), "offset": (11, [1]), "scale": (11, [1])}  # TYPE_FP32
    outputs = {each.name: (each.data_type, list(each.dims)) for each in config.output}
    assert outputs == {"labels": (2, [-1, -1]), "probabilities": (11, [2, -1, -1])}  # TYPE_UINT8
    card = ModelCard.from_json(config.parameters["unet_deploy.card"].string_value)
    assert card == read_model(small_models["one"]).card
    assert (folder / "1" / "model.onnx").read_bytes() == small_models["one"].read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        export_triton(small_models["one"], tmp_path / "models")
    export_triton(small_models["one"], tmp_path / "models", overwrite=True)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["one"]


def test_a_threshold_of_the_card_is_served(small_models, tmp_path):
    """Triton reads no card: what is decided by it must be in the graph."""
    file, path = read_model(small_models["one"]), tmp_path / "eager.onnx"
    save(file.proto, replace(file.card, decision=Decision(threshold=0.3)), path)
    served = export_triton(path, tmp_path / "models") / "1" / "model.onnx"
    assert any(node.name == "decision.weighed" for node in read_model(served).proto.graph.node)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ".hidden", "", "-x", "a b", "x\n", "x" * 300])
def test_a_name_is_that_of_a_folder_in_the_repository(small_models, tmp_path, name):
    with pytest.raises(UsageError, match="give another --name"):
        export_triton(small_models["one"], tmp_path / "models", name=name, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_only_a_model_of_a_repository_is_replaced_and_never_the_one_that_is_exported(small_models, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("")
    with pytest.raises(UsageError, match="is no model of a repository, so it is not replaced"):
        export_triton(small_models["one"], tmp_path, name="mine", overwrite=True)
    assert (tmp_path / "mine" / "precious").exists()
    made = export_triton(small_models["one"], tmp_path, name="one")
    with pytest.raises(UsageError, match="holds the input"):
        export_triton(made / "1" / "model.onnx", tmp_path, name="one", overwrite=True)
    assert (made / "1" / "model.onnx").exists()


@pytest.mark.parametrize("fixed", [True, False])
def test_an_engine_of_tensorrt_becomes_a_repository_once_it_is_proved(small_models, tmp_path, fixed):
    pytest.importorskip("tensorrt_rtx")
    model, engine = read_model(small_models["one"]), tmp_path / "one.engine"
    profile = Profile.of(2, 76, 92) if fixed else Profile((1, 44, 44), (2, 76, 92), (2, 76, 92))
    asked = BuildOptions(profile, pixels="uint16", targets=("sm86",))
    record = build_engine(model, engine, asked, find_compiler("tensorrt_rtx"))
    with pytest.raises(UsageError, match="Triton runs engines of TensorRT"):
        export_triton(engine, tmp_path / "models")
    write_record(engine, replace(record, compiler="tensorrt"))
    with pytest.raises(VerificationError, match="was never compared with its model"):
        export_triton(engine, tmp_path / "models")
    set_accuracy(engine, Agreement(pixels=1_000_000, labels_differ=3, image="a.tif"))
    config = parsed(export_triton(engine, tmp_path / "models", name="cells"))
    assert (config.name, config.platform, config.max_batch_size) == ("cells", "tensorrt_plan", 0 if fixed else 2)
    assert list(config.input[0].dims) == ([2, 1, 76, 92, 2] if fixed else [1, -1, -1, 2])
    lost = 2 * model.card.margin
    labels = [2, 76 - lost, 92 - lost] if fixed else [-1, -1]
    assert [(each.name, list(each.dims)) for each in config.output] == [("labels", labels)]
    set_accuracy(engine, Agreement(pixels=1_000_000, labels_differ=5_000, image="a.tif"))
    with pytest.raises(VerificationError, match="not the model's answer"):
        export_triton(engine, tmp_path / "models", name="others")


def test_a_model_without_a_card_is_no_repository(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError):
        export_triton(tmp_path / "m.onnx", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_the_card_is_one_string(small_models, tmp_path):
    config = parsed(export_triton(small_models["three"], tmp_path / "models"))
    assert json.loads(config.parameters["unet_deploy.card"].string_value)["name"] == "three"
