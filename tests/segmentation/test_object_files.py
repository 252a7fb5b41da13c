"""Tables and numbers of objects, from image to files: those of the finished mask as a whole."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug
from command_line import error, unet_deploy
from scipy import ndimage

import unet_deploy as api
from unet_deploy.cli import show
from unet_deploy.errors import UsageError
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.model.onnx_file import write_card
from unet_deploy.objects.parts import objects_of
from unet_deploy.objects.rules import Rules
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.tiling import Region
from unet_deploy.zoo import card_of


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.tile(speckle, (2, 3))[:900, :1100], resolution=(20_000, 20_000), resolutionunit=3)
    return path


def numbered(mask, connectivity=4):
    """Objects of the whole mask, numbered by their first pixels whatever their class."""
    shape = np.ones((3, 3)) if connectivity == 8 else None
    ids = np.zeros(mask.shape, np.int64)
    for label in range(1, int(mask.max()) + 1):
        parts, _ = ndimage.label(mask == label, shape)
        ids[parts > 0] = parts[parts > 0] + ids.max()
    first = np.unique(ids[ids > 0], return_index=True)[1]
    order = np.zeros(ids.max() + 1, np.int64)
    order[1 + np.argsort(first)] = np.arange(1, len(first) + 1)
    return order[ids]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_table_and_numbers_are_those_of_the_whole_mask(slide, small_models, tmp_path, name):
    files = ("--objects", tmp_path / "cells.csv", "--instances", tmp_path / "ids.tif")
    words = ("segment", slide, "-o", tmp_path / "mask.tif", "-m", small_models[name], "--tile-size", 300)
    _, said = unet_deploy(*words, *files)
    expected = numbered(tifffile.imread(tmp_path / "mask.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "ids.tif"), expected)
    rows = read(tmp_path / "cells.csv")
    assert f"objects: {len(rows)}" in said
    assert [int(row["area_px"]) for row in rows] == np.bincount(expected.ravel())[1:].tolist()
    assert float(rows[3]["area_um2"]) == pytest.approx(0.25 * int(rows[3]["area_px"]))
    image = tifffile.imread(slide)
    means = ndimage.mean(image, expected, range(1, len(rows) + 1))
    np.testing.assert_allclose([float(row["mean_intensity"]) for row in rows], means)


@pytest.mark.parametrize("split", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_resumed_run_and_a_region_count_the_same(slide, small_models, tmp_path, monkeypatch, split):
    region = Region(210, 330, 500, 603)
    options = Options(120, roi=region, objects=ObjectRules(8, 5, fill_holes=True, split=split), resume=True)

    def outputs(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Outputs(folder / "mask.tif", objects=folder / "cells.geojson", instances=folder / "ids.tif")

    with api.open_model(small_models["three"]) as model:
        report = segment_file(slide, outputs("once"), model, options)
        pull_the_plug(monkeypatch, model, 50)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(slide, outputs("again"), model, options)
        again = segment_file(slide, outputs("again"), model, options)
    assert again.timing.resumed > 0
    assert again.objects == report.objects > 20
    for path in outputs("once"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    features = json.loads((tmp_path / "once" / "cells.geojson").read_text())["features"]
    assert len(features) == report.objects
    ids = tifffile.imread(tmp_path / "once" / "ids.tif")
    outside = np.ones(ids.shape, bool)
    outside[region.slices] = False
    assert not ids[outside].any()
    by_name = {feature["properties"]["name"]: feature for feature in features}
    for at in (1, report.objects):
        ring = np.concatenate([np.array(ring) for polygon in polygons(by_name[str(at)]) for ring in polygon])
        y, x = np.nonzero(ids == at)
        assert (ring.min(axis=0) >= (x.min(), y.min())).all()
        assert (ring.max(axis=0) == (x.max() + 1, y.max() + 1)).all()


@pytest.mark.parametrize("split", [pytest.param(None, marks=pytest.mark.long), 0.05])
def test_ids_go_on_over_the_pages_of_a_stack(small_models, speckle, tmp_path, monkeypatch, split):
    stack = tmp_path / "stack.tif"
    pages = np.stack([np.roll(speckle[:400, :500], 40 * page, 1) for page in range(3)])
    tifffile.imwrite(stack, pages, imagej=True, metadata={"axes": "ZYX"})
    options = Options(200, objects=ObjectRules(8, 5, split=split), resume=True)

    def outputs(name, table="cells.csv"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Outputs(folder / "mask.tif", objects=folder / table, instances=folder / "ids.tif")

    with api.open_model(small_models["three"]) as model:
        report = segment_file(stack, outputs("once"), model, options)
        segment_file(stack, outputs("outlines", "cells.geojson"), model, options)
        pull_the_plug(monkeypatch, model, 24)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(stack, outputs("again"), model, options)
        assert segment_file(stack, outputs("again"), model, options).timing.resumed > 0
    for path in outputs("once"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    rows, ids = read(tmp_path / "once" / "cells.csv"), tifffile.imread(tmp_path / "once" / "ids.tif")
    assert [int(row["id"]) for row in rows] == list(range(1, report.objects + 1))
    assert [int(row["area_px"]) for row in rows] == np.bincount(ids.ravel())[1:].tolist()
    assert all((ids == int(row["id"])).any(axis=(1, 2)).nonzero()[0] == [int(row["page"])] for row in rows[::9])
    features = json.loads((tmp_path / "outlines" / "cells.geojson").read_text())["features"]
    planes = {feature["properties"]["name"]: feature["geometry"]["plane"]["z"] for feature in features}
    assert planes == {row["id"]: int(row["page"]) for row in rows}


def test_the_card_decides_what_is_an_object_unless_somebody_else_does(slide, small_models, tmp_path):
    pytest.importorskip("onnx")
    tifffile.imwrite(slide, tifffile.imread(slide)[:450, :600])  # some hundreds of objects, in six tiles
    decision = Decision(split=0.05, min_size=0.03, fill_holes=True)
    model = tmp_path / "decided.onnx"
    write_card(small_models["three"], model, replace(card_of(small_models["three"]), decision=decision))

    def found(name, *options, by=model):
        words = ("segment", slide, "-o", tmp_path / f"{name}.tif", "-m", by, "--tile-size", 300)
        files = ("--instances", tmp_path / f"{name}.ids.tif", "--objects", tmp_path / f"{name}.csv")
        unet_deploy(*words, *files, *options)
        ids = tifffile.imread(tmp_path / f"{name}.ids.tif")
        assert [int(row["area_px"]) for row in read(tmp_path / f"{name}.csv")] == np.bincount(ids.ravel())[1:].tolist()
        return ids

    plain = found("plain", by=small_models["three"])
    decided = found("decided")
    mask = tifffile.imread(tmp_path / "plain.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "decided.tif"), mask)
    np.testing.assert_array_equal(plain, objects_of(mask, Rules()))
    np.testing.assert_array_equal(decided, objects_of(mask, Rules(4, 0, True, 0.05, 0.03)))
    mine = found("mine", "--no-fill-holes", "--split-depth", 0.1, "--min-size", 30)
    np.testing.assert_array_equal(mine, objects_of(mask, Rules(4, 30, False, 0.1)))
    np.testing.assert_array_equal(found("none", "--no-fill-holes", "--no-split", "--min-size", 0), plain)
    asked = found("asked", "--split", by=small_models["three"])
    np.testing.assert_array_equal(asked, objects_of(mask, Rules(split=0.04)))
    assert len({ids.max() for ids in (plain, decided, mine, asked)}) == 4


@pytest.mark.parametrize("split", [False, pytest.param(0.05, marks=pytest.mark.long)])
def test_objects_that_the_model_is_nowhere_sure_of_are_left_out(slide, small_models, tmp_path, monkeypatch, split):
    rules = ObjectRules(peak=0.72, split=split)
    options = Options(120, roi=Region(210, 330, 500, 603), objects=rules, resume=True)

    def outputs(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        scores = folder / "scores.tif" if name == "once" else None
        return Outputs(folder / "mask.tif", scores, objects=folder / "o.csv", instances=folder / "ids.tif")

    with api.open_model(small_models["three"], probabilities=True) as model:
        every = segment_file(slide, outputs("every"), model, replace(options, objects=replace(rules, peak=0)))
        once = segment_file(slide, outputs("once"), model, options)
        pull_the_plug(monkeypatch, model, 50)
        with pytest.raises(RuntimeError, match="plug"):
            segment_file(slide, outputs("again"), model, options)
        with pytest.raises(UsageError, match="another peak of objects"):
            segment_file(slide, outputs("again"), model, replace(options, objects=replace(rules, peak=0.8)))
        again = segment_file(slide, outputs("again"), model, options)
    assert again.timing.resumed > 0
    assert 20 < once.objects == again.objects < every.objects
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["ids.tif", "mask.tif", "o.csv"]
    ids = tifffile.imread(tmp_path / "once" / "ids.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "again" / "ids.tif"), ids)
    mask, scores = (tifffile.imread(tmp_path / "once" / f"{name}.tif") for name in ("mask", "scores"))
    np.testing.assert_array_equal(ids, objects_of(mask, rules.decided_by(UNDECIDED), scores))


def test_a_model_that_was_opened_for_labels_is_opened_anew_where_its_card_has_a_peak(slide, small_models, tmp_path):
    pytest.importorskip("onnx")
    decided, by_card = replace(card_of(small_models["three"]), decision=Decision(peak=0.72)), tmp_path / "decided.onnx"
    write_card(small_models["three"], by_card, decided)
    options = Options(roi=Region(0, 0, 200, 200))
    outputs = [Outputs(tmp_path / f"{at}.tif", instances=tmp_path / f"{at}.ids.tif") for at in range(2)]
    with api.open_model(by_card) as model:
        assert not model.probabilities
        segment_file(slide, outputs[0], model, options)
    segment_file(slide, outputs[1], by_card, options)
    np.testing.assert_array_equal(*(tifffile.imread(each.instances) for each in outputs))
    asked = replace(options, overwrite=True, objects=ObjectRules(peak=0.72))
    with api.open_model(small_models["three"]) as model:
        segment_file(slide, outputs[1], model, replace(asked, objects=ObjectRules()))
        with pytest.raises(UsageError, match=r"open_model\(..., probabilities=True\)"):
            segment_file(slide, outputs[1], model, asked)


def test_what_was_too_large_to_be_parted_is_said(slide, small_models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_deploy.objects.parts.LARGEST", 3000)
    outputs = Outputs(tmp_path / "mask.tif", objects=tmp_path / "cells.csv")
    options = Options(roi=Region(0, 0, 300, 300), objects=ObjectRules(split=True))
    show.report(segment_file(slide, outputs, small_models["three"], options))
    assert "too much to be parted, and stayed whole" in capsys.readouterr().err
    words = ("segment", slide, "-o", tmp_path / "other.tif", "--objects", "csv", "--no-split", "--split-depth", 0.1)
    assert "give one of them" in error(*words, code=2)
    words = ("segment", slide, "-o", tmp_path / "other.tif", "-m", small_models["three"], "--objects", "csv")
    assert "--min-part 0.3: nothing is parted here; add --split" in error(*words, "--min-part", 0.3, code=2)


def polygons(feature):
    geometry = feature["geometry"]
    return geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]


def test_names_of_tables_are_checked_before_anything_is_computed(slide, small_models, tmp_path):
    words = ("segment", slide, "-o", tmp_path / "mask.tif")
    assert "ends in .csv" in error(*words, "--objects", tmp_path / "cells.xls", code=2)
    (tmp_path / "cells.csv").write_text("mine")
    assert "cells.csv exists" in error(*words, "--objects", tmp_path / "cells.csv", code=2)
    assert "there are 4, 8" in error(*words, "--objects", "csv", "--connectivity", 6, code=2)
    other = tmp_path / "other.tif"
    other.write_bytes(slide.read_bytes())
    several = ("segment", slide, other, "-o", tmp_path / "masks")
    assert "one file for 2 images; give just csv" in error(*several, "--objects", tmp_path / "x.csv", code=2)
    unet_deploy(*several, "--objects", "csv", "-m", small_models["three"])
    assert (tmp_path / "masks" / "other.mask.objects.csv").exists()
