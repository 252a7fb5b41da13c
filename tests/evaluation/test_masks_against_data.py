"""Predicted masks are scored against annotated images, however these lie, and each finds its image by its name."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from cells import cells
from cli.in_process import refusal, run

from unet_deploy.errors import DataError
from unet_deploy.evaluation.against_truth import score_data
from unet_deploy.evaluation.evaluate import evaluate
from unet_deploy.evaluation.pair import Pair
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.predictions import find_predictions
from unet_deploy.images.tiff import TiffSource


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.eye(8, dtype=np.uint8) if pixels is None else pixels)
    return path


@pytest.fixture
def predicted(folder):
    """What `segment DATA/images -o masks` would write of six annotated images, all of it right."""
    masks = folder.parent / "masks"
    for pair in find_pairs(folder):
        write(masks / f"{pair.image.stem}.mask.tif", (tifffile.imread(pair.mask) > 0).astype(np.uint8))
    return masks


def test_every_mask_of_a_folder_is_scored(folder, predicted, capsys):
    tifffile.imwrite(predicted / "cell3.mask.tif", np.zeros((90, 90), np.uint8))
    assert run("score", predicted, folder, "--json") == 0
    dice = {name: image["dice"] for name, image in json.loads(capsys.readouterr().out)["images"].items()}
    assert dice == {f"cell{at}": [float(at != 3)] for at in range(6)}


def test_scores_are_those_of_evaluating_the_model_that_made_the_masks(folder, small_models, tmp_path):
    assert run("segment", folder / "images", "-m", small_models["one"], "-o", tmp_path / "out", "--no-progress") == 0
    pairs = find_pairs(folder)
    scores = score_data(tmp_path / "out", pairs, mask_kind="auto").scores
    expected = evaluate(small_models["one"], pairs).scores
    assert [each.overlaps[0] for each in scores] == [each.overlaps[0] for each in expected]


def test_images_without_a_mask_are_one_line(folder, predicted, capsys):
    (predicted / "cell1.mask.tif").unlink()
    (predicted / "cell4.mask.tif").unlink()
    line = refusal(capsys, "score", predicted, folder, code=3)
    assert f"cell1.tif: has no mask in {predicted} (nor have 1 of 6 images more), such as cell1.mask.tif" in line


def test_a_mask_of_another_size_is_one_line(folder, predicted, capsys):
    tifffile.imwrite(predicted / "cell2.mask.tif", np.zeros((80, 90), np.uint8))
    line = refusal(capsys, "score", predicted, folder, code=3)
    assert "cell2.mask.tif: is 80 x 90 pixels, but its truth" in line


def test_one_mask_for_many_images_is_one_line(folder, predicted, capsys):
    line = refusal(capsys, "score", predicted / "cell2.mask.tif", folder, code=3)
    assert "is one mask, but there are 6 images" in line


def test_what_a_person_says_is_not_known_is_not_scored(folder, predicted, capsys):
    for pair in find_pairs(folder):
        wrong = tifffile.imread(predicted / f"{pair.image.stem}.mask.tif")
        mask = tifffile.imread(pair.mask)
        mask[:40], wrong[:40] = 99, 1 - wrong[:40]
        tifffile.imwrite(pair.mask, mask)
        tifffile.imwrite(predicted / f"{pair.image.stem}.mask.tif", wrong)
    assert run("score", predicted, folder, "--ignore", 99, "--json") == 0
    assert json.loads(capsys.readouterr().out)["overall"]["Dice of foreground, all pixels"] == 1


@pytest.mark.parametrize("truth", ["data", "file"])
def test_a_value_to_ignore_that_no_mask_has_is_said(folder, predicted, capsys, truth):
    given = [predicted, folder]
    if truth == "file":
        given = [predicted / "cell0.mask.tif", folder / "masks" / "cell0.tif"]
    assert run("score", *given, "--ignore", 77) == 0
    assert "no mask has a pixel of 77, so --ignore 77 leaves nothing out" in capsys.readouterr().err


def test_of_an_annotated_region_alone_the_mask_is_read(tmp_path, monkeypatch):
    write(tmp_path / "data" / "slide.tif", cells(np.random.default_rng(4), 120)[0])
    box = [[10, 20], [50, 20], [50, 60], [10, 60], [10, 20]]
    cell = [[15, 25], [30, 25], [30, 40], [15, 40], [15, 25]]
    shapes = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}},
        }
        for name, ring in (("Annotated", box), ("Cell", cell))
    ]
    (tmp_path / "data" / "slide.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))
    mask = np.ones((120, 120), np.uint8)
    mask[20:60, 10:50] = 0
    mask[25:40, 15:30] = 1
    write(tmp_path / "out" / "slide.mask.tif", mask)
    crops, crop = [], TiffSource.crop
    monkeypatch.setattr(TiffSource, "crop", lambda self, page, region: crops.append(region) or crop(self, page, region))
    found = score_data(tmp_path / "out", find_pairs(tmp_path / "data" / "slide.tif"))
    assert [each.sides for each in crops] == [(40, 40)]
    assert found.by_class[0].dice == found.object_f1 == 1


def test_named_classes_are_scored_by_their_names(tmp_path, capsys):
    pixels = np.zeros((40, 40), np.uint8)
    pixels[5:15, 5:15], pixels[20:35, 20:35] = 1, 2
    write(tmp_path / "D" / "imagesTr" / "a_0000.tif", pixels * 40)
    write(tmp_path / "D" / "labelsTr" / "a.tif", pixels)
    labels = {"labels": {"background": 0, "axon": 1, "myelin": 2}, "file_ending": ".tif"}
    (tmp_path / "D" / "dataset.json").write_text(json.dumps(labels))
    write(tmp_path / "out" / "a.tif", pixels)
    assert run("score", tmp_path / "out", tmp_path / "D", "--json") == 0
    overall = json.loads(capsys.readouterr().out)["overall"]
    assert (overall["Dice of axon, all pixels"], overall["Dice of myelin, all pixels"]) == (1, 1)


# -- names -----------------------------------------------------------------------------------------------------------


def pair(root, name="a.tif", **fields):
    return Pair(name.rpartition(".")[0], root / "data" / name, root / "data" / "truth.tif", **fields)


@pytest.mark.parametrize(
    "name",
    ["a.mask.tif", "a.mask.ome.tif", "A.tif", "a.png", "a_mask.png", "a_cp_masks.tif", "deep/a.mask.tif"],
)
def test_a_mask_is_known_by_the_name_that_programs_give_it(tmp_path, name):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.touch()
    given = pair(tmp_path, "deep/a.tif") if name.startswith("deep") else pair(tmp_path)
    assert find_predictions(tmp_path / "out", [given]).of == {given.image: file}


def test_beside_what_else_a_run_writes_the_mask_is_taken(tmp_path):
    names = ("a.mask.tif", "a.mask.instances.tif", "a.mask.probabilities.tif", "a.mask.overlay.png", "a.tif")
    for name in names:
        write(tmp_path / "data" / name)
    found = find_predictions(tmp_path / "data", [pair(tmp_path)])
    assert found.of == {tmp_path / "data" / "a.tif": tmp_path / "data" / "a.mask.tif"}


def test_numbered_objects_are_taken_where_there_is_no_mask(tmp_path):
    file = write(tmp_path / "out" / "a.mask.instances.tif")
    assert list(find_predictions(tmp_path / "out", [pair(tmp_path)]).of.values()) == [file]


def test_an_image_and_its_true_mask_are_no_predictions(tmp_path):
    given = pair(tmp_path)
    for file in given.files:
        write(file)
    with pytest.raises(DataError, match="has no mask in"):
        find_predictions(tmp_path / "data", [given])


def test_two_masks_of_an_image_are_refused(tmp_path):
    write(tmp_path / "out" / "a.tif")
    write(tmp_path / "out" / "a.png")
    with pytest.raises(DataError, match=r"a\.tif: is a mask of .*a\.tif, as .*a\.png is; keep one of them"):
        find_predictions(tmp_path / "out", [pair(tmp_path)])


def test_of_images_of_one_name_in_two_folders_each_has_its_own(tmp_path):
    pairs = [pair(tmp_path, f"{day}/a.tif") for day in ("one", "two")]
    files = [write(tmp_path / "out" / day / "a.mask.tif") for day in ("one", "two")]
    assert list(find_predictions(tmp_path / "out", pairs).of.values()) == files
    shutil.rmtree(tmp_path / "out" / "two")
    write(tmp_path / "out" / "a.mask.tif")
    with pytest.raises(DataError, match=r"two/a\.tif: has no mask"):
        find_predictions(tmp_path / "out", pairs)


def test_masks_of_no_image_are_said(tmp_path):
    write(tmp_path / "out" / "a.mask.tif")
    write(tmp_path / "out" / "b.mask.tif")
    assert find_predictions(tmp_path / "out", [pair(tmp_path)]).note.startswith("note: b.mask.tif of ")
