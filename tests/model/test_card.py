"""A card survives the trip through JSON, and says so when it does not."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import ModelError
from unet_deploy.measure.words import card_rows
from unet_deploy.model import card_fields
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.decision import Decision
from unet_deploy.model.parent import Parent

CARD = ModelCard("nuclei", 1, ("background", "nucleus"), 92, 16, 188)

lines = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=20)

cards = st.builds(
    ModelCard,
    name=lines,
    channels=st.integers(1, 8),
    classes=st.lists(lines, min_size=2, max_size=5).map(tuple),
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
    limit_ppm=st.floats(0, 1e6),
    bytes_per_pixel=st.none() | st.floats(1, 1e4),
    decision=st.builds(
        Decision,
        threshold=st.floats(0.01, 0.99),
        diameter=st.none() | st.floats(1, 500),
        diameters=st.none() | st.tuples(st.floats(1, 50), st.floats(50, 500)),
        split=st.floats(0, 1),
        min_size=st.floats(0, 1),
        fill_holes=st.booleans(),
    ),
    parent=st.none()
    | st.builds(
        Parent,
        name=lines,
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        license=st.text(max_size=20),
        trained_on=st.text(max_size=20),
    ),
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


PARENT = {"name": "cells", "sha256": "0" * 64, "license": "MIT", "trained_on": ""}
ODD = {"name": "two\nlines"}, {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sha256": 1}, {"license": None}
WRONG = {
    "name": [5, None, "two\nlines", "\x1b[31mred"],
    "channels": [0, 1.0, True, "1", 10**30],
    "classes": ["ab", None, [None, None], ["only"], ["a", "\x1b[31mred\nline"], ["a"] * 257, {"a": 1, "b": 2}],
    "margin": [1.5, -1, "92", True, 94, float("nan")],
    "stride": [0, 16.0, None],
    "base": [0, 184, "x"],
    "normalization": [None, [], 3, "fixed", {"strange": 1}],
    "parent": [None, [], 3, "cells", {"name": "cells"}, {**PARENT, "age": 3}, *({**PARENT, **wrong} for wrong in ODD)],
    "pixel_size_um": ["abc", 0, -1, float("nan"), float("inf"), True],
    "trained_on": [5, None, []],
    "license": [1],
    "command": [["unet-deploy"]],
    "metrics": [None, [], {"Dice": "high"}, {"Dice": None}],
    "precision": ["fp16", "", None, 32],
    "split": [0],
    "seed": ["0", 1.5, True],
    "mask_kind": ["labels", None, ["binary"], 1],
    "mask_values": [None, "01", [0, 0], [1, 0], [-1, 0], [0, 1.5], [0, True], [[0], 1], list(range(257)), 7],
    "evaluation": [3, {"Dice": [1]}],
    "evaluated_on": [None],
    "limit_ppm": [-1, 2e6, "1000", None, float("nan")],
    "bytes_per_pixel": [-1, "514", float("inf"), float("nan")],
    "format": [0, 2, True, "1", "\x1b[31m", None],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_every_field_is_checked_when_a_card_is_read(field, value):
    with pytest.raises(ModelError) as caught:
        ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), field: value}), source="model.onnx")
    said = str(caught.value)
    assert said.startswith("model.onnx: ")
    assert said.isprintable()
    assert re.search(r"export (the model|it) again$", said)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "z-score"},
        {"method": ["fixed"]},
        {"offset": float("nan")},
        {"offset": 1e39},
        {"offset": "0"},
        {"scale": 0},
        {"scale": 1e-60},
        {"scale": float("inf")},
        {"low": -1},
        {"high": 101},
        {"low": float("nan")},
        {"low": 50, "high": 50},
        {"low": 60, "high": 40},
    ],
)
def test_a_normalization_that_makes_no_numbers_is_refused(wrong):
    plain = json.loads(CARD.to_json())
    plain["normalization"].update(wrong)
    with pytest.raises(ModelError, match=r"^model\.onnx: normalization: [^\n]*export the model again$"):
        ModelCard.from_json(json.dumps(plain), source="model.onnx")


def test_every_field_has_a_rule():
    nested = {"normalization", "decision", "parent"}
    assert card_fields.CARD.keys() | nested == {each.name for each in fields(ModelCard)}
    assert card_fields.NORMALIZATION.keys() == {each.name for each in fields(Normalization)}
    assert card_fields.PARENT.keys() == {each.name for each in fields(Parent)}


def test_what_is_missing_or_unknown_is_named():
    plain = json.loads(CARD.to_json())
    with pytest.raises(ModelError, match="no field 'strange' is known"):
        ModelCard.from_json(json.dumps({**plain, "strange": 1}))
    del plain["base"]
    with pytest.raises(ModelError, match="a field is not there: base"):
        ModelCard.from_json(json.dumps(plain))


SHAPES = {
    "image": ["N", 1, "H", "W"],
    "offset": ["N", 1],
    "scale": ["N", 1],
    "labels": ["N", "h", "w"],
    "probabilities": ["N", 2, "h", "w"],
}


def test_a_card_agrees_with_its_graph():
    model = Path("model.onnx")
    CARD.check_ports(SHAPES, model)
    CARD.check_ports({**SHAPES, "probabilities": []}, model)  # a graph may leave it open
    with pytest.raises(ModelError, match="says 3 classes, but its port probabilities has 2"):
        replace(CARD, classes=("a", "b", "c")).check_ports(SHAPES, model)
    with pytest.raises(ModelError, match="says 3 channels, but its port"):
        replace(CARD, channels=3).check_ports(SHAPES, model)
    with pytest.raises(ModelError, match="not what its card promises"):
        replace(CARD, normalization=Normalization("fixed")).check_ports(SHAPES, model)
    with pytest.raises(ModelError, match="not what its card promises"):
        CARD.check_ports({name: shape for name, shape in SHAPES.items() if name != "scale"}, model)
