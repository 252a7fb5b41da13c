"""What is chosen for a model is what makes its objects the true ones, and it is chosen on images it never saw."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from command_line import error, unet_deploy

from unet_deploy.errors import DataError
from unet_deploy.evaluation.answers import Folder, see
from unet_deploy.evaluation.calibration import Seen, calibrate
from unet_deploy.evaluation.pairs import find_pairs, read_image
from unet_deploy.evaluation.record import record, record_decision
from unet_deploy.evaluation.seen import digest_of
from unet_deploy.evaluation.truths import Truth
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.zoo import card_of

SIDE, STEP = 160, 40


def discs(*, joined=False):
    """Discs of 24 px, numbered, (H, W) int32; joined: in pairs that touch."""
    y, x = np.indices((SIDE, SIDE))
    across = 21 if joined else STEP
    pair = x // STEP * STEP + np.where(x % STEP < 20, 9.5, 29.5) if joined else x // STEP * STEP + 19.5
    inside = (y % STEP - 19.5) ** 2 + (x - pair) ** 2 < (across / 2) ** 2 * (1 if joined else 0.36)
    number = y // STEP * 100 + (x // 20 if joined else x // STEP) + 1
    return np.where(inside, number, 0).astype(np.int32)


def seen(objects, foreground, data="a"):
    probabilities = np.stack([1 - foreground, foreground]).astype(np.float32)
    return Seen.of("one", data, probabilities, Truth((objects > 0).astype(np.uint8), objects))


def test_a_model_that_is_right_is_left_as_it_is():
    objects = discs()
    found = calibrate([seen(objects, np.where(objects > 0, 0.95, 0.05))])
    assert (found.decision, found.before, found.after) == (UNDECIDED, 1.0, 1.0)


def test_a_timid_model_gets_a_lower_threshold_and_a_bold_one_a_higher():
    objects = discs()
    timid = calibrate([seen(objects, np.where(objects > 0, 0.42, 0.05))])
    assert timid.decision.threshold == 0.4  # the nearest to the model's own of those that see the discs
    assert (timid.before, timid.after) == (0.0, 1.0)
    bold = calibrate([seen(objects, np.where(objects > 0, 0.95, 0.52))])
    assert bold.decision.threshold == 0.55


def test_specks_go_by_their_share_of_the_discs():
    objects = discs()
    foreground = np.where(objects > 0, 0.95, 0.05)
    foreground[::STEP, ::STEP] = foreground[1::STEP, ::STEP] = 0.95
    found = calibrate([seen(objects, foreground)])
    assert found.decision.min_size == 0.005  # 2 pixels of 24 x 24
    assert found.after == 1.0 > found.before


def test_discs_that_touch_are_parted():
    objects = discs(joined=True)
    found = calibrate([seen(objects, np.where(objects > 0, 0.95, 0.05))])
    assert found.decision.split > 0
    assert found.after == 1.0 > found.before
    assert found.is_better


def test_what_the_model_is_nowhere_sure_of_is_no_object():
    objects = discs()
    foreground = np.where(objects > 0, 0.8, 0.05)
    foreground[objects > 0] = np.where(np.arange((objects > 0).sum()) % 50 == 0, 0.99, 0.8)
    haze = np.roll(objects, STEP // 2, axis=(0, 1)) > 0
    foreground[haze] = 0.85
    found = calibrate([seen(objects, foreground)])
    assert found.decision.peak == 0.9
    assert found.after > found.before
    assert "none whose probability stays under 0.9" in found.decision.words


def test_holes_are_filled():
    objects = discs()
    y, x = np.indices(objects.shape)
    hollow = (y % STEP - 19.5) ** 2 + (x % STEP - 19.5) ** 2 < 90
    found = calibrate([seen(objects, np.where((objects > 0) & ~hollow, 0.95, 0.05))])
    assert found.decision.fill_holes


def test_each_set_counts_alike_whatever_its_size():
    objects = discs()
    timid, bold = np.where(objects > 0, 0.42, 0.05), np.where(objects > 0, 0.95, 0.52)
    many = [seen(objects, bold, "many")] * 5
    alone = calibrate([seen(objects, timid, "few"), *many], Decision(threshold=0.5))
    both = {curve.field: curve for curve in alone.curves}["threshold"]
    assert both.scores[both.values.index(0.4)] == pytest.approx(0.5)
    assert both.scores[both.values.index(0.55)] == pytest.approx(0.5)


def test_objects_of_several_classes_are_those_that_evaluate_counts():
    objects = discs()
    sheath = objects * (np.indices(objects.shape)[1] % STEP < 20)  # the left half of each disc
    classes = np.where(sheath > 0, 1, np.where(objects > 0, 2, 0))
    scores = np.stack([classes == k for k in range(3)]).astype(np.float32)
    assert Seen.of("one", "a", scores, Truth(classes.astype(np.uint8), objects)).f1(UNDECIDED)[0] == 1


def test_masks_that_are_bad_are_told_by_how_unsure_the_model_is():
    objects = discs()
    elsewhere = np.roll(objects, STEP // 2, axis=1)
    good = [seen(objects, np.where(objects > 0, sure, 0.02)) for sure in np.linspace(0.8, 0.98, 10)]
    bad = [seen(objects, np.where(elsewhere > 0, sure, 0.02)) for sure in np.linspace(0.6, 0.75, 5)]
    assert 0.7 < calibrate([*good, *bad]).decision.trusted_from < 0.8
    assert calibrate(good, replace(UNDECIDED, trusted_from=0.3)).decision.trusted_from == 0.3


def test_where_there_is_no_object_nothing_can_be_chosen():
    nothing = np.zeros((20, 20), np.int32)
    with pytest.raises(DataError, match="no image has an object"):
        calibrate([seen(nothing, np.zeros((20, 20)))])


def test_the_command_writes_what_it_chose_into_the_card(folder, nuclei, tmp_path):
    own = tmp_path / "own.onnx"
    own.write_bytes(nuclei.read_bytes())
    for path in folder.glob("*/cell[2-5].tif"):
        path.unlink()  # of two images it chooses as of six
    shown, said = unet_deploy("calibrate", own, folder, "-o", tmp_path / "out.onnx", "--plot", tmp_path / "c.png")
    assert "object F1" in shown
    assert re.search(r"^note: chosen by \d\d? objects, which other images may not be like", said, re.MULTILINE)
    assert (tmp_path / "c.png").stat().st_size > 5000
    assert own.read_bytes() == nuclei.read_bytes()
    chosen = json.loads(unet_deploy("calibrate", own, folder, "--json")[0])
    assert chosen["f1"] >= chosen["f1_before"]
    decision = card_of(own).decision
    assert decision == card_of(tmp_path / "out.onnx").decision
    assert decision.threshold == chosen["decision"]["threshold"]


def test_figures_of_another_decision_leave_the_card(nuclei, tmp_path):
    own = tmp_path / "own.onnx"
    decided = replace(card_of(nuclei).decision, threshold=0.35)
    record_decision(nuclei, own, decided)
    record(own, {"Dice": 0.5}, "two images")
    record_decision(own, own, decided, overwrite=True)
    assert card_of(own).evaluation == {"Dice": 0.5}
    record_decision(own, own, replace(decided, threshold=0.25), overwrite=True)
    assert (card_of(own).decision.threshold, card_of(own).evaluation, card_of(own).evaluated_on) == (0.25, {}, "")


def test_a_block_that_training_held_back_of_its_only_image_is_new_to_the_model(folder, nuclei, tmp_path):
    for kind in ("images", "masks"):
        for path in sorted((folder / kind).iterdir())[1:]:
            path.unlink()
    image = read_image(find_pairs(folder)[0])
    file, own = read_model(nuclei), tmp_path / "own.onnx"
    seen_before = (digest_of(image.crop(0, image.info.region)),)
    save(
        file.proto,
        replace(file.card, training_images=seen_before, split="last:0.1 held back: 10% of the only image"),
        own,
    )
    with Models(own, Request(probabilities=True)) as models:
        answers, known = see(models, [Folder(folder, validation="last:0.1")])
        assert (len(answers), known) == (1, 0)
        with pytest.raises(DataError, match="was trained on all 1 images"):
            see(models, [Folder(folder)])


def test_calibrate_refuses_what_it_must_not_write_and_what_tells_nothing(folder, nuclei, tmp_path):
    assert "belongs to the installation" in error("calibrate", nuclei, folder, code=2)
    own = tmp_path / "own.onnx"
    own.write_bytes(nuclei.read_bytes())
    (tmp_path / "w.pt").write_bytes(b"weights")
    assert "is no .onnx file" in error("calibrate", tmp_path / "w.pt", folder, code=2)
    assert "own.onnx" in error("calibrate", own, folder, "-o", own, code=2)
    assert own.read_bytes() == nuclei.read_bytes()


def test_an_image_without_background_counts_its_object():
    everywhere = np.ones((40, 40), np.int32)
    sure = np.stack([np.full((40, 40), 0.1), np.full((40, 40), 0.9)]).astype(np.float32)
    found = calibrate([Seen.of("a", "set", sure, Truth(everywhere.astype(np.uint8), everywhere))])
    assert found.objects == 1
