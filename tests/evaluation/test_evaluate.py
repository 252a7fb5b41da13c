"""Evaluation runs the deployed model, and counts what a person would count."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy

from unet_deploy import open_model, segment
from unet_deploy.errors import DataError, UsageError
from unet_deploy.evaluation.against_truth import score_files
from unet_deploy.evaluation.evaluate import evaluate, score_labels
from unet_deploy.evaluation.measures import GROUPS, Scoring
from unet_deploy.evaluation.objects import Jaccard
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.record import check_recordable, record
from unet_deploy.evaluation.scores import Evaluation
from unet_deploy.evaluation.seen import digest_of, was_trained_on
from unet_deploy.evaluation.sheet import INVENTED, MISSED, MISTAKEN, compared, draw_worst
from unet_deploy.evaluation.split import Part, Split, split_pairs
from unet_deploy.evaluation.truths import Truth
from unet_deploy.model.card import ModelCard
from unet_deploy.objects.rules import Rules
from unet_deploy.system.colours import COLOURS
from unet_deploy.tiling import Region
from unet_deploy.zoo import card_of, find_model


def test_scores_by_hand():
    truth = np.zeros((10, 10), np.uint8)
    truth[1:4, 1:4] = truth[6:9, 6:9] = 1
    objects = truth.astype(np.int32)
    objects[6:9, 6:9] = 2
    found = truth.copy()
    found[6:9, 6:9] = 0
    found[6, 1] = 1
    score = score_labels("by hand", found, Truth(truth, objects), 2)
    assert score.overlaps[0].dice == pytest.approx(2 * 9 / (10 + 18))
    assert score.overlaps[0].iou == pytest.approx(9 / 19)
    assert score.jaccard == Jaccard(1, 2)
    assert (score.matches[0].true, score.matches[0].false, score.matches[0].missed) == (1, 1, 1)
    perfect = score_labels("perfect", truth, Truth(truth, objects), 2)
    both = Evaluation(("background", "cell"), (score, perfect))
    assert both.by_class[0].mean_dice == pytest.approx((1 + 18 / 28) / 2)
    assert both.by_class[0].dice == pytest.approx(2 * 27 / (28 + 36))
    assert both.seg == pytest.approx(3 / 4)
    assert both.f1[0] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))


def test_small_objects_are_left_out_before_objects_are_matched():
    truth = np.zeros((10, 10), np.uint8)
    truth[1:4, 1:4] = truth[6:9, 6:9] = 1
    objects = truth.astype(np.int32)
    objects[6:9, 6:9] = 2
    found = truth.copy()
    found[0, 6] = found[9, 0] = found[9, 1] = 1  # one pixel, and two
    foreground = np.where(found, 0.8, 0.1)
    both = np.stack([1 - foreground, foreground])

    def scored(least):
        scoring = Scoring(frozenset(["thresholds"]), Rules(min_size=least))
        return score_labels("by hand", found, Truth(truth, objects), 2, both, scoring)

    invented = [scored(least).matches[0].false for least in (0, 1, 2, 3, 9, 10)]
    assert invented == [2, 2, 1, 0, 0, 0]
    assert [scored(least).matches[0].true for least in (0, 9, 10)] == [2, 2, 0]
    assert scored(10).jaccard == Jaccard(0, 2)
    assert [scored(least).cuts[5].object_f1 for least in (0, 3, 10)] == [2 * 2 / (4 + 2), 1, 0]
    for least in (0, 3, 10):
        assert scored(least).overlaps[0].dice == scored(0).overlaps[0].dice < 1
        assert scored(least).cuts[5].dice == scored(0).cuts[5].dice


def test_the_shipped_model_finds_real_nuclei(data, nuclei):
    pairs = [pair for pair in find_pairs(data / "dsb2018")][::110]
    with open_model(nuclei) as model:
        result = evaluate(model, pairs)
    assert len(result.scores) == 6
    assert result.by_class[0].dice > 0.85


def test_files_are_scored_page_by_page(tmp_path):
    mask, truth = np.zeros((2, 30, 30), np.uint8), np.zeros((2, 30, 30), np.uint16)
    mask[:, 5:10, 5:10] = 1
    truth[:, 5:10, 5:10] = 700
    truth[1, 5:10, 15:20] = 701
    for name, pages in (("mask", mask), ("truth", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pages, photometric="minisblack")
    result = score_files(tmp_path / "mask.tif", tmp_path / "truth.tif")
    assert [score.matches[0].missed for score in result.scores] == [0, 1]
    tifffile.imwrite(tmp_path / "one.tif", mask[0])
    with pytest.raises(DataError, match=r"mask\.tif: is 2 x 1 x 30 x 30 .*one\.tif is 1 x 1 x 30 x 30"):
        score_files(tmp_path / "mask.tif", tmp_path / "one.tif")


@pytest.fixture
def annotated(tmp_path):
    """Two images of bright squares with their masks; the third image has a square that no mask names."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for at in range(3):
        mask = np.zeros((120, 140), np.uint8)
        mask[20:50, 20:60] = 1
        if at:
            mask[70:100, 30 + 20 * at : 60 + 20 * at] = 1
        rng = np.random.default_rng(at)
        image = (40 + 150 * mask + rng.normal(0, 6, mask.shape)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{at}.tif", image)
        tifffile.imwrite(tmp_path / "masks" / f"{at}.tif", mask * 255 if at < 2 else np.minimum(mask, 1) * 255)
    return tmp_path


def test_small_objects_on_the_command_line(annotated, tmp_path):
    mask, truth = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    mask[5:15, 5:15] = truth[5:15, 5:15] = 1
    mask[30, 30:34] = 1
    for name, pixels in (("mask", mask), ("truth", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    for least, f1 in ((4, 2 / 3), (5, 1)):
        shown, _ = unet_deploy("score", "mask.tif", "truth.tif", "--json", "--min-size", least, cwd=tmp_path)
        assert json.loads(shown)["overall"]["object F1 at IoU 0.5"] == pytest.approx(f1)
    shown, _ = unet_deploy("evaluate", "nuclei", annotated, "--json", "--min-size", 10**6)
    assert all(
        image["objects"]["true"] + image["objects"]["false"] == 0 for image in json.loads(shown)["images"].values()
    )
    assert json.loads(shown)["overall"]["Dice of nucleus, all pixels"] > 0.5


def test_recorded_figures_are_in_the_card_and_change_no_answer(annotated, undecided, tmp_path):
    pytest.importorskip("onnx")
    from unet_deploy.model.onnx_file import read_model
    from unet_deploy.zoo import card_of

    model = tmp_path / "mine.onnx"
    model.write_bytes(undecided.read_bytes())
    for least, where in ((5, "validation last:2, objects of 5 pixels and more"), (0, "validation last:2")):
        shown, _ = unet_deploy(
            "evaluate", model, annotated, "--validation", "last:2", "--min-size", least, "--record", "--json"
        )
        card = card_of(model)
        assert card.evaluation == json.loads(shown)["overall"]
        assert card.evaluated_on == f"2 images of {annotated.name}, {where}"
    assert read_model(model).weights_sha256 == read_model(undecided).weights_sha256
    rows = dict(line.split("  ", 1) for line in unet_deploy("info", model)[0].splitlines())
    assert rows["evaluated on"].strip() == f"2 images of {annotated.name}, validation last:2"
    assert "Dice of nucleus, mean of images" in rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks", "mine.onnx"]
    assert "no .onnx file" in error("evaluate", tmp_path / "masks" / "0.tif", annotated, "--record", code=2)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.ones((120, 140, 3), np.uint8), "3 channels, but model 'nuclei' takes 1"),
        (np.full((120, 140), np.nan, np.float32), "has pixels that are NaN"),
        (np.ones((120, 140), np.complex64), "pixels of type complex64 are no grey values"),
        (np.ones((100, 140), np.uint8), "is 120 x 140 pixels, but its image"),
    ],
)
def test_an_image_that_cannot_be_evaluated_is_named(annotated, pixels, message):
    image = annotated / "images" / "1.tif"
    tifffile.imwrite(image, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    line = error("evaluate", "nuclei", annotated, code=3)
    assert message in line
    assert "1.tif" in line


def test_a_truncated_mask_is_named(annotated):
    mask = annotated / "masks" / "1.tif"
    mask.write_bytes(mask.read_bytes()[:-50])
    assert "masks/1.tif: the file ends before its pixels do" in error("evaluate", "nuclei", annotated, code=3)


def test_a_sheet_of_three_classes_shows_each_in_its_colour(tmp_path, small_models):
    import imagecodecs

    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for at in range(2):
        tifffile.imwrite(tmp_path / "images" / f"{at}.tif", rng.integers(0, 255, (80, 90), dtype=np.uint8))
        tifffile.imwrite(tmp_path / "masks" / f"{at}.tif", rng.integers(0, 3, (80, 90), dtype=np.uint8))
    pairs = find_pairs(tmp_path)
    with open_model(small_models["three"]) as model:
        result = evaluate(model, pairs)
        draw_worst(tmp_path / "worst.png", model, result, pairs)
    picture = imagecodecs.png_decode((tmp_path / "worst.png").read_bytes())[..., :3].astype(int)
    for colour in (*COLOURS[:2], MISSED, INVENTED, MISTAKEN):
        assert (np.abs(picture - np.array(colour)).max(axis=-1) <= 2).sum() > 20  # a patch of the legend at least


def test_thresholds_partitions_and_a_sheet_on_the_command_line(annotated, nuclei):
    import imagecodecs

    sheet = annotated / "worst.png"
    shown, _ = unet_deploy("evaluate", "nuclei", annotated, "--metrics", "all", "--tta", "--plot", sheet)
    for words in ("V_rand, best at", "warping error, best at", "SEG", "objects merged into others", "threshold"):
        assert words in shown
    picture = imagecodecs.png_decode(sheet.read_bytes())
    assert min(picture.shape[:2]) > 300
    exists = error("evaluate", "nuclei", annotated, "--plot", sheet, code=2)
    assert "worst.png" in exists
    found = json.loads(unet_deploy("evaluate", "nuclei", annotated, "--json", "--metrics", "thresholds")[0])
    assert list(found["thresholds"]) == [f"{cut / 10:.1f}" for cut in range(11)]
    assert found["thresholds"]["0.0"]["pixel error"] > 0.5
    best = max(row["Dice"] for row in found["thresholds"].values())
    assert best == pytest.approx(next(v for name, v in found["overall"].items() if name.startswith("Dice, best")))
    assert "there are overlap, objects" in error("evaluate", "nuclei", annotated, "--metrics", "beauty", code=2)


def test_masks_that_lie_beside_their_images_are_told(annotated, nuclei):
    asked = ("evaluate", "nuclei", annotated, "--metrics", "thresholds")
    assert "the masks lie" not in "".join(unet_deploy(*asked))
    for path in (annotated / "masks").iterdir():
        tifffile.imwrite(path, np.roll(tifffile.imread(path), (-2, 1), (0, 1)))
    shown, told = unet_deploy(*asked)
    assert "masks displaced down, pixels" in shown
    found = json.loads(unet_deploy(*asked, "--json")[0])["overall"]
    down, right = (found[f"masks displaced {way}, pixels"] for way in ("down", "right"))
    assert (down, right) == pytest.approx((-2, 1), abs=0.3)
    assert f"the masks lie {-down:.1f} up and {right:.1f} right of what the model sees" in told


def test_the_best_threshold_of_an_error_is_its_lowest():
    truth = Truth(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 1]], np.int32))
    foreground = np.array([[0.05, 0.45, 0.55, 0.95]])
    both = np.stack([1 - foreground, foreground])
    score = score_labels("x", (foreground > 0.5).astype(np.uint8), truth, 2, both, Scoring(frozenset(GROUPS)))
    assert score.soft_dice == pytest.approx(2 * 1.5 / (0.05**2 + 0.45**2 + 0.55**2 + 0.95**2 + 2))
    result = Evaluation(("background", "cell"), (score,))
    assert result.best["pixel_error"] == (0, 0.5)
    assert result.best["dice"] == (1, 0.5)
    assert result.cuts[0].pixel_error == 0.5
    assert result.cuts[10].dice == 0


