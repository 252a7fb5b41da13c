"""The room of CUDA and the ring on the emulated driver: what they promise, and that a broken promise would be seen.

Run by tests/runtimes/test_emulated_cuda.py in a process of its own, once for each binding.
"""

import contextlib
import ctypes
import gc
import itertools
import os
import sys
import threading
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

if os.environ.get("EMULATED_CUDA_WITHOUT"):
    sys.modules[os.environ["EMULATED_CUDA_WITHOUT"]] = None

import numpy as np
import pytest
from runtimes.test_ring import CARD, LIMITS, batch, grey, truth
from runtimes.thread_device import ThresholdProgram

from unet_deploy.errors import DeviceError
from unet_deploy.images.array import ArraySource
from unet_deploy.runtimes import Identity, OutOfMemoryError
from unet_deploy.runtimes.cuda.device import CudaDevice, cuda
from unet_deploy.runtimes.cuda.graph import CudaGraph
from unet_deploy.runtimes.ring import Ring
from unet_deploy.runtimes.streamed import StreamedRuntime
from unet_deploy.stream.pipeline import stream
from unet_deploy.stream.planner import plan_for
from unet_deploy.system.gpu import find_gpus

DRIVER = ctypes.CDLL("libcuda.so.1")
DRIVER.emulated_memory.restype = ctypes.c_void_p
DRIVER.emulated_memory.argtypes = ctypes.c_uint64, ctypes.c_size_t
DRIVER.emulated_room.argtypes = (ctypes.c_uint64,)
WAITING, NUMBERS = {}, itertools.count(1)
NEW_HOST, NEW_DEVICE = 0xA5, 0xD5
SLOW = 20_000


def held():
    """What nobody gave back."""
    gc.collect()
    counts = (ctypes.c_uint64 * 6)()
    DRIVER.emulated_held(counts)
    return dict(zip(("device", "pinned", "streams", "events", "graphs", "contexts"), counts, strict=True))


@pytest.fixture(autouse=True)
def driver():
    """The driver as it is after a start; what is made in a test is given back at its end."""
    DRIVER.emulated_mend()
    DRIVER.emulated_delay(300)
    DRIVER.emulated_room(1 << 30)
    yield
    WAITING.clear()
    assert not any(held().values()), held()


@pytest.fixture
def device():
    made = CudaDevice(0)
    with made.active():
        yield made
        gc.collect()
    made.close()


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def kernel(number):
    """What stands for a kernel: it computes what waits under this number, on the thread of its stream."""
    with contextlib.suppress(KeyError, TypeError):  # of a test before this one, or memory that is not there any more
        WAITING.pop(number)()


class Reached:
    """A block of device memory as a kernel sees it, once it runs."""

    def __init__(self, block, size):
        self.block, self.size = block, size

    @cached_property
    def data(self):
        where = DRIVER.emulated_memory(self.block.address, self.size)
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.size).from_address(where))


class EmulatedProgram(ThresholdProgram):
    """The same threshold by a kernel of the emulated driver."""

    def __init__(self, device, card, limits, pixels="uint8", fixed=False):
        super().__init__(device, card, limits, pixels, fixed)
        self.ports = self.inputs | self.outputs

    def launch(self, slot, shapes, blocks):
        reached = {name: Reached(block, self.ports[name].size) for name, block in blocks.items()}
        super().launch(slot, shapes, reached)

    def put(self, compute):
        number = next(NUMBERS)
        WAITING[number] = compute
        if status := DRIVER.cuLaunchHostFunc(ctypes.c_void_p(self.stream.handle), kernel, ctypes.c_void_p(number)):
            raise DeviceError(f"no launch: {'illegal memory access' if status == 700 else status}")


def runtime(device, limits=LIMITS, **options):
    return StreamedRuntime(
        Identity(CARD, "threshold on an emulated GPU", ""),
        device,
        lambda limits: EmulatedProgram(device, CARD, limits),
        limits,
        pixels="uint8",
        **options,
    )


# -- the room of CUDA ------------------------------------------------------------------------------------------------


def test_the_binding_is_the_one_that_is_meant():
    assert cuda.__name__ == os.environ["EMULATED_CUDA_BINDING"]


def test_the_emulated_gpu_is_found():
    (found,) = find_gpus()
    assert (found.name, found.capability, found.driver) == ("Emulated GPU", "8.9", "13.0")


