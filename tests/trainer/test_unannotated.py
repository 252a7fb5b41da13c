"""What nobody annotated is neither learned from nor validated on: where that leaves nothing, it is said."""

import numpy as np
import pytest
import tifffile
from cells import cells
from cli.in_process import refusal, run

pytest.importorskip("torch")

SMALL = ("--width", 2, "--depth", 1, "--tile-size", 60, "--steps", 1, "--no-progress", "--ignore", 9000)


def save(root, *masks):
    """Pictures of cells, of which each mask (H, W) bool says what is annotated."""
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    rng = np.random.default_rng(3)
    for at, known in enumerate(masks):
        picture, objects = cells(rng, len(known))
        tifffile.imwrite(root / "images" / f"{at}.tif", picture)
        tifffile.imwrite(root / "masks" / f"{at}.tif", np.where(known, objects, 9000).astype(np.uint16))


@pytest.mark.parametrize("words", ["train DATA -o w.pt", "train DATA --dry-run", "evaluate nuclei DATA"])
def test_a_mask_in_which_nothing_is_annotated_is_refused(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").mkdir()
    save(tmp_path / "DATA", np.ones((90, 90), bool), np.zeros((90, 90), bool), np.ones((90, 90), bool))
    options = SMALL if words.startswith("train") else SMALL[-2:]
    assert run(*words.split(), *options) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("masks/1.tif: nothing of it is annotated; annotate a part, or take it and its image away")
    assert not list(tmp_path.glob("w.*"))


@pytest.fixture
def half(tmp_path, monkeypatch):
    """DATA, one image whose upper half is annotated."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").mkdir()
    known = np.zeros((200, 200), bool)
    known[:100] = True
    save(tmp_path / "DATA", known)
    return tmp_path


@pytest.mark.parametrize("words", [("train", "DATA", "--dry-run"), ("evaluate", "nuclei", "DATA")])
def test_blocks_without_annotation_cannot_be_all_that_is_held_back(half, words, capsys):
    options = SMALL if words[0] == "train" else SMALL[-2:]
    said = refusal(capsys, *words, *options, "--validation", "last:0.1", code=3)
    assert "nothing of what --validation last:0.1 holds back is annotated; hold back others" in said


def test_of_blocks_held_back_those_that_are_annotated_count(half, capsys):
    assert run("train", "DATA", "-o", "w.pt", *SMALL, "--validation", "every:4") == 0
    assert run("evaluate", "nuclei", "DATA", *SMALL[-2:], "--validation", "every:4") == 0
    shown = capsys.readouterr().out
    assert "0[0:20, 0:200]" in shown
    assert "0[160:180, 0:200]" not in shown


def test_a_truth_in_which_nothing_is_annotated_scores_nothing(half, capsys):
    truth = np.full((2, 40, 50), 9000, np.uint16)
    tifffile.imwrite("mask.tif", np.ones((2, 40, 50), np.uint8), photometric="minisblack")
    tifffile.imwrite("truth.tif", truth, photometric="minisblack")
    assert "truth.tif: nothing of it is annotated" in refusal(
        capsys, "score", "mask.tif", "truth.tif", *SMALL[-2:], code=3
    )
    truth[1, :20] = 1
    tifffile.imwrite("truth.tif", truth, photometric="minisblack")
    assert run("score", "mask.tif", "truth.tif", *SMALL[-2:]) == 0
    assert "mask.tif[0]" not in capsys.readouterr().out