def test_the_sheet_colours_what_is_wrong():
    truth = np.array([[0, 1, 1, 2]], np.uint8)
    labels = np.array([[1, 0, 1, 1]], np.uint8)
    picture = compared(np.zeros((1, 1, 4), np.uint8), labels, truth)
    for at, colour in ((0, INVENTED), (1, MISSED), (2, (0, 0, 0)), (3, MISTAKEN)):
        np.testing.assert_array_equal(picture[0, at], (0.65 * np.array(colour)).astype(np.uint8))


HIDDEN = (
    "import sys; [sys.modules.__setitem__(name, None) for name in {!r}.split()]; from unet_deploy.cli import main; "
)


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        ("torch onnx skimage matplotlib", ["score", "masks/0.tif", "masks/1.tif"]),
        ("torch onnx skimage matplotlib", ["evaluate", "nuclei", ".", "--metrics", "thresholds"]),
        ("torch onnx matplotlib", ["evaluate", "nuclei", ".", "--metrics", "partitions"]),
        ("torch onnx skimage", ["evaluate", "nuclei", ".", "--plot", "worst.png"]),
    ],
)
def test_scoring_wants_no_torch_and_each_extra_only_where_it_is_used(annotated, undecided, hidden, words):
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    words = [str(undecided) if word == "nuclei" else word for word in words]
    script = HIDDEN.format(hidden) + f"sys.argv = ['unet-deploy', *{words!r}]; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=annotated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SEG" in done.stdout or "--metrics" in words


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        ("skimage", ["--metrics", "all"]),
        ("matplotlib", ["--plot", "worst.png"]),
        ("onnx", ["--record"]),
    ],
)
def test_a_package_that_is_wanted_and_missing_is_named_before_any_image_is_read(annotated, hidden, words):
    words = ["evaluate", "nuclei", "nowhere", *words]
    script = HIDDEN.format(f"torch {hidden}") + f"sys.argv = ['unet-deploy', *{words!r}]; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=annotated, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: this needs {hidden}; run: pip install 'unet-deploy[train]'\n"