def test_a_copy_has_happened_when_its_event_has_passed_and_not_before(device):
    DRIVER.emulated_delay(SLOW)
    there, back, block, queue = device.pinned(100), device.pinned(100), device.memory(100), device.stream()
    there[:] = np.arange(100)
    queue.upload(there[:60], block)
    queue.download(block, back)
    event = queue.record()
    assert (back == NEW_HOST).all()
    event.wait()
    np.testing.assert_array_equal(back, [*range(60), *[NEW_DEVICE] * 40])
    block.free()


def test_what_waits_for_the_gpu_lets_other_threads_run(device):
    DRIVER.emulated_delay(10 * SLOW)
    host, block, queue = device.pinned(10), device.memory(10), device.stream()
    for wait in (lambda: queue.record().wait(), queue.synchronize):
        queue.upload(host, block)
        turns = []
        other = threading.Thread(target=lambda turns=turns: [turns.append(time.sleep(0.001)) for _ in range(10)])
        other.start()
        wait()
        assert len(turns) == 10
        other.join()
    block.free()


def test_streams_wait_for_each_other_where_they_are_told_to_and_only_there(device):
    DRIVER.emulated_delay(SLOW)
    one, other, block = device.stream(), device.stream(), device.memory(100)
    full, early, late = device.pinned(100), device.pinned(100), device.pinned(100)
    full[:] = 7
    for _ in range(5):
        one.upload(full, block)
    other.download(block, early)
    other.wait_for(one.record())
    other.download(block, late)
    other.synchronize()
    assert (late == 7).all()
    block.free()


def test_memory_that_the_gpu_does_not_reach_is_copied_before_the_call_returns(device):
    DRIVER.emulated_delay(SLOW)
    block, queue, back = device.memory(10), device.stream(), np.zeros(10, np.uint8)
    source = np.full(10, 3, np.uint8)
    queue.upload(source, block)
    source[:] = 4
    queue.download(block, back)
    assert (back == 3).all()
    block.free()


def test_an_array_with_gaps_is_refused(device):
    block, queue = device.memory(100), device.stream()
    with pytest.raises((DeviceError, ValueError, TypeError)):
        queue.upload(device.pinned(200)[::2], block)
    block.free()


def test_the_time_between_events_is_the_gpus(device):
    DRIVER.emulated_delay(SLOW)
    host, block, queue = device.pinned(10), device.memory(10), device.stream()
    begun = queue.record()
    queue.upload(host, block)
    done = queue.record()
    done.wait()
    assert SLOW / 4e6 < done.seconds_since(begun) < 10
    block.free()


def test_a_gpu_that_is_full_says_so(device):
    DRIVER.emulated_room(1000)
    block = device.memory(600)
    assert device.free_memory() == 400
    with pytest.raises(OutOfMemoryError, match="no room for 401 bytes of GPU memory"):
        device.memory(401)
    block.free()
    assert device.free_memory() == 1000


def test_a_fault_is_what_every_later_call_says_and_giving_back_says_nothing(device):
    host, block, queue = device.pinned(10), device.memory(10), device.stream()
    DRIVER.emulated_fail_in(1)
    queue.upload(host, block)
    event = queue.record()
    for call in (event.wait, queue.synchronize, lambda: device.memory(1), lambda: queue.upload(host, block)):
        with pytest.raises(DeviceError, match=r"illegal memory access|illegal address"):
            call()
    block.free()
    DRIVER.emulated_mend()
    if held()["device"]:  # the driver refused to free it, and a new process would be needed
        assert not DRIVER.cuMemFree_v2(ctypes.c_uint64(block.address))


def test_nothing_works_where_the_device_is_not_active():
    made = CudaDevice(0)
    with pytest.raises(DeviceError):
        made.memory(10)
    made.close()


def test_a_buffer_may_outlive_its_device():
    made = CudaDevice(0)
    with made.active():
        buffer, queue = made.pinned(10), made.stream()
    made.close()
    buffer[:] = 1
    del buffer, queue
    if cuda.__name__.endswith(".pycuda"):  # which leaves them to the end of the process
        DRIVER.emulated_forget()


def test_a_device_is_closed_on_any_thread_and_leaves_no_context_behind():
    for close_on in (lambda close: close(), on_another_thread):
        made = CudaDevice(0)
        with made.active():
            made.memory(10).free()
        close_on(made.close)
        context = ctypes.c_void_p()
        DRIVER.cuCtxGetCurrent(ctypes.byref(context))
        assert context.value is None
        assert held()["contexts"] == 0


def on_another_thread(work):
    other = threading.Thread(target=work)
    other.start()
    other.join()


