"""What every Runtime does, whatever computes it. A subclass says how one is opened, and gets all of these tests."""

import numpy as np
import pytest

from unet_deploy.images.grey import GreyScale
from unet_deploy.runtimes import OutOfMemoryError, Runtime
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.segmentation.run import segment_array

TILE = 300
"""Largest side that a runtime under test is opened for."""


class RuntimeConformance:
    """Subclass it as Test..., with `open`."""

    answers_labels_alone = True

    def open(self, path, *, probabilities=True, pixels="uint8") -> Runtime:
        """A runtime for tiles of up to TILE pixels a side."""
        raise NotImplementedError

    def reference(self, path) -> Runtime:
        """What gives the same answers, in float32."""
        return OnnxRuntime(path, probabilities=True, tile_size=TILE)

    @pytest.fixture
    def path(self, small_models):
        return small_models["one"]

    def test_it_says_which_model_it_runs_and_by_what(self, path, small_models):
        with self.open(path) as runtime, self.open(path) as again, self.open(small_models["three"]) as other:
            assert runtime.name
            assert (runtime.card, runtime.name, runtime.fingerprint) == (again.card, again.name, again.fingerprint)
            assert runtime.fingerprint != other.fingerprint
            assert len(other.card.classes) == 3

    @pytest.mark.parametrize("name", ["one", "three", "colour", "deep"])
    def test_an_answer_lacks_the_margin_and_is_float32s(self, small_models, speckle, name):
        path = small_models[name]
        with self.open(path) as runtime, self.reference(path) as reference:
            tile = tile_of(speckle, runtime)
            answer, truth = (answer_of(each, tile) for each in (runtime, reference))
            side = tile.shape[1] - 2 * runtime.card.margin
            assert answer.labels.shape == (1, side, side)
            assert answer.labels.dtype == np.uint8
            assert answer.probabilities.shape == (1, len(runtime.card.classes), side, side)
            assert answer.probabilities.dtype == np.float32
        np.testing.assert_allclose(answer.probabilities, truth.probabilities, atol=1e-4)

    def test_labels_are_the_classes_of_the_largest_probability(self, path, speckle):
        with self.open(path) as runtime:
            answer = answer_of(runtime, tile_of(speckle, runtime))
        np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, atol=1e-4)
        second, first = np.sort(answer.probabilities, axis=1)[:, -2:].swapaxes(0, 1)
        assert ((answer.probabilities.argmax(axis=1) == answer.labels) | (first - second < 1e-6)).all()

    def test_probabilities_come_only_where_they_were_asked_for(self, path, speckle):
        if not self.answers_labels_alone:
            pytest.skip("it averages probabilities")
        with self.open(path, probabilities=False) as runtime, self.open(path) as both:
            assert (runtime.probabilities, both.probabilities) == (False, True)
            tile = tile_of(speckle, runtime)
            answer = answer_of(runtime, tile)
            assert answer.probabilities is None
            np.testing.assert_array_equal(answer.labels, answer_of(both, tile).labels)

    @pytest.mark.parametrize("pixels", ["uint8", "uint16", "float32"])
    def test_the_type_of_pixels_does_not_change_the_answer(self, path, speckle, pixels):
        with self.open(path) as runtime, self.open(path, pixels=pixels) as other:
            tile = tile_of(speckle, runtime)
            expected, answer = answer_of(runtime, tile), answer_of(other, tile.astype(pixels))
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-5)

    def test_all_slots_are_filled_before_the_first_answer_is_fetched(self, path, speckle):
        with self.open(path) as runtime:
            tiles = [tile_of(np.roll(speckle, 31 * at), runtime) for at in range(runtime.slots)]
            alone = [answer_of(runtime, tile).labels for tile in tiles]
            tickets = [runtime.submit([tile], [grey_of(runtime)]) for tile in tiles]
            for ticket, labels in zip(tickets, alone, strict=True):
                np.testing.assert_array_equal(runtime.result(ticket).labels, labels)

    def test_every_place_of_a_batch_gets_its_own_answer(self, path, speckle):
        with self.open(path) as runtime:
            tiles = [tile_of(np.roll(speckle, 57 * at), runtime) for at in range(runtime.limits.batch)]
            answer = runtime.result(runtime.submit(tiles, [grey_of(runtime)] * len(tiles)))
            for place, tile in enumerate(tiles):
                expected = answer_of(runtime, tile).probabilities[0]
                np.testing.assert_allclose(answer.probabilities[place], expected, atol=1e-5)

    def test_each_tile_has_the_grey_scale_of_its_own_page(self, path, speckle):
        with self.open(path) as runtime:
            tile, dark = tile_of(speckle, runtime), grey_of(runtime, offset=40)
            assert (
                np.abs(answer_of(runtime, tile).probabilities - answer_of(runtime, tile, dark).probabilities).max() > 0
            )

    def test_what_was_submitted_may_be_written_over(self, path, speckle):
        with self.open(path) as runtime:
            tile = tile_of(speckle, runtime).copy()
            expected = answer_of(runtime, tile).labels.copy()
            ticket = runtime.submit([tile], [grey_of(runtime)])
            tile[...] = 0
            np.testing.assert_array_equal(runtime.result(ticket).labels, expected)

    def test_an_answer_is_not_written_over_by_the_next(self, path, speckle):
        with self.open(path) as runtime:
            first = answer_of(runtime, tile_of(speckle, runtime))
            kept = first.labels.copy(), first.probabilities.copy()
            for _ in range(runtime.slots + 1):
                answer_of(runtime, tile_of(speckle[100:], runtime))
            np.testing.assert_array_equal(first.labels, kept[0])
            np.testing.assert_array_equal(first.probabilities, kept[1])

    def test_tiles_of_every_legal_side_are_taken(self, path, speckle):
        with self.open(path) as runtime:
            card = runtime.card
            for steps in range(3):
                tall, wide = card.base, card.base + steps * card.stride
                answer = answer_of(runtime, speckle[None, :tall, :wide])
                assert answer.labels.shape[1:] == (tall - 2 * card.margin, wide - 2 * card.margin)

    def test_memory_grows_with_the_tile_or_is_unknown(self, path):
        with self.open(path) as runtime:
            small, large = runtime.memory(200, 200), runtime.memory(400, 400)
            assert (small is None and large is None) or 0 <= small <= large

    def test_it_shrinks_and_still_gives_the_same_answer(self, path, speckle):
        with self.open(path) as runtime:
            tile = np.ascontiguousarray(speckle[None, : runtime.card.base, : runtime.card.base])
            before, expected = runtime.limits, answer_of(runtime, tile).labels
            runtime.shrink(before)
            after = runtime.limits
            runtime.shrink(before)  # as another thread does that met the same shortage
            assert runtime.limits == after
            assert (runtime.limits.batch, max(runtime.limits.most)) < (before.batch, max(before.most))
            np.testing.assert_array_equal(answer_of(runtime, tile).labels, expected)

    def test_it_does_not_shrink_for_ever(self, path):
        with self.open(path) as runtime, pytest.raises(OutOfMemoryError, match="even for one tile"):
            shrink_for_ever(runtime)

    def test_a_whole_image_is_the_references(self, path, speckle):
        with self.open(path) as runtime, self.reference(path) as reference:
            image = speckle[:410, :370]
            labels, scores = segment_array(image, runtime, None, probabilities=True)
            expected, truth = segment_array(image, reference, None, probabilities=True)
        np.testing.assert_allclose(scores, truth, atol=1e-4)
        second, first = np.sort(truth, axis=1)[:, -2:].swapaxes(0, 1)
        assert ((labels == expected) | (first - second < 2e-4)).all()
        assert len(np.unique(expected)) > 1

    def test_it_is_its_own_context(self, path):
        runtime = self.open(path)
        with runtime as entered:
            assert entered is runtime


def shrink_for_ever(runtime):
    while True:
        runtime.shrink(runtime.limits)


def grey_of(runtime, offset=0) -> GreyScale:
    channels = runtime.card.channels
    return GreyScale(np.full(channels, offset, np.float32), np.full(channels, 1 / 64, np.float32))


def tile_of(image, runtime) -> np.ndarray:
    """A tile (C, h, w) uint8 of a legal side."""
    side = runtime.card.base + 2 * runtime.card.stride
    return np.stack([np.roll(image, 9 * at, axis=1)[:side, :side] for at in range(runtime.card.channels)])


def answer_of(runtime, tile, grey=None):
    return runtime.result(runtime.submit([tile], [grey or grey_of(runtime)]))