def test_score_leaves_out_what_is_no_data(tmp_path):
    truth = np.zeros((60, 60), np.uint8)
    truth[10:20, 10:20] = 1
    found = truth.copy()
    truth[40:] = 200
    found[45:55] = 1
    tifffile.imwrite(tmp_path / "found.tif", found)
    for text, dice in (("200", 1.0), ("0", None), (None, None)):
        extra = [(42113, "s", 0, text, True)] if text else []
        tifffile.imwrite(tmp_path / "truth.tif", truth, extratags=extra, metadata=None)
        scored = score_files(tmp_path / "found.tif", tmp_path / "truth.tif").by_class[0].dice
        assert (scored == 1) == (dice == 1)


def test_what_the_masks_mean_is_seen_from_all_pairs_whatever_is_held_back(annotated, nuclei):
    for path in (annotated / "masks").iterdir():  # 1 is the background, and the last mask has nothing else
        tifffile.imwrite(path, np.where((tifffile.imread(path) > 0) & (path.stem != "2"), 2, 1).astype(np.uint8))
    shown, told = unet_deploy("evaluate", "nuclei", annotated, "--validation", "last:1", "--plot", annotated / "w.png")
    assert "images" in shown
    assert "no mask has nucleus: Dice is 1 in images where none was found, 0 in others" in told
    with open_model(nuclei) as model:
        pairs = find_pairs(annotated)
        (score,) = evaluate(model, pairs, split=split_pairs(pairs, "last:1")).scores
    assert (score.name, score.overlaps[0].true) == ("2", 0)


