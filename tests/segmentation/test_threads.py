"""A model that was opened once serves any number of threads with the answers that one thread gets."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runtimes.test_onnx_program import streamed

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.runtimes import OutOfMemoryError
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.segmentation.run import segment, segment_array
from unet_deploy.stream.proof import Proof, Unproved

THREADS = 8


def open_on(kind, path, probabilities=True):
    if kind == "openvino":
        pytest.importorskip("openvino")
        from unet_deploy.runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, probabilities=probabilities)
    if kind == "onnxruntime":
        return OnnxRuntime(path, probabilities=probabilities)
    return streamed(path, "fp32", "uint8", tile=100, batch=2, probabilities=probabilities)


def pictures(speckle, count=20):
    """Images of several sizes, of one tile and of more, so that threads are never in step."""
    return [speckle[7 * at : 7 * at + 40 + 5 * (at % 5), 11 * at : 11 * at + 90 + 23 * (at % 3)] for at in range(count)]


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "ring"])
@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.long)])
def test_eight_threads_get_what_one_gets(small_models, speckle, kind, count):
    images = pictures(speckle)
    with open_on(kind, small_models["one"]) as model:
        expected = [segment(image, model=model, probabilities=True) for image in images]

        def right(turn):
            labels, scores = segment(images[turn % len(images)], model=model, probabilities=True)
            truth = expected[turn % len(images)]
            return np.array_equal(labels, truth[0]) and np.array_equal(scores, truth[1])

        with ThreadPoolExecutor(THREADS) as threads:
            assert sum(threads.map(right, range(count))) == count


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "ring"])
def test_the_mean_of_orientations_is_one_threads_too(small_models, speckle, kind):
    images = pictures(speckle, 6)
    with open_on(kind, small_models["one"]) as model:
        expected = [segment(image, model=model, tta=True) for image in images]
        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(lambda turn: segment(images[turn % 6], model=model, tta=True), range(48)))
    for turn, labels in enumerate(found):
        np.testing.assert_array_equal(labels, expected[turn % 6])


def test_tickets_are_redeemed_in_any_order_and_more_of_them_than_slots(small_models, speckle):
    with streamed(small_models["one"], "fp32", "uint8", tile=100) as model:
        side = model.card.base
        tiles = [np.ascontiguousarray(speckle[None, at : at + side, at : at + side]) for at in range(0, 70, 7)]
        alone = [model.result(model.submit([tile], [grey()])).labels for tile in tiles]
        tickets = [model.submit([tile], [grey()]) for tile in tiles]
        for at in (3, 9, 0, 5, 1, 8, 2, 7, 6, 4):
            np.testing.assert_array_equal(model.result(tickets[at]).labels, alone[at])
        with pytest.raises(RuntimeError, match="redeemed once"):
            model.result(tickets[3])


def test_what_a_broken_off_run_left_in_flight_takes_nobodys_place(small_models, speckle):
    with streamed(small_models["one"], "fp32", "uint8", tile=100) as model:
        image = speckle[:60, :90]
        expected = segment(image, model=model)
        for _ in range(2 * model.slots):
            model.submit([speckle[None, : model.card.base, : model.card.base]], [grey()])
        np.testing.assert_array_equal(segment(image, model=model), expected)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "ring"])
def test_one_that_becomes_smaller_while_others_compute_gives_them_the_same_answers(small_models, speckle, kind):
    images = pictures(speckle)
    with open_on(kind, small_models["one"]) as model:
        expected = [segment(image, model=model) for image in images]

        def right(turn):
            if turn % 40 == 20:
                model.shrink(model.limits)
            labels = segment(images[turn % len(images)], model=model)
            return np.array_equal(labels, expected[turn % len(images)])

        with ThreadPoolExecutor(THREADS) as threads:
            assert all(threads.map(right, range(80)))


def test_threads_that_meet_one_shortage_lower_the_limits_once(small_models, speckle):
    gate = threading.Barrier(THREADS)

    class Short(OnnxRuntime):
        def _compute(self, feeds):
            if feeds["image"].shape[2] > 400:
                raise OutOfMemoryError("no room")
            return super()._compute(feeds)

    with Short(small_models["one"], tile_size=500) as model:
        before = model.limits

        def work(_):
            gate.wait()
            return segment(speckle[:450, :450], model=model)

        with ThreadPoolExecutor(THREADS) as threads:
            answers = list(threads.map(work, range(THREADS)))
        assert model.limits == before.halved(model.card)
    with OnnxRuntime(small_models["one"]) as model:
        expected = segment(speckle[:450, :450], model=model)
    for labels in answers:
        np.testing.assert_array_equal(labels, expected)


def test_a_model_is_proved_once_while_others_wait(small_models, speckle):
    path, kept, opened = small_models["one"], [], []

    def reference():
        opened.append(1)
        return OnnxRuntime(path, probabilities=True)

    with Unproved(OnnxRuntime(path), Proof(reference, kept.append)) as model:
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda _: segment_array(speckle, model, None), range(THREADS)))
        assert (len(kept), len(opened), model.proof) == (1, 1, None)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "ring"])
def test_one_that_was_closed_says_so(small_models, speckle, kind):
    with open_on(kind, small_models["one"]) as model:
        pass
    with pytest.raises(UsageError, match="was closed; open it again"):
        segment(speckle, model=model)


def test_one_that_is_closed_under_a_run_ends_it_with_a_sentence(small_models, speckle):
    model = streamed(small_models["one"], "fp32", "uint8", tile=100)
    ticket = model.submit([speckle[None, : model.card.base, : model.card.base]], [grey()])
    model.close()
    with pytest.raises(OutOfMemoryError):
        model.result(ticket)
    with pytest.raises(UsageError, match="was closed; open it again"):
        model.shrink(model.limits)


def grey():
    return GreyScale(np.zeros(1, np.float32), np.full(1, 1 / 64, np.float32))
