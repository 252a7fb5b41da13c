"""Whatever reads annotated images takes them as other programs left them."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from cells import cells
from cli.in_process import refusal, run


def save_cellpose(root, at, picture, objects):
    tifffile.imwrite(root / f"{at}.tif", picture)
    tifffile.imwrite(root / f"{at}_cp_masks.tif", objects)


def save_nnunet(root, at, picture, objects):
    for kind in ("imagesTr", "labelsTr"):
        (root / kind).mkdir(exist_ok=True)
    tifffile.imwrite(root / "imagesTr" / f"{at}_0000.tif", picture)
    tifffile.imwrite(root / "labelsTr" / f"{at}.tif", (objects > 0).astype(np.uint8))
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "cell": 1}, "file_ending": ".tif"}))


def save_zarr(root, at, picture, objects):
    pytest.importorskip("zarr")
    from sample_zarr import write_image

    write_image(root / f"{at}.zarr", picture, "yx")
    write_image(root / f"{at}.zarr" / "labels" / "cells", objects, "yx")


def save_drawing(root, at, picture, objects):
    """An image with a box around each cell, drawn in QuPath."""
    tifffile.imwrite(root / f"{at}.tif", picture)
    features = []
    for number in np.unique(objects)[1:]:
        places = np.nonzero(objects == number)
        (top, bottom), (left, right) = ((int(each.min()), int(each.max()) + 1) for each in places)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        features.append({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}})
    (root / f"{at}.geojson").write_text(json.dumps(features))


SAVE = {"Cellpose": save_cellpose, "nnU-Net": save_nnunet, "OME-Zarr": save_zarr, "drawings": save_drawing}


@pytest.fixture(params=SAVE)
def place(request, tmp_path, small_models, monkeypatch):
    """A folder with a model and DATA, two annotated images."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_models["one"], "model.onnx")
    (tmp_path / "DATA").mkdir()
    rng = np.random.default_rng(4)
    for at in range(2):
        SAVE[request.param](tmp_path / "DATA", at, *cells(rng))
    return tmp_path


def test_evaluate_takes_it(place, capsys):
    assert run("evaluate", "model.onnx", "DATA", "--json", "--plot", "worst.png", "--no-progress") == 0
    assert list(json.loads(capsys.readouterr().out)["images"]) == ["0", "1"]


def test_train_takes_it(place, capsys):
    pytest.importorskip("torch")
    small = ("--width", 2, "--depth", 1, "--tile-size", 60, "--steps", 1, "--no-progress")
    assert run("train", "DATA", "-o", "weights.pt", *small) == 0
    assert (place / "weights.pt").exists()


def test_calibrate_takes_it(place, capsys):
    assert run("calibrate", "model.onnx", "DATA", "-o", "decided.onnx", "--no-progress") == 0
    assert (place / "decided.onnx").exists()


def test_calibrate_and_score_take_a_stack(tmp_path, small_models, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = [cells(np.random.default_rng(at)) for at in range(2)]
    for name, planes in zip(("stack.tif", "labels.tif"), zip(*pages, strict=True), strict=True):
        tifffile.imwrite(name, np.stack(planes), photometric="minisblack")
    stack = ("stack.tif", "--masks", "labels.tif")
    assert run("calibrate", small_models["one"], *stack, "-o", "decided.onnx", "--no-progress") == 0
    capsys.readouterr()
    several = ("calibrate", small_models["one"], "a", *stack, "-o", "b.onnx")
    assert "belongs to one image stack" in refusal(capsys, *several)
    shutil.copy("labels.tif", "found.tif")
    assert run("score", "found.tif", *stack, "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"].keys() == {"stack[0]", "stack[1]"}


@pytest.mark.parametrize("words", ["evaluate model.onnx DATA --plot", "calibrate model.onnx DATA --plot"])
def test_no_file_of_it_is_written_over(place, words, capsys):
    read = next(path for path in sorted((place / "DATA").rglob("*")) if path.is_file() and path.suffix != ".json")
    output = place / "worst.png"
    output.hardlink_to(read)
    if read.suffix == ".tif":
        assert "is what is to be read" in refusal(capsys, *words.split(), output, "--overwrite")
    inside = next(
        each for each in (place / "DATA" / "labelsTr", place / "DATA" / "0.zarr", place / "DATA") if each.is_dir()
    )
    assert "lies in the input" in refusal(capsys, *words.split(), inside / "new.png")
