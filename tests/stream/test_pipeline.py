"""The stream keeps order and bounds, and ends with the first error, on threads that really run."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.errors import ModelError
from unet_deploy.images.array import ArraySource
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.runtimes import Answer, Limits, OutOfMemoryError
from unet_deploy.stream.channel import Channel, Stopped
from unet_deploy.stream.pipeline import QUEUED, DoneTile, stream
from unet_deploy.tiling import plan_tiles

CARD = ModelCard("threshold", 1, ("dark", "bright"), 4, 4, 12, Normalization("fixed", 0, 1))


class Threshold:
    """A runtime whose network is `pixel > 100`, computed on another thread when it has more than one slot."""

    name, probabilities = "threshold", False

    def __init__(self, slots: int = 1, fails_at: int | None = None, delay: float = 0.0, batch: int = 1) -> None:
        self.card, self.slots, self.fails_at, self.delay = replace(CARD), slots, fails_at, delay
        self.limits = Limits(batch, (12, 12), (28, 28))
        self.in_flight = self.most_in_flight = self.count = 0

    def memory(self, height, width):
        return None

    def submit(self, tiles, greys):
        assert 1 <= len(tiles) == len(greys) <= self.limits.batch
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.count += 1
        tiles = np.stack(tiles)
        answer: list[Answer] = []
        margin = self.card.margin

        def work() -> None:
            time.sleep(self.delay)
            answer.append(Answer((tiles[:, 0, margin:-margin, margin:-margin] > 100).astype(np.uint8)))

        thread = threading.Thread(target=work)
        thread.start()
        return thread, answer, self.count

    def result(self, ticket):
        thread, answer, number = ticket
        thread.join()
        self.in_flight -= 1
        if number == self.fails_at:
            raise RuntimeError(f"tile {number} failed")
        return answer[0]


class Failing(ArraySource):
    def __init__(self, array: np.ndarray, fails_at: int) -> None:
        super().__init__(array)
        self.left = fails_at

    def crop(self, page, region):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the disk went away")
        return super().crop(page, region)


def picture(pages: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 200, (pages, 1, 90, 70), dtype=np.uint8)


def run(source, runtime, consumers, progress=None):
    plan = plan_tiles(source.info.height, source.info.width, runtime.card, tile=28)
    return stream(source, plan, runtime, consumers, progress=progress), plan


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 0.001]), st.integers(1, 5))
def test_every_tile_arrives_once_in_order_and_right(slots, pages, delay, batch):
    image, runtime = picture(pages), Threshold(slots, delay=delay, batch=batch)
    mask = np.full((pages, 90, 70), 255, np.uint8)
    order: list[tuple[int, int, int]] = []

    def consume(done: DoneTile) -> None:
        order.append((done.page, done.tile.write.y, done.tile.write.x))
        mask[(done.page, *done.tile.write.slices)] = done.labels
        np.testing.assert_array_equal(done.image, image[(done.page, slice(None), *done.tile.write.slices)])

    seen: list[tuple[int, int]] = []
    _, plan = run(ArraySource(image), runtime, [consume], progress=lambda *at: seen.append(at))
    np.testing.assert_array_equal(mask, image[:, 0] > 100)
    assert order == sorted(order)
    assert seen == [(n + 1, pages * len(plan)) for n in range(pages * len(plan))]
    assert runtime.most_in_flight <= slots


def test_the_stream_never_runs_far_ahead_of_a_slow_disk():
    runtime = Threshold()
    ahead: list[int] = []

    def consume(done: DoneTile) -> None:
        time.sleep(0.005)
        ahead.append(runtime.count)

    run(ArraySource(picture()), runtime, [consume])
    assert max(count - index for index, count in enumerate(ahead)) <= 6


class Cramped(Threshold):
    """Has room for so many pixels in flight, and says so when it is asked for more or when it answers."""

    def __init__(self, room: int, slots: int, batch: int, late: bool) -> None:
        super().__init__(slots, batch=batch)
        self.room, self.late, self.shrunk = room, late, 0

    def submit(self, tiles, greys):
        pixels = sum(tile[0].size for tile in tiles)
        if pixels > self.room and not self.late:
            raise OutOfMemoryError("no room")
        return super().submit(tiles, greys), pixels

    def result(self, ticket):
        if ticket[1] > self.room:
            raise OutOfMemoryError("no room")
        return super().result(ticket[0])

    def shrink(self, below):
        assert below == self.limits
        self.limits, self.shrunk = self.limits.halved(self.card), self.shrunk + 1
        self.in_flight = 0


@settings(max_examples=30, deadline=None)
@given(st.integers(144, 4000), st.integers(1, 3), st.integers(1, 6), st.booleans())
def test_short_memory_halves_the_batch_then_the_tile_and_keeps_what_is_finished(room, slots, batch, late):
    image, runtime = picture(2), Cramped(room, slots, batch, late)
    mask, writes = np.full((2, 90, 70), 255, np.uint8), np.zeros((2, 90, 70), int)

    def consume(done: DoneTile) -> None:
        mask[(done.page, *done.tile.write.slices)] = done.labels
        writes[(done.page, *done.tile.write.slices)] += 1

    seen: list[int] = []
    _, plan = run(ArraySource(image), runtime, [consume], progress=lambda now, total: seen.append(now))
    np.testing.assert_array_equal(mask, image[:, 0] > 100)
    assert (writes == 1).all()
    assert seen == list(range(1, 2 * len(plan) + 1))
    assert bool(runtime.shrunk) == (room < largest_batch(plan, batch))


def largest_batch(plan, batch: int) -> int:
    """Pixels of the largest submission: neighbours in a row of one shape go together."""
    pixels, run, shape = 0, 0, None
    for tile in [*plan, *plan]:
        now = tile.read.height, tile.read.width
        run, shape = (run % batch + 1 if now == shape else 1), now
        pixels = max(pixels, run * now[0] * now[1])
    return pixels


def test_memory_too_short_for_the_smallest_tile_is_said():
    with pytest.raises(OutOfMemoryError, match="out of memory even for one tile of 12 x 12"):
        run(ArraySource(picture()), Cramped(100, 2, 4, late=False), [lambda done: None])
    assert not stream_threads()


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream")]


def failing_reader():
    return Failing(picture(), fails_at=4), Threshold(), [lambda done: None], "the disk went away"


def failing_runtime():
    return ArraySource(picture()), Threshold(2, fails_at=3), [lambda done: None], "tile 3 failed"


def failing_writer():
    left = iter(range(3))

    def consume(done: DoneTile) -> None:
        if next(left) == 2:
            raise RuntimeError("the disk is full")

    return ArraySource(picture()), Threshold(3), [consume], "the disk is full"


@pytest.mark.parametrize("stage", [failing_reader, failing_runtime, failing_writer])
def test_the_first_error_of_any_stage_ends_the_stream_and_its_threads(stage):
    source, runtime, consumers, message = stage()
    with pytest.raises(RuntimeError, match=message):
        run(source, runtime, consumers)
    assert not stream_threads()


def test_ctrl_c_ends_the_threads_too():

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(ArraySource(picture()), Threshold(), [lambda done: None], progress=interrupt)
    assert not stream_threads()


def one_tile(source, runtime, consumers):
    plan = plan_tiles(90, 70, runtime.card, tile=120)
    assert len(plan) == 1
    return stream(source, plan, runtime, consumers)


@pytest.mark.parametrize("late", [False, True])
def test_a_single_tile_begins_no_thread_and_may_be_cut_into_many(late):
    image, parts, names = picture(), [], set()

    def consume(done: DoneTile) -> None:
        parts.append(done)
        names.add(threading.current_thread().name)
        np.testing.assert_array_equal(done.labels, image[(0, 0, *done.tile.write.slices)] > 100)

    one_tile(ArraySource(image), Cramped(300, 2, 1, late), [consume])
    assert len(parts) > 2 * QUEUED
    assert sum(part.tile.write.height * part.tile.write.width for part in parts) == 90 * 70
    assert names == {threading.current_thread().name}


@pytest.mark.parametrize("message", ["the disk went away", "tile 1 failed", "the disk is full"])
def test_the_first_error_of_any_stage_of_a_single_tile_is_raised(message):
    def consume(done: DoneTile) -> None:
        if message == "the disk is full":
            raise RuntimeError(message)

    source = Failing(picture(), fails_at=int(message == "the disk went away"))
    with pytest.raises(RuntimeError, match=message):
        one_tile(source, Threshold(fails_at=1 if message == "tile 1 failed" else None), [consume])


def test_a_stopped_channel_wakes_both_ends():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    woken: list[str] = []

    def put() -> None:
        try:
            channel.put(2)
        except Stopped:
            woken.append("put")

    thread = threading.Thread(target=put)
    thread.start()
    channel.stop()
    thread.join(5)
    assert woken == ["put"]
    with pytest.raises(Stopped):
        next(iter(channel))


def test_a_card_whose_margin_is_not_the_network_s_is_noticed_at_the_first_tile():
    """Its labels would lie elsewhere."""
    network = Threshold()
    answering = network.submit
    network.submit = lambda tiles, greys: answering([tile[:, 2:-2, 2:-2] for tile in tiles], greys)
    seen = []
    with pytest.raises(ModelError, match=r"answers 16 x 16 pixels to 28 x 28, but its card says margin 4"):
        run(ArraySource(picture()), network, [seen.append])
    assert not seen
