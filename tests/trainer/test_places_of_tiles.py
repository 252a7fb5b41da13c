"""Tiles are drawn where annotations are, and a rare class is in a third of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from trainer.augment import Source, draw_batch  # noqa: E402
from trainer.batches import batches  # noqa: E402
from trainer.data import Sample  # noqa: E402
from trainer.places import OFTEN, Place, Places  # noqa: E402
from trainer.recipe import PRESETS, Augmentation  # noqa: E402

STILL = Augmentation(elastic=0, scale=0, grey=0, noise=0, blur=0)
TINY = replace(PRESETS["modern"], tile=84, batch=2, steps=400, augmentation=STILL)
MARGIN = 20


def sample_of(labels: np.ndarray, known: np.ndarray | None = None) -> Sample:
    labels = labels.astype(np.uint8)
    return Sample(
        "s",
        labels[None].astype(np.float32),
        labels,
        labels.astype(np.int32),
        np.ones(labels.shape, np.float32),
        known=known,
    )


def with_spots(side: int, spots: dict[int, float]) -> Sample:
    """A square with one square spot of each class, of a share of the pixels."""
    labels = np.zeros((side, side), np.uint8)
    for at, (k, share) in enumerate(spots.items()):
        width = max(1, round(side * share**0.5))
        labels[30 : 30 + width, 60 + 200 * at : 60 + 200 * at + width] = k
    return sample_of(labels)


def share_of_tiles(places: Places, k: int) -> float:
    drawn = [batch.labels == k for batch in batches(places, 0)]
    return torch.cat(drawn).flatten(1).any(1).float().mean().item()


def test_a_class_of_three_pixels_in_a_thousand_is_in_a_third_of_the_tiles():
    places = Places([with_spots(500, {1: 0.003})], TINY, MARGIN)
    assert places.shares[1] < 0.1
    assert share_of_tiles(Places(places.samples, replace(TINY, draw="uniform"), MARGIN), 1) < 0.1
    assert share_of_tiles(places, 1) == pytest.approx(OFTEN, abs=0.06)


def test_two_rare_classes_are_each_in_a_third_and_one_in_another_image_too():
    samples = [with_spots(500, {1: 0.003, 2: 0.002}), with_spots(300, {3: 0.004})]
    places = Places(samples, TINY, MARGIN)
    for k in (1, 2, 3):
        assert share_of_tiles(places, k) > 0.2
    assert sum(places.rare.values()) == pytest.approx(2 / 3)


def test_where_no_class_is_rare_tiles_are_the_ones_that_lie_anywhere():
    board = sample_of(np.indices((200, 200)).sum(axis=0) // 20 % 2)
    drawn = [next(batches(Places([board], replace(TINY, draw=draw), MARGIN), 7)) for draw in ("classes", "uniform")]
    assert torch.equal(drawn[0].image, drawn[1].image)
    assert Places([board], TINY, MARGIN).note(("a", "b")) is None


def test_what_is_drawn_around_is_said():
    note = Places([with_spots(500, {1: 0.003})], TINY, MARGIN).note(("background", "mitosis"))
    assert "mitosis" in note
    assert "% are drawn around pixels of it" in note


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 3))
def test_tiles_lie_where_the_mask_says_something(seed, count, step):
    rng = np.random.default_rng(seed)
    known = np.zeros((60, 70), bool)
    known.ravel()[rng.choice(known.size, count, replace=False)] = True
    places = Places([sample_of(rng.integers(0, 3, known.shape), known)], replace(TINY, seed=seed), MARGIN)
    for place in places.draw(step):
        x, y = place.middle
        assert known[int(y), int(x)]


def test_a_pixel_of_a_rare_class_that_is_not_known_is_not_drawn_around():
    labels = np.zeros((400, 400), np.uint8)
    labels[10, 10] = labels[300, 300] = 1
    known = np.ones(labels.shape, bool)
    known[10, 10] = False
    places = Places([sample_of(labels, known)], TINY, MARGIN)
    middles = {place.middle for step in range(40) for place in places.draw(step)}
    assert (300.0, 300.0) in middles
    assert (10.0, 10.0) not in middles


def test_the_middle_of_a_tile_is_the_pixel_it_is_drawn_around():
    labels = np.zeros((200, 200), np.uint8)
    labels[71, 133] = 1
    tile = draw_batch(Source([sample_of(labels)]), [Place(0, (133.0, 71.0))], 85, MARGIN, STILL, [3])
    assert torch.argwhere(tile.labels[0]).tolist() == [[22, 22]]
