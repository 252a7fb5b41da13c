"""train, evaluate and score take what people drew on images, and refuse what has no one meaning on one line."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from cells import cells
from in_process import run

QUICK = ("--width", "2", "--depth", "1", "--tile-size", "40", "--steps", "2", "--evaluate-every", "1", "--no-progress")


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(of, ring, kind="Polygon"):
    """A shape of QuPath."""
    coordinates = [ring] if kind == "Polygon" else ring
    classified = {"classification": {"name": of}} if of else {}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": classified}


def draw(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


@pytest.fixture
def slide(tmp_path):
    """An image of cells, of which those in its left half are drawn, each as a box."""
    picture, objects = cells(np.random.default_rng(4), 80, 12)
    path = tmp_path / "data" / "slide.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, picture)
    shapes = []
    for number in np.unique(objects[:, :40])[1:]:
        rows, columns = np.nonzero(objects == number)
        shapes.append(feature("Cell", box(*map(int, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))))
    draw(path.with_suffix(".geojson"), *shapes, feature("Annotated", box(0, 0, 40, 80)))
    return path


def test_a_drawing_is_read_once_by_a_training(slide, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from unet_deploy.annotations import drawn

    read, parsed = [], drawn.read_geojson
    monkeypatch.setattr(drawn, "read_geojson", lambda path: read.append(path) or parsed(path))
    assert run("train", slide, "-o", tmp_path / "w.pt", "--classes", "background,cell", *QUICK) == 0
    assert read == [slide.with_suffix(".geojson")]


@pytest.mark.parametrize("given", ["slide.tif", "."])
def test_an_image_with_its_drawing_is_trained_on(slide, tmp_path, given):
    pytest.importorskip("torch")
    weights = tmp_path / "w.pt"
    assert run("train", slide.parent / given, "-o", weights, "--classes", "background,cell", *QUICK) == 0
    assert weights.exists()


def test_rectangles_in_which_nothing_is_drawn_are_told_so(slide, tmp_path, capsys):
    pytest.importorskip("torch")
    drawing = draw(slide.with_suffix(".geojson"), feature("Annotated", box(0, 0, 40, 80)))
    assert run("train", slide, "-o", tmp_path / "w.pt", *QUICK) == 3
    assert f"{drawing}: no shape is a 'foreground'; draw some" in capsys.readouterr().err


def test_what_a_training_leaves_beside_a_slide_is_no_image(slide, small_models):
    pytest.importorskip("torch")
    assert run("train", slide, "-o", slide.with_name("w.pt"), *QUICK) == 0
    assert (slide.parent / "w.validation.png").exists()
    assert run("evaluate", small_models["one"], slide.parent, "--mask-kind", "instances", "--no-progress") == 0


def test_what_lies_outside_of_what_is_annotated_changes_no_weight(slide, tmp_path):
    torch = pytest.importorskip("torch")
    from trainer.weights import load_weights

    drawn = json.loads(slide.with_suffix(".geojson").read_text())
    for name, more in (("a", []), ("b", [feature("Cell", box(50, 10, 70, 30)), feature("Cell", box(60, 50, 79, 79))])):
        draw(slide.with_suffix(".geojson"), *drawn["features"], *more)
        assert run("train", slide, "-o", tmp_path / f"{name}.pt", *QUICK) == 0
    a, b = (load_weights(tmp_path / f"{name}.pt")[0].state_dict() for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_model_is_evaluated_on_what_was_drawn(slide, small_models, capsys):
    assert run("evaluate", small_models["one"], slide, "--mask-kind", "instances", "--json", "--no-progress") == 0
    assert json.loads(capsys.readouterr().out)["images"]


def test_a_mask_is_scored_against_what_was_drawn(slide, tmp_path, capsys):
    mask = np.zeros((80, 80), np.uint8)
    drawn = json.loads(slide.with_suffix(".geojson").read_text())["features"]
    for each in drawn[:-1]:
        (left, top), (right, bottom) = each["geometry"]["coordinates"][0][::2][:2]
        mask[top:bottom, left:right] = 1
    mask[:, 60:] = 1  # where nobody looked
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    assert run("score", tmp_path / "mask.tif", slide.with_suffix(".geojson"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["overall"]["Dice of foreground, all pixels"] == 1


def test_scoring_says_that_no_shape_is_of_the_class_of_what_is_annotated(slide, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "mask.tif", np.eye(80, dtype=np.uint8))
    drawing = slide.with_suffix(".geojson")
    assert run("score", tmp_path / "mask.tif", drawing, "--annotated-class", "Anotated") == 0
    assert "note: no shape is of --annotated-class 'Anotated'" in capsys.readouterr().err


def refused(capsys, *words):
    """The last line that a command says, which is the error: a training says first how long it will take."""
    assert run(*words) == 3
    shown, said = capsys.readouterr()
    assert shown == ""
    *_, line = said.splitlines()
    assert line.startswith("error: ")
    return line


CELL = feature("Cell", box(5, 5, 15, 15))
BAD = {
    "lies outside its image of 80 x 80 pixels": [CELL, feature("Cell", box(200, 5, 240, 15))],
    "is of another image, or its places are in other units": [feature("Cell", box(1e5, 2e5, 1e5 + 9, 2e5 + 9))],
    "crosses its own line": [CELL, feature("Cell", [[5, 20], [30, 40], [30, 20], [5, 40], [5, 20]])],
    "is open": [CELL, feature("Cell", box(5, 20, 15, 30)[:-1])],
    "nothing is drawn in it": [],
    "is a line, which has no area": [CELL, feature("Cell", [[5, 20], [15, 30]], "LineString")],
    "too small to hold a pixel": [feature("Cell", box(0.1, 0.1, 0.2, 0.2))],
}


COMMANDS = ("train", "train --dry-run", "evaluate", "score", "score a folder")


@pytest.fixture(params=COMMANDS)
def command(request, slide, tmp_path, small_models):
    """The words of a command that reads what is drawn on the slide; its name is the first of them."""
    if request.param.startswith("train"):
        pytest.importorskip("torch")
    model = tmp_path / "model.onnx"
    shutil.copy(small_models["one"], model)
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks" / "slide.mask.tif"
    tifffile.imwrite(mask, np.eye(80, dtype=np.uint8))
    train = ["train", slide.parent, "-o", tmp_path / "w.pt", "--classes", "background,cell", *QUICK]
    evaluate = [
        "evaluate",
        model,
        slide.parent,
        "--mask-kind=instances",
        "--plot",
        tmp_path / "worst.png",
        "--record",
        "--no-progress",
    ]
    score = [["score", mask, slide.with_suffix(".geojson")], ["score", mask.parent, slide.parent]]
    return dict(zip(COMMANDS, (train, [*train, "--dry-run"], evaluate, *score), strict=True))[request.param]


def refused_without_a_trace(tmp_path, capsys, command):
    """The line that a command is refused with, which writes and changes nothing."""
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    line = refused(capsys, *command)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    return line


@pytest.mark.parametrize("said", BAD)
def test_bad_shapes_are_one_line_and_nothing_is_written(slide, tmp_path, capsys, command, said):
    drawing = draw(slide.with_suffix(".geojson"), *BAD[said])
    line = refused_without_a_trace(tmp_path, capsys, command)
    assert said in line
    assert drawing.name in line


@pytest.mark.parametrize("command", COMMANDS[:3], indirect=True)
def test_a_class_that_is_not_named_is_one_line_and_nothing_is_written(slide, tmp_path, capsys, command):
    draw(slide.with_suffix(".geojson"), CELL, feature("Debris", box(5, 20, 15, 30)))
    line = refused_without_a_trace(tmp_path, capsys, [each for each in command if each != "--mask-kind=instances"])
    assert "slide.geojson: shape " in line
    assert "but the classes are " in line


def two_files(folder):
    draw(folder / "slide_annotations.json", CELL)


def one_image_more(folder):
    tifffile.imwrite(folder / "other.tif", np.zeros((80, 80), np.uint8))


def no_drawing(folder):
    (folder / "slide.geojson").unlink()
    tifffile.imwrite(folder / "other.tif", np.zeros((80, 80), np.uint8))
    draw(folder / "other.geojson", CELL)


@pytest.mark.parametrize(
    ("change", "said"),
    [(two_files, "keep one of them"), (one_image_more, "has no annotation beside"), (no_drawing, "slide.tif: has no")],
)
@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "score"], indirect=True)
def test_what_does_not_pair_up_is_one_line(slide, tmp_path, capsys, command, change, said):
    change(slide.parent)
    assert said in refused_without_a_trace(tmp_path, capsys, command)


@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_a_drawing_of_an_image_of_another_size_is_one_line(slide, tmp_path, capsys, command):
    slide.with_suffix(".geojson").unlink()
    shapes = [{"label": "cell", "shape_type": "rectangle", "points": [[2, 2], [12, 12]]}]
    drawing = {"shapes": shapes, "imageHeight": 40, "imageWidth": 60}
    slide.with_suffix(".json").write_text(json.dumps(drawing))
    line = refused_without_a_trace(tmp_path, capsys, [str(each).replace("geojson", "json") for each in command])
    assert "slide.json: was drawn on an image of 40 x 60 pixels, but its image is 80 x 80" in line


def test_outlines_of_ours_are_the_mask_that_they_were_drawn_of(speckle, small_models, tmp_path, capsys):
    image, mask, outlines = (tmp_path / name for name in ("a.tif", "a.mask.tif", "a.geojson"))
    tifffile.imwrite(image, speckle[:200, :240])
    options = ("--objects", outlines, "--instances", tmp_path / "a.instances.tif", "--no-progress")
    assert run("segment", image, "-m", small_models["one"], "-o", mask, *options) == 0
    capsys.readouterr()
    assert run("score", mask, outlines, "--json") == 0
    assert json.loads(capsys.readouterr().out)["overall"]["Dice of foreground, all pixels"] == 1
    assert run("evaluate", small_models["one"], image, "--json", "--no-progress") == 0
    assert json.loads(capsys.readouterr().out)["overall"]["Dice of class 1, all pixels"] == 1