def test_of_an_only_image_the_block_that_was_held_back_is_scored(annotated, nuclei):
    for kind in ("images", "masks"):
        for at in (0, 2):
            (annotated / kind / f"{at}.tif").unlink()
    found = json.loads(unet_deploy("evaluate", "nuclei", annotated, "--validation", "last:0.5", "--json")[0])
    assert list(found["images"]) == ["1[0:120, 70:140]"]
    with open_model(nuclei) as model:
        labels = segment(tifffile.imread(annotated / "images" / "1.tif"), model=model)
    truth = tifffile.imread(annotated / "masks" / "1.tif") > 0
    dice = Overlap.of(labels[:, 70:] > 0, truth[:, 70:]).dice
    assert found["images"]["1[0:120, 70:140]"]["dice"] == [dice]


def test_figures_are_never_recorded_in_the_installation(annotated, nuclei, tmp_path):
    before = nuclei.read_bytes()
    (tmp_path / "link.onnx").symlink_to(nuclei)
    (tmp_path / "hard.onnx").hardlink_to(nuclei)
    for model in ("nuclei", nuclei, tmp_path / "link.onnx", tmp_path / "hard.onnx"):
        with pytest.raises(UsageError, match="belongs to the installation; take a copy of it"):
            check_recordable(find_model(model))
    assert nuclei.read_bytes() == before


def test_figures_are_recorded_in_the_model_that_a_link_leads_to(nuclei, tmp_path):
    pytest.importorskip("onnx")
    mine, link = tmp_path / "mine.onnx", tmp_path / "link.onnx"
    mine.write_bytes(nuclei.read_bytes())
    link.symlink_to(mine)
    record(link, {"Dice": 0.5}, "two images")
    assert link.is_symlink()
    assert card_of(mine).evaluation == {"Dice": 0.5}


def test_what_a_model_was_trained_on_is_known_by_its_pixels():
    pixels = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    card = ModelCard("m", 1, ("a", "b"), 4, 4, 12, split="last:0.1 held back: 10% of the only image")
    card = replace(card, training_images=(digest_of(pixels.astype(">u2")),))
    block = Part(0, Region(2, 0, 1, 4))
    assert ModelCard.from_json(card.to_json()) == card
    assert was_trained_on(card, pixels, Part(0), None)
    assert not was_trained_on(card, pixels + 1, Part(0), None)
    assert not was_trained_on(card, pixels, block, Split("last:0.1", (), (block,)))
    assert was_trained_on(card, pixels, block, Split("last:0.2", (), (block,)))
    one_of_several = replace(card, split="last:0.1 held back: 1 of 10 images")
    assert was_trained_on(one_of_several, pixels, block, Split("last:0.1", (), (block,)))
    region = replace(card, training_images=(digest_of(pixels[:, 1:]),))
    assert was_trained_on(region, pixels, Part(0), None, Region(1, 0, 2, 4))
    assert not was_trained_on(region, pixels, Part(0), None, Region(0, 0, 2, 4))
