"""`train --dry-run` says what is found in each folder, and ends as the training would that cannot begin."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from cells import folder  # noqa: F401
from cli.in_process import refusal, run

pytest.importorskip("torch")

SMALL = ("--width", 2, "--depth", 1, "--tile-size", 60, "--steps", 5)


@pytest.fixture
def cellpose(folder, tmp_path):  # noqa: F811
    """The same six pairs in one folder, the masks under Cellpose's names."""
    root = tmp_path / "beside"
    shutil.copytree(folder / "images", root)
    for mask in (folder / "masks").iterdir():
        shutil.copy(mask, root / f"{mask.stem}_cp_masks.tif")
    return root


@pytest.fixture
def nnunet(tmp_path):
    """Two cases of three classes and pixels that nobody annotated."""
    root = tmp_path / "Dataset001"
    for kind in ("imagesTr", "labelsTr"):
        (root / kind).mkdir(parents=True)
    labels = np.zeros((60, 80), np.uint8)
    labels[:30], labels[:6, :20], labels[8:9, :48] = 3, 1, 2
    for case in "ab":
        tifffile.imwrite(root / "imagesTr" / f"{case}_0000.tif", np.full((60, 80), 9, np.uint8) + labels)
        tifffile.imwrite(root / "labelsTr" / f"{case}.tif", labels)
    named = {"background": 0, "cell": 1, "nerve": 2, "ignore": 3}
    (root / "dataset.json").write_text(json.dumps({"labels": named, "file_ending": ".tif"}))
    return root


def shown(capsys, *words):
    """The table that a dry run prints, as rows of cells."""
    assert run("train", *words, *SMALL, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert " for 5 steps at width 2 on " in err.splitlines()[-1]
    return {line[:10].strip(): line[12:].split("  ") for line in out.splitlines()}


def files(place):
    return sorted(path for path in place.rglob("*") if path.is_file())


def test_what_each_folder_holds_is_one_table(folder, cellpose, tmp_path, capsys):  # noqa: F811
    before = files(tmp_path)
    found = shown(capsys, folder, cellpose, "-o", tmp_path / "w.pt")
    assert [cell.strip() for cell in found["layout"] if cell] == [
        "images/ and masks/",
        "masks beside images (Cellpose)",
    ]
    assert found["images"][0] == "6"
    assert found["held back"][0] == "1 of 6"
    assert {"data", "pixels", "channels", "objects", "annotated", "background", "foreground"} < {*found}
    assert files(tmp_path) == before


def test_classes_and_what_is_not_annotated_come_from_the_data_set(nnunet, capsys):
    found = shown(capsys, nnunet)
    assert found["layout"] == ["imagesTr/ and labelsTr/ (nnU-Net)"]
    assert (found["annotated"], found["cell"], found["nerve"]) == (["53.5 %"], ["4.67 %"], ["1.87 %"])


def test_python_has_the_same_in_values(nnunet):
    from trainer.description import ModelDescription
    from trainer.found import ClassShare
    from trainer.preview import preview
    from trainer.recipe import PRESETS, tailored
    from trainer.sets import DataSet

    recipe = tailored(PRESETS["modern"], width=2, depth=1, tile=60, steps=5)
    (found,) = preview(DataSet(nnunet), recipe, ModelDescription(("background", "cell", "nerve"))).sets
    known = 30 * 80 + 6 * 20 + 48
    assert found.classes == tuple(
        ClassShare(name, count / known) for name, count in (("background", 2400), ("cell", 120), ("nerve", 48))
    )
    assert (found.objects, found.smallest, found.largest) == (4, (60, 80), (60, 80))
    assert found.annotated == known / (60 * 80)


def test_of_an_only_image_a_share_is_held_back(nnunet, capsys):
    (nnunet / "imagesTr" / "b_0000.tif").unlink()
    (nnunet / "labelsTr" / "b.tif").unlink()
    assert shown(capsys, nnunet, "--validation", "last:0.2")["held back"] == ["20 % of it"]


BAD = {
    "a mask is missing": (lambda root: (root / "cell1_cp_masks.tif").unlink(), r"cell1.tif: has no mask beside it"),
    "two masks": (
        lambda root: shutil.copy(root / "cell1_cp_masks.tif", root / "cell1_masks.tif"),
        "cell1_masks.tif: is a mask of ",
    ),
    "another size": (
        lambda root: tifffile.imwrite(root / "cell1_cp_masks.tif", np.ones((5, 6), np.uint16)),
        "cell1_cp_masks.tif: is 5 x 6 pixels, but its image ",
    ),
    "no object": (
        lambda root: [tifffile.imwrite(path, np.zeros((90, 90), np.uint16)) for path in root.glob("*_masks.tif")],
        "class 'foreground' occurs in no mask",
    ),
}


@pytest.mark.parametrize("words", [["--dry-run"], ["-o", "w.pt"]], ids=["dry", "run"])
@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_the_same_line_as_without_it(cellpose, case, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spoil, said = BAD[case]
    spoil(cellpose)
    before = files(tmp_path)
    assert run("train", cellpose, *words, *SMALL) == 3
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert files(tmp_path) == before


def test_notes_come_before_what_is_wrong(cellpose, monkeypatch, capsys):
    pytest.importorskip("onnx")
    (cellpose / "cell1_cp_masks.tif").unlink()
    assert run("train", cellpose, "--from", "nuclei", "--classes", "background,nucleus", "--dry-run") == 3
    note, error = capsys.readouterr().err.splitlines()
    assert note == "note: classes are background,nucleus, as of model 'nuclei'"
    assert error.startswith("error: ")


def test_a_file_that_is_there_and_words_that_contradict_are_refused(cellpose, tmp_path, capsys):
    (tmp_path / "w.pt").write_text("mine")
    train = ("train", cellpose, *SMALL, "-o", tmp_path / "w.pt", "--dry-run")
    assert "w.pt exists; pass --overwrite" in refusal(capsys, *train)
    assert "--dry-run looks at the data of a new training" in refusal(capsys, *train, "--resume")
    assert "lies in the input" in refusal(capsys, "train", cellpose, *SMALL, "-o", cellpose / "w.pt", "--dry-run")


def test_weights_have_a_name_but_for_a_dry_run(cellpose, capsys):
    assert "Missing option --output (-o)" in refusal(capsys, "train", cellpose)


def test_a_model_to_begin_with_is_looked_at_too(cellpose, monkeypatch, capsys):
    pytest.importorskip("onnx")
    from trainer.forecast import Forecast

    monkeypatch.setattr("trainer.plan.foresee", lambda *_: Forecast(5, 16, 1.0, "two cores"))
    assert run("train", cellpose, "--from", "nuclei", "--dry-run", "--steps", 5) == 0
    out, err = capsys.readouterr()
    assert "nucleus" in out
    assert "note: classes are background,nucleus, as of model 'nuclei'" in err
    assert "--depth 1: model 'nuclei' has " in refusal(
        capsys, "train", cellpose, "--from", "nuclei", *SMALL[2:], "--dry-run"
    )
