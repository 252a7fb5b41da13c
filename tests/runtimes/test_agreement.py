"""Whether two answers agree: ties are either label's, NaN is nobody's, and parts add up to the whole."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import VerificationError
from unet_deploy.runtimes.agreement import TOLERANCE, Agreement, compare, together
from unet_deploy.runtimes.proved import keep_agreement, kept_agreement

SURE = np.array([[[0.1, 0.9, 0.5]], [[0.9, 0.1, 0.5]]], np.float32)
"""(2, 1, 3): class 1, class 0, and a tie."""
LABELS = np.array([[1, 0, 0]], np.uint8)


def test_an_answer_agrees_with_itself():
    seen = compare(LABELS, SURE, LABELS, SURE)
    assert seen.holds
    assert (seen.pixels, seen.labels_differ, seen.ties, seen.worst_probability, seen.not_finite) == (3, 0, 0, 0.0, 0)
    assert seen.classes == 2


def test_a_label_that_differs_at_a_tie_is_right_and_elsewhere_wrong():
    tied, wrong = np.array([[1, 0, 1]], np.uint8), np.array([[1, 1, 0]], np.uint8)
    seen = compare(LABELS, SURE, tied, SURE)
    assert (seen.labels_differ, seen.ties) == (1, 1)
    assert seen.holds
    seen = compare(LABELS, SURE, wrong, SURE)
    assert (seen.labels_differ, seen.ties) == (1, 0)
    assert not seen.holds


def test_probabilities_may_lie_apart_as_far_as_the_tolerance():
    for apart, holds in ((0.9 * TOLERANCE, True), (1.5 * TOLERANCE, False)):
        assert compare(LABELS, SURE, LABELS, SURE + np.float32(apart)).holds == holds
        assert compare(LABELS, SURE, LABELS, SURE + np.float32(apart), limit_probability=None).holds


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_holds_on_either_side(side, value):
    scores = [SURE.copy(), SURE.copy()]
    scores[side][0, 0, 0] = value
    seen = compare(LABELS, scores[0], LABELS, scores[1], limit_ppm=1e6, limit_probability=None)
    assert seen.not_finite == 1
    assert np.isfinite(seen.worst_probability)
    assert not seen.holds


def test_labels_alone_are_compared_by_their_limit():
    seen = compare(LABELS, SURE, 1 - LABELS, None, limit_ppm=1000)
    assert (seen.worst_probability, seen.not_finite) == (None, None)
    assert not seen.holds
    assert replace(seen, limit_ppm=1e6).holds
    with pytest.raises(VerificationError, match=r"engine: not the model's answer: 1e.06 labels in a million differ"):
        seen.require("engine")


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_agreement_of_parts_is_that_of_the_whole(cut, seed):
    rng = np.random.default_rng(seed)
    scores, other = rng.random((2, 2, 3, 9)).astype(np.float32)
    labels, theirs = scores.argmax(0).astype(np.uint8), other.argmax(0).astype(np.uint8)
    sides = (slice(None, cut), slice(cut, None))
    parts = [compare(labels[:, at], scores[..., at], theirs[:, at], other[..., at]) for at in sides]
    whole = compare(labels, scores, theirs, other)
    assert together(parts, "a.tif") == replace(whole, image="a.tif", tiles=2, classes=max(p.classes for p in parts))


@given(st.integers(1, 2**40), st.floats(0, 1), st.none() | st.floats(0, 1))
def test_it_is_read_back_as_it_was_written_down(pixels, share, worst):
    seen = Agreement(pixels, int(share * pixels), 0, worst, None if worst is None else 2, image="a.tif", tiles=4)
    assert Agreement.from_plain(seen.to_plain()) == seen


def test_what_was_written_down_before_ties_were_counted_is_read():
    plain = {"image": "a.tif", "tiles": 4, "pixels": 2_000_000, "labels_differ_ppm": 12.5}
    plain |= {"worst_probability": None, "not_finite": None, "classes": 2, "limit_ppm": 1000.0}
    assert Agreement.from_plain(plain) == Agreement(2_000_000, 25, image="a.tif", tiles=4)


def test_what_was_proved_is_kept_and_a_damaged_file_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    seen = Agreement(2_000_000, 25, image="a.tif", tiles=4)
    assert kept_agreement("key") is None
    keep_agreement("key", seen)
    assert kept_agreement("key") == seen
    file = next((tmp_path / "cache").glob("proof-*.json"))
    whole = json.loads(file.read_text())
    fields = ({"pixels": 0}, {"pixels": -3}, {"limit_ppm": None}, {"classes": "2"}, {"labels_differ_ppm": float("inf")})
    damaged = [json.dumps(whole | field) for field in fields]
    for damage in ("{", "[]", '{"pixels": 3}', "7", "[" * 100_000, *damaged):
        file.write_text(damage)
        assert kept_agreement("key") is None
