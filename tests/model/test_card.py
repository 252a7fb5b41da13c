"""A card survives the trip through JSON, and says so when it does not."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.cli.show import card_rows
from unet_deploy.errors import ModelError
from unet_deploy.model.card import ModelCard, Normalization

CARD = ModelCard("nuclei", 1, ("background", "nucleus"), 92, 16, 188)

cards = st.builds(
    ModelCard,
    name=st.text(max_size=20),
    channels=st.integers(1, 8),
    classes=st.lists(st.text(max_size=10), min_size=2, max_size=5).map(tuple),
    margin=st.just(92),
    stride=st.just(16),
    base=st.integers(185, 400),
    normalization=st.builds(
        Normalization,
        method=st.sampled_from(["fixed", "percentile"]),
        offset=st.floats(-1e6, 1e6),
        scale=st.floats(1e-9, 1e3),
        low=st.floats(0, 40),
        high=st.floats(60, 100),
    ),
    pixel_size_um=st.none() | st.floats(1e-3, 1e3),
    trained_on=st.text(max_size=30),
    metrics=st.dictionaries(st.text(min_size=1, max_size=10), st.floats(0, 1), max_size=4),
    split=st.text(max_size=30),
    seed=st.none() | st.integers(0, 2**32),
    evaluation=st.dictionaries(st.text(min_size=1, max_size=10), st.floats(0, 1), max_size=4),
    evaluated_on=st.text(max_size=30),
    bytes_per_pixel=st.none() | st.floats(1, 1e4),
)


@given(cards)
def test_a_card_reads_back_as_it_was_written(card):
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 1}', CARD.to_json()[:-5]])
def test_a_broken_card_is_one_line_that_names_the_file(text):
    with pytest.raises(ModelError, match=r"^model\.onnx: [^\n]*export the model again$"):
        ModelCard.from_json(text, source="model.onnx")


def test_a_card_of_before_split_seed_and_evaluation_still_opens():
    plain = json.loads(CARD.to_json())
    for name in ("split", "seed", "evaluation", "evaluated_on"):
        del plain[name]
    card = ModelCard.from_json(json.dumps(plain))
    assert (card.split, card.seed, card.evaluation, card.evaluated_on) == ("", None, {}, "")
    assert dict(card_rows(card))["seed"] == "not recorded"


def test_a_card_of_the_future_names_both_formats():
    plain = json.loads(CARD.to_json())
    plain["format"] = 7
    with pytest.raises(ModelError, match="card format 7, but this version reads 1"):
        ModelCard.from_json(json.dumps(plain), source="model.onnx")


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"margin": -1}, {"base": 184}, {"classes": ("only",)}])
def test_an_impossible_card_cannot_be_made(wrong):
    with pytest.raises(ModelError):
        replace(CARD, **wrong)
