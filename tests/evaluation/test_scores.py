"""Figures over images, by fields in code and by words for people."""

import json
from dataclasses import fields

import numpy as np
import pytest
import tifffile
from command_line import unet_deploy

from unet_deploy.errors import UsageError
from unet_deploy.evaluation.evaluate import score_labels
from unet_deploy.evaluation.measures import (
    BY_THRESHOLD,
    GROUPS,
    OBJECTS,
    OVERLAP,
    PARTITIONS,
    PROBABILITIES,
    Scoring,
    parse_groups,
)
from unet_deploy.evaluation.scores import ClassScore, CutScore, Evaluation
from unet_deploy.evaluation.truths import Truth


def scored(name, found, truth, *probabilities):
    found, truth = (np.array(each, np.uint8) for each in (found, truth))
    scoring = Scoring(frozenset(["thresholds"]))
    return score_labels(name, found, Truth(truth, truth.astype(np.int32)), 2, *(probabilities or [None]), scoring)


def test_every_measure_has_a_field_and_every_field_its_words():
    assert {measure.field for measure in OVERLAP} == {each.name for each in fields(ClassScore)} - {"name"}
    assert {measure.field for measure in (*BY_THRESHOLD, *PARTITIONS)} == {each.name for each in fields(CutScore)}
    for measure in (*OBJECTS, *PROBABILITIES):
        assert hasattr(Evaluation, measure.field)


def test_an_image_without_objects_does_not_count_in_seg_and_is_told():
    half = scored("half", [[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 0]])
    empty = scored("empty", [[0, 1, 0, 0, 0]], [[0, 0, 0, 0, 0]])
    result = Evaluation(("background", "cell"), (half, empty))
    assert (half.seg, empty.seg, result.seg) == (0.75, None, 0.75)
    assert result.without_objects == 1
    assert result.to_json()["images"]["empty"]["seg"] is None
    assert result.overall()["SEG"] == 0.75


def test_where_no_image_has_an_object_there_is_no_seg():
    result = Evaluation(("background", "cell"), (scored("empty", [[0, 1]], [[0, 0]]),))
    assert result.seg is None
    assert "SEG" not in result.overall()
    assert result.overall()["object F1 at IoU 0.5"] == 0


def test_table_and_json_agree_on_an_image_without_objects(tmp_path):
    mask, truth = np.zeros((2, 30, 30), np.uint8), np.zeros((2, 30, 30), np.uint8)
    mask[:, 5:10, 5:10] = truth[0, 5:10, 5:10] = 1
    for name, pages in (("mask", mask), ("truth", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pages, photometric="minisblack")
    table, said = unet_deploy("score", "mask.tif", "truth.tif", cwd=tmp_path)
    rows = [line.split() for line in table.splitlines() if line]
    assert rows[1][-1] == "1.0000"
    assert rows[2][-1] == "none"
    assert ["SEG", "1.0000"] in rows
    assert said == "SEG: no true objects in 1 of 2 images, which do not count\n"
    found = json.loads(unet_deploy("score", "mask.tif", "truth.tif", "--json", cwd=tmp_path)[0])
    assert [image["seg"] for image in found["images"].values()] == [1.0, None]
    assert found["overall"]["SEG"] == 1.0


def test_whole_numbers_are_written_whole_and_others_with_four_decimals():
    result = Evaluation(("background", "cell"), (scored("x", [[1, 1, 0, 0]], [[1, 1, 1, 0]]),))
    texts = {figure.words: figure.text for figure in result.figures(["objects"])}
    assert texts["SEG"] == "0.6667"
    assert texts["objects merged into others"] == "0"


def test_figures_are_those_of_the_groups_that_were_asked_for():
    result = Evaluation(("background", "cell"), (scored("x", [[1, 0]], [[1, 0]]),))
    assert list(result.overall({"overlap"})) == [
        "Dice of cell, mean of images",
        "Dice of cell, all pixels",
        "IoU of cell, all pixels",
    ]
    assert [figure.measure.field for figure in result.figures({"objects"})] == [each.field for each in OBJECTS]


def test_groups_are_named_one_by_one_or_all():
    assert parse_groups("all") == set(GROUPS)
    assert parse_groups("overlap, thresholds") == {"overlap", "thresholds"}
    assert not Scoring(parse_groups("objects")).by_threshold
    assert Scoring(parse_groups("thresholds")).by_threshold
    assert Scoring(parse_groups("partitions")).partitions
    with pytest.raises(
        UsageError, match="--metrics beauty: there are overlap, objects, thresholds, partitions and all"
    ):
        parse_groups("beauty")
