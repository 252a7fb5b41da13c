"""The ring on a device that really runs beside it: data, order, back-pressure, errors, and memory freed too early."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtimes.thread_device import DeviceFailure, ThreadDevice, ThresholdProgram

from unet_deploy.errors import UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.contract import pixels_for
from unet_deploy.runtimes import Identity, Limits, OutOfMemoryError
from unet_deploy.runtimes.ring import Ring
from unet_deploy.runtimes.streamed import StreamedRuntime, encode
from unet_deploy.stream.pipeline import stream
from unet_deploy.stream.planner import plan_for

CARD = ModelCard("threshold", 1, ("dark", "bright"), 4, 4, 12, Normalization())
LIMITS = Limits(1, (12, 12), (28, 28))


def grey(low=90.0, scale=0.05):
    return GreyScale(np.full(1, low, np.float32), np.full(1, scale, np.float32))


def truth(image, low=90.0, scale=0.05):
    return ((image.astype(np.float32) - np.float32(low)) * np.float32(scale) > 1).astype(np.uint8)


def batch(rng, tiles, side=28):
    images = rng.integers(0, 200, (tiles, 1, side, side), dtype=np.uint8)
    offsets = [np.full(1, low, np.float32) for low in rng.uniform(50, 120, tiles)]
    inputs = {"image": list(images), "offset": offsets, "scale": [np.full(1, 0.05, np.float32)] * tiles}
    expected = np.stack([truth(i[0], o[0])[4:-4, 4:-4] for i, o in zip(images, offsets, strict=True)])
    return inputs, expected


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 4), st.integers(1, 12), st.booleans())
def test_answers_are_right_and_in_order_however_the_streams_run(seed, slots, submissions, fixed):
    device, rng = ThreadDevice(seed), np.random.default_rng(seed)
    program = ThresholdProgram(device, CARD, replace(LIMITS, batch=3), fixed=fixed)
    in_flight, landed = [], []
    with Ring(device, program, slots) as ring:
        for _ in range(submissions):
            side = 28 if fixed else int(rng.choice([12, 20, 28]))
            inputs, expected = batch(rng, int(rng.integers(1, 4)), side)
            if len(in_flight) == slots:
                ticket, answer = in_flight.pop(0)
                landed.append((ring.result(ticket)["labels"], answer))
            in_flight.append((ring.submit(inputs), expected))
            inputs["image"][0][...] = 0  # what was submitted is the ring's: the caller may use its arrays again
        landed += [(ring.result(ticket)["labels"], answer) for ticket, answer in in_flight]
    for answer, expected in landed:  # an answer stays what it was when its slot is used again
        np.testing.assert_array_equal(answer, expected)
    program.close()
    assert device.held == 0
    device.end()


def test_a_ring_takes_as_many_submissions_as_it_has_slots_and_answers_in_order():
    device = ThreadDevice()
    program = ThresholdProgram(device, CARD, LIMITS)
    with Ring(device, program, 2) as ring:
        inputs, _ = batch(np.random.default_rng(0), 1)
        first, second = ring.submit(inputs), ring.submit(inputs)
        with pytest.raises(RuntimeError, match="all 2 slots are in flight"):
            ring.submit(inputs)
        with pytest.raises(RuntimeError, match="in the order"):
            ring.result(second)
        ring.result(first)
        with pytest.raises(RuntimeError, match="redeemed once"):
            ring.result(first)
        ring.submit(inputs)
    device.end()


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 4), st.integers(0, 8))
def test_a_ring_given_up_in_flight_frees_nothing_that_is_still_used(seed, slots, submissions):
    device = ThreadDevice(seed, delay=0.004)
    program = ThresholdProgram(device, CARD, LIMITS)
    with Ring(device, program, slots) as ring:
        for _ in range(min(slots, submissions)):
            ring.submit(batch(np.random.default_rng(seed), 1)[0])
    program.close()
    assert device.held == 0
    for each in device.streams:
        each.work.join()
    assert [each.error for each in device.streams] == [None] * len(device.streams)
    device.end()


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 3), st.booleans(), st.integers(0, 2**16))
def test_a_failure_anywhere_on_the_device_is_what_the_user_sees(at, slots, refused, seed):
    device = ThreadDevice(seed, delay=0.0005, **({"refuses_at": at} if refused else {"fails_at": at}))
    image = np.random.default_rng(seed).integers(0, 200, (1, 1, 90, 70), dtype=np.uint8)
    before = None
    try:
        with runtime(device, slots=slots) as model:
            stream(ArraySource(image), plan_for(model, ArraySource(image).info.region), model, [lambda done: None])
    except DeviceFailure as error:
        before = error
    assert (before is not None) == (device.count >= at)
    assert device.held == 0
    device.end()


def runtime(device, limits=LIMITS, **options):
    return StreamedRuntime(
        Identity(CARD, "threshold on threads", ""),
        device,
        lambda limits: ThresholdProgram(device, CARD, limits, options.get("pixels", "uint8")),
        limits,
        **{"pixels": "uint8", **options},
    )


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 5), st.sampled_from(["uint8", "uint16", "float32"]))
def test_a_slide_through_the_whole_stream(seed, most, pixels):
    rng = np.random.default_rng(seed)
    high = 200 if pixels == "uint8" else 40_000
    image = rng.integers(0, high, (2, 1, 90, 70)).astype(pixels)
    device = ThreadDevice(seed, delay=0.0005)
    mask = np.full((2, 90, 70), 255, np.uint8)

    def consume(done):
        mask[(done.page, *done.tile.write.slices)] = done.labels

    with runtime(device, replace(LIMITS, batch=most), pixels=pixels) as model:
        source = ArraySource(image)
        scales = [grey(high / 2, 1e-2), grey(high / 3, 1e-3)]
        stream(source, plan_for(model, source.info.region), model, [consume], greys=dict(enumerate(scales)))
    for page, low, scale in ((0, high / 2, 1e-2), (1, high / 3, 1e-3)):
        np.testing.assert_array_equal(mask[page], truth(image[page, 0], low, scale))
    assert device.held == 0
    device.end()


@settings(max_examples=25)
@given(st.integers(100, 20_000), st.integers(1, 4), st.integers(1, 3))
def test_a_small_device_gets_smaller_submissions_and_never_holds_more_than_it_has(room, most, slots):
    image = np.random.default_rng(0).integers(0, 200, (1, 1, 90, 70), dtype=np.uint8)
    device, mask = ThreadDevice(delay=0, room=room), np.full((90, 70), 255, np.uint8)

    def consume(done):
        mask[done.tile.write.slices] = done.labels

    least = 144 + slots * (144 + 8 + 16)
    fits = room >= least
    with contextlib.nullcontext() if fits else pytest.raises(OutOfMemoryError, match="even for one tile of 12 x 12"):
        with runtime(device, replace(LIMITS, batch=most), slots=slots) as model:
            source = ArraySource(image)
            stream(source, plan_for(model, source.info.region), model, [consume], greys={0: grey()})
        np.testing.assert_array_equal(mask, truth(image[0, 0]))
    assert device.most_held <= room
    assert device.held == 0
    device.end()


def test_pixels_cross_the_bus_as_narrow_as_they_are():
    for dtypes, way in (
        (["uint8"], "uint8"),
        (["bool"], "uint8"),
        (["uint8", "uint16"], "uint16"),
        (["int16"], "float32"),
        (["uint32"], "float32"),
        (["float64", "uint8"], "float32"),
    ):
        assert pixels_for(*map(np.dtype, dtypes)) == way
    tile = np.array([[[0, 255, 256, 65535]]], np.uint16)
    pairs = encode(tile, "uint16", "engine")
    assert pairs.dtype == np.uint8
    np.testing.assert_array_equal(pairs[..., 0] + 256 * pairs[..., 1].astype(int), tile)
    with pytest.raises(UsageError, match=r"takes uint8 pixels, but the image has uint16; .* --pixels uint16"):
        encode(tile, "uint8", "engine")
