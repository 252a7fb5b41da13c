"""What a person says of how images are to be read holds in every command that reads them."""

import json
import re

import numpy as np
import pytest
import tifffile
from in_process import refusal, run

from unet_deploy.measure.sample import write_sample

RIM = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An image whose rim is NaN, which it does not say, in a channel of two; and its truth, which knows of the rim."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    write_sample(folder / "s.tif", 400, 300, truth=folder / "masks" / "a.tif")
    pixels = tifffile.imread(folder / "s.tif").astype(np.float32)
    pixels[:RIM] = np.nan
    stack = np.stack([pixels, np.zeros_like(pixels)])
    tifffile.imwrite(folder / "images" / "a.tif", stack, photometric="minisblack", metadata={"axes": "CYX"})
    return folder


SAID = ("--nodata", "nan", "--channel", "0")


@pytest.mark.parametrize("command", ["verify", "info", "evaluate", "train", "quantize", "build-engine", "segment"])
def test_every_command_that_reads_images_takes_them(capsys, command):
    assert run(command, "--help") == 0
    shown = re.findall(r"--[a-z]+", capsys.readouterr().out)
    assert {"--channel", "--palette", "--nodata", "--timeout"} <= set(shown)


def test_evaluate_leaves_out_what_is_said_to_be_no_data(capsys, place):
    assert "NaN" in refusal(capsys, "evaluate", "nuclei", str(place), "--channel", "0", code=3)
    assert run("evaluate", "nuclei", str(place), *SAID, "--json", "--no-progress") == 0
    found = json.loads(capsys.readouterr().out)
    assert "0.9" in str(found)


def test_the_sheet_of_an_evaluation_is_of_what_was_evaluated(capsys, place, tmp_path):
    pytest.importorskip("matplotlib")
    assert run("evaluate", "nuclei", str(place), *SAID, "--plot", str(tmp_path / "w.png"), "--no-progress") == 0
    assert (tmp_path / "w.png").exists()


def test_verify_reads_as_it_is_told(capsys, place):
    image = str(place / "images" / "a.tif")
    assert run("verify", "nuclei", image, "--tiled", *SAID) == 0


def test_info_says_what_would_be_read(capsys, tmp_path):
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
    numbers = np.arange(3000, dtype=np.uint8).reshape(50, 60)
    tifffile.imwrite(tmp_path / "p.tif", numbers, photometric="palette", colormap=colours, metadata=None)
    shown = []
    for palette in ("colour", "index"):
        assert run("info", str(tmp_path / "p.tif"), "--palette", palette) == 0
        shown.append(capsys.readouterr().out)
    assert [re.search(r"channels\s+(\d)", each)[1] for each in shown] == ["3", "1"]


def test_score_leaves_out_labels_that_stand_for_no_data(capsys, tmp_path):
    truth = np.zeros((60, 60), np.uint8)
    truth[5:20, 5:20], truth[30:] = 1, 255
    mask = np.where(truth == 255, 1, truth).astype(np.uint8)
    for name, labels in (("m", mask), ("t", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", labels)
    assert run("score", str(tmp_path / "m.tif"), str(tmp_path / "t.tif"), "--nodata", "255", "--json") == 0
    assert '"Dice of foreground, all pixels": 1.0' in capsys.readouterr().out


def test_outside_is_what_a_mask_can_hold(capsys):
    assert refusal(capsys, "segment", "a.tif", "--outside", "256").startswith("error: --outside 256: ")