def test_two_devices_share_the_primary_context_with_whoever_else_uses_it(device):
    other = CudaDevice(0)
    with other.active():
        block = other.memory(10)
    assert held()["contexts"] == 2
    block.free()
    other.close()
    assert held()["contexts"] == 1


def test_a_call_that_an_older_driver_lacks_is_said_with_what_to_do():
    nvidia = pytest.importorskip("unet_deploy.runtimes.cuda.nvidia")
    with pytest.raises(nvidia.Error, match=r"cuCtxSynchronize.*; update the GPU's driver, or install an older"):
        nvidia._ask(nvidia.driver.cuCtxSynchronize)


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_a_graph_does_again_what_was_captured(device):
    there, back, block, queue = device.pinned(10), device.pinned(10), device.memory(10), device.stream()

    def work():
        queue.upload(there, block)
        queue.download(block, back)

    graph = CudaGraph(queue, work)
    queue.synchronize()
    assert (back == NEW_HOST).all()  # captured is not done
    for value in (1, 2):
        there[:] = value
        graph.launch()
        queue.synchronize()
        assert (back == value).all()
    graph.close()
    block.free()


def test_what_other_threads_do_does_not_spoil_a_capture(device):
    queue, blocks = device.stream(), []

    def elsewhere():
        with device.active():
            blocks.append(device.memory(10))

    CudaGraph(queue, lambda: on_another_thread(elsewhere)).close()
    blocks[0].free()


def test_what_fails_in_a_capture_is_what_the_user_sees_and_leaves_nothing(device):
    queue = device.stream()

    def work():
        raise OutOfMemoryError("no room for the scratch memory")

    with pytest.raises(OutOfMemoryError, match="scratch"):
        CudaGraph(queue, work)
    with pytest.raises(DeviceError):  # what a capture forbids
        CudaGraph(queue, lambda: device.memory(10))
    queue.synchronize()


# -- the ring --------------------------------------------------------------------------------------------------------


def answers(device, ring_type=Ring, wrap=lambda device: device, program_type=EmulatedProgram, submissions=12):
    """Answers of a ring, and what they should be."""
    rng, program = np.random.default_rng(0), program_type(wrap(device), CARD, replace(LIMITS, batch=3))
    in_flight, landed = [], []
    try:
        with ring_type(wrap(device), program, 3) as ring:
            for _ in range(submissions):
                inputs, expected = batch(rng, int(rng.integers(1, 4)), int(rng.choice([12, 20, 28])))
                if len(in_flight) == 3:
                    ticket, answer = in_flight.pop(0)
                    landed.append((ring.result(ticket)["labels"], answer))
                in_flight.append((ring.submit(inputs), expected))
            landed += [(ring.result(ticket)["labels"], answer) for ticket, answer in in_flight]
            DRIVER.emulated_drain()  # what nobody waits for must not meet memory that is freed below
    finally:
        in_flight.clear()
        program.close()
    return landed


@pytest.mark.parametrize("delay", [0, 200, 2000])
def test_answers_are_right_and_in_order_however_the_streams_run(device, delay):
    DRIVER.emulated_delay(delay)
    for answer, expected in answers(device):
        np.testing.assert_array_equal(answer, expected)


def test_a_ring_given_up_in_flight_frees_nothing_that_is_still_used(device):
    DRIVER.emulated_delay(SLOW)
    program = EmulatedProgram(device, CARD, LIMITS)
    with Ring(device, program, 3) as ring:
        for _ in range(3):
            ring.submit(batch(np.random.default_rng(0), 1)[0])
    program.close()
    device.stream().synchronize()  # raises what went wrong


def test_a_slide_through_the_whole_stream():
    image = np.random.default_rng(0).integers(0, 200, (1, 1, 90, 70), dtype=np.uint8)
    mask = np.full((90, 70), 255, np.uint8)

    def consume(done):
        mask[done.tile.write.slices] = done.labels

    with runtime(CudaDevice(0), replace(LIMITS, batch=4)) as model:
        source = ArraySource(image)
        stream(source, plan_for(model, source.info.region), model, [consume], greys={0: grey()})
    np.testing.assert_array_equal(mask, truth(image[0, 0]))


