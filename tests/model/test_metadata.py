"""The card of a model file, read without any package, is the card that the package onnx finds."""

from dataclasses import replace

import pytest

from unet_deploy.errors import ModelError
from unet_deploy.model.metadata import peek_card
from unet_deploy.model.onnx_file import load, read_model, save


def test_it_is_the_card_of_the_file(small_models, nuclei):
    for path in (nuclei, *small_models.values()):
        assert peek_card(path) == read_model(path).card


def test_a_card_of_many_bytes_behind_other_entries_is_found(nuclei, tmp_path):
    file, path = read_model(nuclei), tmp_path / "long.onnx"
    card = replace(file.card, trained_on="ä" * 70_000)
    save(file.proto, card, path)
    proto = load(path)
    entry = proto.metadata_props.pop()
    proto.metadata_props.add(key="other", value="before")
    proto.metadata_props.append(entry)
    path.write_bytes(proto.SerializeToString())
    assert peek_card(path) == card


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40, b"PK\x03\x04 and more", b"\x72\x7f{}"])
def test_what_is_no_model_has_none(tmp_path, content):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert peek_card(path) is None
    assert peek_card(tmp_path / "missing.onnx") is None


def test_a_model_that_is_cut_off_has_none(nuclei, tmp_path):
    whole, path = nuclei.read_bytes(), tmp_path / "cut.onnx"
    for length in (1, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert peek_card(path) is None


def test_a_card_that_is_wrong_says_so(nuclei, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(nuclei.read_bytes().replace(b'"margin": 92', b'"margin": -2'))
    with pytest.raises(ModelError, match=r"bad.onnx: .*margin"):
        peek_card(path)
