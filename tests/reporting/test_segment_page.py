"""The page of images that were segmented says what the mask, the table and the JSON say."""

import csv
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli.in_process import refusal, run
from command_line import unet_deploy
from reporting.pages import Page

from unet_deploy.reporting.crops import EACH
from unet_deploy.reporting.segmented import _OVERVIEW_BYTES, _PLACE_BYTES

QUIET = ("--scale", 1, "--no-progress")


@pytest.fixture
def slide(tmp_path, nuclei_image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    half_um = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite("slide.tif", nuclei_image[:400, :400], **half_um)
    return tmp_path / "slide.tif"


def test_numbers_are_those_of_mask_table_and_json(slide):
    words = ("segment", slide, "-o", "mask.tif", "--objects", "cells.csv", "--report", "r.html", "--report", "r.json")
    assert run(*words, *QUIET) == 0
    page = Page(slide.parent / "r.html")
    (said,) = json.loads((slide.parent / "r.json").read_text())["images"]
    for name in ("objects", "confidence", "megapixels", "seconds", "tiles"):
        assert page.number(name) == said[name], name
    assert page.number("scale") == said["scale"]["scale"]
    with open("cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert page.number("objects") == len(rows) > 10
    for column in ("area_px", "area_um2", "mean_intensity"):
        values = np.array([float(row[column]) for row in rows])
        assert page.number(f"{column}.median") == np.median(values)
        assert page.number(f"{column}.mean") == pytest.approx(values.mean(), rel=1e-12)
        assert [page.number(f"{column}.{name}") for name in ("least", "most")] == [values.min(), values.max()]
    pixels = np.bincount(tifffile.imread("mask.tif").ravel(), minlength=2)
    assert [page.number(f"pixels.{name}") for name in ("background", "nucleus")] == pixels.tolist()
    assert page.number("share.nucleus") == pixels[1] / pixels.sum()


def test_it_shows_the_places_that_its_rules_say_and_names_model_and_licence(slide):
    assert run("segment", slide, "-o", "mask.tif", "--report", "r.html", *QUIET) == 0
    page = Page(slide.parent / "r.html")
    said = [picture["alt"] for picture in page.pictures()]
    assert said[0] == "The image with its mask"
    for rule, count in (("most objects", EACH), ("least certain", EACH), ("largest object", 1), ("smallest object", 1)):
        assert sum(each == f"{rule}: with the mask" for each in said) in range(1, count + 1), rule
    for words in ("nuclei", "CC0-1.0", "slide.tif", "reading", "computing", "connected by 4 neighbours"):
        assert words in page.text, words
    assert page.number("area_um2.median") == page.number("area_px.median") / 4
    assert "script" not in page.source


def test_a_mask_is_the_same_with_a_page_and_without_and_so_are_objects_that_no_table_has(slide):
    assert run("segment", slide, "-o", "one.tif", "--objects", "cells.csv", *QUIET) == 0
    assert run("segment", slide, "-o", "two.tif", "--report", "r.html", *QUIET) == 0
    assert (slide.parent / "one.tif").read_bytes() == (slide.parent / "two.tif").read_bytes()
    with open("cells.csv", newline="") as file:
        grey = [float(row["mean_intensity"]) for row in csv.DictReader(file)]
    assert Page(slide.parent / "r.html").number("mean_intensity.least") == min(grey) > 0


def test_pictures_of_a_page_can_never_be_five_megabytes():
    most = _OVERVIEW_BYTES + 2 * (2 * EACH + 2) * _PLACE_BYTES
    assert most * 4 / 3 < 4.5e6


def test_regions_pages_and_pixels_without_data_are_counted_as_they_are(slide, nuclei_image):
    stack = np.stack([nuclei_image[:300, :300], nuclei_image[300:600, :300]]).astype(np.uint16)
    stack[:, :40] = 9999
    tifffile.imwrite("stack.tif", stack)
    words = ("segment", "stack.tif", "-o", "m.tif", "--report", "r.html", "--objects", "csv", "--nodata", 9999)
    assert run(*words, "--outside", 255, "--roi", "20,10,250,280", *QUIET) == 0
    page = Page(slide.parent / "r.html")
    mask = tifffile.imread("m.tif")[:, 20:270, 10:290]
    assert page.number("pixels.nucleus") == (mask == 1).sum() > 0
    assert page.number("pixels.background") == (mask == 0).sum()
    assert f"{(mask == 255).sum()} pixels hold no data" in page.text
    rows = (slide.parent / "m.objects.csv").read_text().splitlines()
    assert page.number("objects") == len(rows) - 1
    assert "250 x 280 pixels at (20, 10)" in page.text
    assert page.number("megapixels") == 2 * 250 * 280 / 1e6


def test_of_several_images_the_failed_then_the_doubtful_then_the_odd_come_first(slide, nuclei_image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for at in range(6):
        tifffile.imwrite(folder / f"usual{at}.tif", nuclei_image[at * 20 : at * 20 + 200, 100 : 300 + at])
    tifffile.imwrite(folder / "odd.tif", nuclei_image[:200, :200].repeat(2, 0).repeat(2, 1))
    tifffile.imwrite(folder / "dark.tif", np.full((200, 200), 9, np.uint8))
    (folder / "broken.tif").write_bytes(b"II*\0 and no more")
    words = ("segment", folder, "-o", "masks", "--report", "r.html", "--report", "r.json", *QUIET)
    assert run(*words) == 3
    page = Page(tmp_path / "r.html")
    images = [attributes["title"] for tag, attributes in page.elements if tag == "span" and "title" in attributes]
    assert [name.rsplit("/", 1)[-1] for name in images[:3]] == ["broken.tif", "dark.tif", "odd.tif"]
    assert len(images) == 9
    assert "nothing was found" in page.text
    assert "outlier: median area" in page.text
    said = {each["image"]: each for each in json.loads((tmp_path / "r.json").read_text())["images"]}
    done = [said[image] for image in images if "error" not in said[image]]
    assert page.numbers["objects"][1:] == [each["objects"] for each in done]
    assert page.number("images") == 8
    (folder / "broken.tif").unlink()
    tifffile.imwrite(folder / "late.tif", nuclei_image[300:500, 300:500])
    assert run(*words, "--resume") == 0
    again = Page(tmp_path / "r.html")
    assert again.number("images") == 9
    assert {*page.numbers["area_px"]} < {*again.numbers["area_px"]}
    assert len(again.pictures()) == 9


def test_a_page_of_which_nothing_is_done_again_stays(slide):
    words = ("segment", slide, "-o", "m.tif", "--report", "r.html", *QUIET)
    assert run(*words) == 0
    before = (slide.parent / "r.html").read_bytes()
    assert run(*words, "--resume") == 0
    assert (slide.parent / "r.html").read_bytes() == before
    assert run(*words, "--resume", "--threshold", "0.7") == 2  # no run of these settings made the mask
    assert (slide.parent / "r.html").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be had there")
def test_no_name_and_no_card_becomes_a_part_of_the_page(slide, undecided):
    onnx_file = pytest.importorskip("unet_deploy.model.onnx_file")
    card = onnx_file.read_model(undecided).card
    hostile = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    card = replace(
        card, name=hostile, license=f'"{hostile}', classes=("<svg onload=alert(3)>", hostile), command=hostile
    )
    onnx_file.write_card(undecided, slide.parent / "hostile.onnx", card)
    name = "<script>alert(1)<&\"' onerror=x \u202egpj.tif"
    os.rename(slide, name)
    words = ("segment", name, "-m", "hostile.onnx", "-o", "m.tif", "--report", "r.html", "--no-progress")
    assert run(*words) == 0
    page = Page(slide.parent / "r.html")
    assert "<script" not in page.source
    assert hostile in page.text
    assert "<script>alert(1)<&\"' onerror=x \\u202egpj.tif" in page.text
    folder = slide.parent / "several"
    folder.mkdir()
    for at in "ab":
        tifffile.imwrite(folder / f"{at}{name}", np.zeros((64, 64), np.uint8))
    assert run("segment", folder, "-m", "hostile.onnx", "-o", "masks", "--report", "s.html", "--no-progress") == 0
    several = Page(slide.parent / "s.html")
    assert "<script" not in several.source
    assert several.number("images") == 2


def test_what_is_not_its_own_is_not_replaced(slide, capsys):
    words = ("segment", slide, "-o", "m.tif", "--report")
    other = slide.parent / "other.html"
    other.write_text("<p>mine</p>")
    os.link(slide, "image.html")
    assert "exists; pass --overwrite" in refusal(capsys, *words, other)
    assert "no run of ours wrote it" in refusal(capsys, *words, other, "--resume")
    assert "is what is to be read" in refusal(capsys, *words, "image.html", "--overwrite")
    assert "would be written there too" in refusal(capsys, *words, "r.html", "--report", "r.html")
    if Path("/proc/version").is_file():
        assert "cannot be written" in refusal(capsys, *words, "/proc/r.html", code=1)
    assert "give one .html and one .json at most" in refusal(capsys, *words, "r.html", "--report", "s.html")
    assert other.read_text() == "<p>mine</p>"
    assert not (slide.parent / "m.tif").exists()


def test_a_single_image_that_fails_has_a_page_that_says_so(slide):
    slide.write_bytes(b"II*\0 and no more")
    assert run("segment", slide, "-o", "m.tif", "--report", "r.html", *QUIET) == 3
    page = Page(slide.parent / "r.html")
    assert "No mask was made" in page.text
    assert "slide.tif" in page.text


def test_a_page_that_is_replaced_says_that_the_image_failed(slide):
    words = ("segment", slide, "-o", "m.tif", "--report", "r.html", "--overwrite", *QUIET)
    assert run(*words) == 0
    slide.write_bytes(b"II*\0 and no more")
    assert run(*words) == 3
    assert "No mask was made" in Page(slide.parent / "r.html").text


@pytest.mark.long
def test_a_page_of_a_large_slide_is_made_within_its_memory(tmp_path, nuclei_image):
    """Most of it is glass, so that it takes seconds; the page says what the process held."""

    glass = np.full((1024, 1024), 3, np.uint8)

    def tiles():
        for at in range(20 * 20):
            yield np.pad(nuclei_image, 128, constant_values=3) if at in (3, 211) else glass

    tifffile.imwrite(tmp_path / "slide.tif", tiles(), shape=(20_480, 20_480), dtype=np.uint8, tile=(1024, 1024))
    words = ("segment", "slide.tif", "-o", "m.tif", "--report", "r.html", "--skip-background", "--max-memory", "1.2GB")
    unet_deploy(*words, *QUIET, cwd=tmp_path)
    page = Page(tmp_path / "r.html")
    assert page.number("peak_bytes") < 1.2e9
    assert page.number("objects") > 50
    assert page.number("pixels.background") + page.number("pixels.nucleus") == 20_480**2