def test_a_gpu_with_little_memory_gets_half_the_batch_until_it_fits():
    DRIVER.emulated_room(6000)
    image = np.random.default_rng(0).integers(0, 200, (1, 1, 90, 70), dtype=np.uint8)
    mask = np.full((90, 70), 255, np.uint8)

    def consume(done):
        mask[done.tile.write.slices] = done.labels

    with runtime(CudaDevice(0), replace(LIMITS, batch=4)) as model:
        assert model.limits.batch == 1
        source = ArraySource(image)
        stream(source, plan_for(model, source.info.region), model, [consume], greys={0: grey()})
    np.testing.assert_array_equal(mask, truth(image[0, 0]))


def submit_often(model, tiles):
    for _ in range(5):
        model.result(model.submit(tiles, [grey()]))


@pytest.mark.parametrize("at", [1, 4, 13])
def test_a_fault_is_said_once_in_words_and_the_runtime_is_closed(at):
    inputs = np.zeros((1, 28, 28), np.uint8)
    made = CudaDevice(0)
    model = runtime(made)
    DRIVER.emulated_fail_in(at)
    with pytest.raises(DeviceError, match=r"illegal memory access|illegal address"):
        submit_often(model, [inputs])
    with pytest.raises(DeviceError):
        model.submit([inputs], [grey()])
    model.close()
    del model
    DRIVER.emulated_forget()


def test_a_call_that_is_refused_is_said_and_nothing_is_held_afterwards():
    with runtime(CudaDevice(0)) as model:
        DRIVER.emulated_refuse_in(3)
        with pytest.raises(DeviceError):
            model.submit([np.zeros((1, 28, 28), np.uint8)], [grey()])


# -- promises that are broken would be seen --------------------------------------------------------------------------


class Wrapped:
    """All that it wraps, but for what a subclass forgets."""

    def __init__(self, wrapped):
        self._wrapped = wrapped

    def __getattr__(self, name):
        return getattr(self._wrapped, name)


class ForgetsToWait(Wrapped):
    """A device whose streams do not wait for each other."""

    def stream(self):
        made = Wrapped(self._wrapped.stream())
        made.wait_for = lambda event: None
        return made


class NeverWaits(Wrapped):
    """A device whose events are said to have passed at once."""

    def stream(self):
        made = Wrapped(self._wrapped.stream())
        made.record = lambda: SimpleNamespace(wait=lambda: None, event=made._wrapped.record().event)
        return made


class UsesASlotTwice(Ring):
    """A ring that gives a slot to the next submission while the last one flies."""

    def submit(self, inputs):
        ticket = super().submit(inputs)
        self._free.appendleft(ticket.slot)
        return ticket

    def result(self, ticket):
        answer = super().result(ticket)
        self._free.pop()
        return answer


class FreesInFlight(Ring):
    """A ring that does not wait for the device before it frees."""

    def close(self):
        for slot in self._slots:
            for block in slot.blocks.values():
                block.free()
            slot.blocks.clear()
        super().close()


class LaunchesTooEarly(EmulatedProgram):
    """A program that computes on a stream which nobody told to wait."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.own, self.stream = self.stream, self.device.stream()

    def put(self, compute):
        self.stream, told = self.own, self.stream
        super().put(compute)
        self.stream = told


@pytest.mark.parametrize(
    ("forgotten", "options"),
    [
        ("streams that wait for each other", {"wrap": ForgetsToWait}),
        ("to wait for the copy out", {"wrap": NeverWaits}),
        ("that a slot is in flight", {"ring_type": UsesASlotTwice}),
        ("to compute after the copy in", {"program_type": LaunchesTooEarly}),
    ],
)
def test_answers_are_wrong_where_it_is_forgotten(device, forgotten, options):
    DRIVER.emulated_delay(2000)
    wrong = [not np.array_equal(*pair) for pair in answers(device, **options)]
    assert any(wrong), forgotten


def test_memory_freed_in_flight_is_a_fault(device):
    DRIVER.emulated_delay(SLOW)
    program = EmulatedProgram(device, CARD, LIMITS)
    with FreesInFlight(device, program, 1) as ring:
        ring.submit(batch(np.random.default_rng(0), 1)[0])
    queue = program.stream
    with pytest.raises(DeviceError, match=r"illegal memory access|illegal address"):
        queue.synchronize()
    DRIVER.emulated_mend()
    program.close()
    del ring, program, queue
    gc.collect()
    DRIVER.emulated_forget()


# -- the benchmark for a GPU -----------------------------------------------------------------------------------------


def test_the_benchmark_measures_copies_through_the_same_room():
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "gpu"))
    from everything import pinned_against_pageable

    DRIVER.emulated_delay(0)
    assert pinned_against_pageable(0)["pinned_gb_per_s"].median > 0
