"""Classes are those that a person says, or else those that the data sets name."""

import json

import numpy as np
import pytest
import tifffile

from trainer.sets import DataSet, classes_of
from unet_deploy.errors import DataError


def named(root, *names):
    """A data set of nnU-Net with these labels, as a value of the trainer."""
    for folder, file in (("imagesTr", "a_0000.png"), ("labelsTr", "a.png")):
        (root / folder).mkdir(parents=True)
        (root / folder / file).write_bytes(b"")
    (root / "dataset.json").write_text(json.dumps({"labels": {name: at for at, name in enumerate(names)}}))
    return DataSet(root)


def test_classes_are_those_that_the_data_set_names(tmp_path):
    assert classes_of([named(tmp_path, "background", "cell", "nerve")]) == ("background", "cell", "nerve")


def test_classes_that_are_said_come_first(tmp_path):
    assert classes_of([named(tmp_path, "background", "cell", "nerve")], ["a", "b", "c"]) == ("a", "b", "c")


def test_where_nobody_names_them_they_are_background_and_foreground(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "a.tif", np.zeros((4, 5), np.uint8))
    assert classes_of([DataSet(tmp_path)]) == ("background", "foreground")


def test_data_sets_that_name_other_labels_want_them_said(tmp_path):
    sets = [named(tmp_path / name, "background", name) for name in ("nerve", "vessel")]
    said = (
        r"vessel/dataset\.json: has labels background,vessel, but .*background,nerve; give the classes with --classes"
    )
    with pytest.raises(DataError, match=said):
        classes_of(sets)


def test_those_of_the_model_to_begin_with_are_taken_where_they_are_as_many(tmp_path):
    data, parent = [named(tmp_path, "background", "nuclei")], ("background", "nucleus")
    assert classes_of(data, parent=parent) == parent
    assert classes_of(data, ["a", "b"], parent) == ("a", "b")
    assert classes_of(data, parent=(*parent, "nerve")) == ("background", "nuclei")
