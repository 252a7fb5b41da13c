"""The pages of evaluate and verify say what their JSON and their tables say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from cells import folder  # noqa: F401
from cli.in_process import refusal, run
from reporting.pages import Page

from unet_deploy.evaluation.worst import MOST
from unet_deploy.model.card import ModelCard
from unet_deploy.model.decision import Decision
from unet_deploy.model.onnx_file import read_model, write_card
from unet_deploy.reporting.verified import reference_page
from unet_deploy.runtimes.agreement import Agreement


def test_scores_of_a_page_are_those_of_the_json(folder, tmp_path, undecided, capsys):  # noqa: F811
    words = ("evaluate", undecided, folder, "--metrics", "overlap,objects,thresholds", "--no-progress")
    assert run(*words, "--json", "--report", tmp_path / "e.html") == 0
    said = json.loads(capsys.readouterr().out)
    page = Page(tmp_path / "e.html")
    assert {name: page.number(name) for name in said["overall"]} == said["overall"]
    assert page.number("f1.0.50") == said["overall"]["object F1 at IoU 0.5"]
    means = [page.number(f"f1.{threshold:.2f}") for threshold in np.arange(50, 95, 5) / 100]
    assert sum(means) / 9 == said["overall"]["object F1, mean over IoU 0.5 to 0.9"]
    for field in ("f1", "merged"):
        assert sorted(page.numbers[field]) == sorted(each[field] for each in said["images"].values())
    scores = [page.numbers["f1"][at] + page.numbers["dice.nucleus"][at] for at in range(6)]
    assert scores == sorted(scores)
    assert len(page.pictures()) == min(MOST, 6)
    assert all(picture["alt"].endswith("errors in colour") for picture in page.pictures())
    assert "missed" in page.text
    assert "invented" in page.text
    assert page.number("seconds") > 0
    assert page.number("peak_bytes") > 1e7
    for told in ("runtime", "threshold", "scale"):
        assert told in page.texts


def test_a_page_is_no_image_and_replaces_no_file(folder, tmp_path, capsys, undecided):  # noqa: F811
    words = ("evaluate", undecided, folder, "--report")
    assert "lies in the input" in refusal(capsys, *words, folder / "images" / "e.html")
    (tmp_path / "mine.html").write_text("mine")
    assert "exists; pass --overwrite" in refusal(capsys, *words, tmp_path / "mine.html")
    assert "give a name that ends in .html" in refusal(capsys, *words, tmp_path / "e.pdf")
    image = folder / "images" / "cell0.tif"
    verify = ("verify", undecided, image, "--tiled", "--report")
    assert "exists; pass --overwrite" in refusal(capsys, *verify, tmp_path / "mine.html")
    (tmp_path / "linked.html").hardlink_to(image)
    assert "is what is to be read" in refusal(capsys, *verify, tmp_path / "linked.html", "--overwrite")


def test_a_comparison_says_what_was_compared_and_what_came_of_it(tmp_path, small_models, speckle, capsys):
    tifffile.imwrite(tmp_path / "image.tif", speckle[:300, :300])
    words = ("verify", small_models["one"], tmp_path / "image.tif", "--tiled", "--report", tmp_path / "v.html")
    assert run(*words) == 0
    table = capsys.readouterr().out
    page = Page(tmp_path / "v.html")
    assert page.number("pixels") == 300 * 300
    assert page.number("labels_differ_ppm") == 0
    assert "They agree." in page.text
    assert [picture["alt"] for picture in page.pictures()] == ["What was compared"]
    for line in table.splitlines():
        assert line.split("  ")[-1].strip() in page.text, line


def test_a_comparison_that_fails_says_so():
    agreement = Agreement(1000, 10, 0, 0.3, 0, image="image.tif", limit_ppm=1000)
    card = ModelCard("m", 1, ("background", "cell"), margin=0, stride=1, base=1)
    read = Page(reference_page("m.onnx", Path("r.onnx"), Path("image.tif"), agreement, card))
    assert "They do not agree." in read.text
    assert read.number("labels_differ_ppm") == agreement.to_plain()["labels_differ_ppm"] == 10_000
    assert read.number("worst_probability") == 0.3


def test_a_comparison_that_fails_is_written_all_the_same(tmp_path, small_models, speckle, capsys):
    tifffile.imwrite(tmp_path / "image.tif", speckle[:300, :300])
    other, page = tmp_path / "other.onnx", tmp_path / "v.html"
    card = read_model(small_models["one"]).card
    write_card(small_models["one"], other, replace(card, decision=Decision(threshold=0.4)))
    words = ("verify", other, tmp_path / "image.tif", "--reference", small_models["one"], "--report", page)
    assert run(*words) == 5
    read = Page(page)
    assert "They do not agree." in read.text
    assert f"{read.number('labels_differ_ppm'):.3g} labels in a million" in capsys.readouterr().out
