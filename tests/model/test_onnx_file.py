"""A model file is a graph and its card; its hash is of what decides an answer."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import tifffile
from command_line import error
from onnx import helper, numpy_helper
from onnx.external_data_helper import set_external_data

from unet_deploy.errors import ModelError
from unet_deploy.model.card import METADATA_KEY, ModelCard, Normalization
from unet_deploy.model.onnx_file import read_model, write_card
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.zoo import open_model


def test_the_hash_is_of_weights_and_nodes_and_not_of_words(small_models, tmp_path):
    model = read_model(small_models["one"])
    renamed = onnx.load(str(small_models["one"]))
    card = ModelCard.from_json(renamed.metadata_props[0].value)
    helper.set_model_props(renamed, {METADATA_KEY: card.to_json().replace('"name": "one"', '"name": "uno"')})
    onnx.save(renamed, tmp_path / "renamed.onnx")
    assert read_model(tmp_path / "renamed.onnx").weights_sha256 == model.weights_sha256
    other = ModelCard.from_json(card.to_json().replace('"low": 1.0', '"low": 10.0'))
    helper.set_model_props(renamed, {METADATA_KEY: other.to_json()})
    onnx.save(renamed, tmp_path / "darker.onnx")  # another grey scale is another answer
    assert read_model(tmp_path / "darker.onnx").weights_sha256 != model.weights_sha256
    helper.set_model_props(renamed, {METADATA_KEY: card.to_json()})
    head = next(each for each in renamed.graph.initializer if each.name == "head.weight")
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.float32(1e-3), head.name))
    onnx.save(renamed, tmp_path / "changed.onnx")
    assert read_model(tmp_path / "changed.onnx").weights_sha256 != model.weights_sha256


@pytest.mark.parametrize(("content", "says"), [(None, "no such model file"), (b"junk", "is no ONNX file")])
def test_what_is_no_model_is_said(tmp_path, content, says):
    path = tmp_path / "m.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        read_model(path)


def test_another_card_leaves_the_graph_as_it_is(small_models, tmp_path):
    model = read_model(small_models["one"])
    write_card(model.path, tmp_path / "renamed.onnx", replace(model.card, name="renamed"))
    renamed = read_model(tmp_path / "renamed.onnx")
    assert renamed.card == replace(model.card, name="renamed")
    assert renamed.proto.graph == model.proto.graph
    assert renamed.weights_sha256 == model.weights_sha256


@pytest.mark.parametrize("module", ["onnx_file", "nodes", "ports", "lower"])
def test_without_onnx_the_line_that_installs_it_is_said(module):
    script = f"""
import sys
sys.modules["onnx"] = None
from unet_deploy.errors import MissingPackageError
try:
    import unet_deploy.model.{module}
except MissingPackageError as error:
    print(error)
"""
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert said == "this needs onnx; run: pip install 'unet-deploy[onnx]'\n"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"margin": 90}, "says margin 90"),
        ({"classes": ("a", "b", "c")}, "says 3 classes"),
        ({"channels": 2}, "says 2 channels"),
        ({"normalization": Normalization("fixed")}, "not what its card promises"),
    ],
)
def test_a_card_that_is_of_another_graph_makes_no_mask(undecided, tmp_path, speckle, runtime, changes, says):
    pytest.importorskip(runtime)
    model, image, mask = (tmp_path / name for name in ("m.onnx", "speckle.tif", "mask.tif"))
    write_card(undecided, model, replace(read_model(undecided).card, **changes))
    tifffile.imwrite(image, speckle)
    assert says in error("segment", image, "-m", model, "-o", mask, "--runtime", runtime, code=3)
    assert not mask.exists()


def replaced(model, path, old, new):
    """A model whose bytes hold something else, of the same length."""
    data = model.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    return path


def test_metadata_that_are_no_text_are_said_so(small_models, tmp_path):
    broken = replaced(small_models["one"], tmp_path / "m.onnx", b'"name": "one"', b'"name": "\xc0\xff\xfe"')
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(ModelError, match=r"m\.onnx: [^\n]+$"):
            open_model(broken, device="cpu", runtime=runtime)


def test_a_session_that_fails_says_nothing_by_itself(small_models, tmp_path, capfd):
    """ONNX Runtime's own words would go to stdout, control characters of the file included."""
    broken = replaced(small_models["one"], tmp_path / "m.onnx", b"Conv", b"\xc0onv")
    with pytest.raises(ModelError):
        OnnxRuntime(broken)
    assert capfd.readouterr() == ("", "")


def test_what_the_reader_of_a_model_warns_of_is_not_printed(small_models, tmp_path, recwarn):
    proto = onnx.load(small_models["one"])
    weight = next(each for each in proto.graph.initializer if each.name == "head.weight")
    set_external_data(weight, "head.bin")
    onnx.save(proto, tmp_path / "m.onnx")
    read_model(replaced(tmp_path / "m.onnx", tmp_path / "n.onnx", b"length", b"LENGTH"))
    assert not recwarn.list
