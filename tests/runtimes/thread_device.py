"""A device that really works asynchronously, on the CPU: each stream is a thread that takes its time.

It keeps CUDA's promises and no more: a call returns before its work is done, streams are ordered within themselves and
across only by events, an error comes out at the next wait, and memory that is freed too early is seen.
"""

import queue
import random
import threading
import time
from contextlib import contextmanager

import numpy as np

from unet_deploy.model.contract import LABELS
from unet_deploy.runtimes import OutOfMemoryError
from unet_deploy.runtimes.streamed import buffer_ports, output_shapes


class DeviceFailure(RuntimeError):
    """What went wrong on the device."""


class ThreadEvent:
    def __init__(self, stream):
        self.stream, self.passed, self.time = stream, threading.Event(), None

    def pass_by(self):
        self.time = time.perf_counter()
        self.passed.set()

    def seconds_since(self, earlier):
        return self.time - earlier.time

    def wait(self):
        assert self.passed.wait(20), "a stream hangs"
        self.stream.check()


class ThreadMemory:
    def __init__(self, device, size):
        self.device, self.data = device, np.full(size, 0xAA, np.uint8)
        self.address = self.data.ctypes.data

    def free(self):
        assert self.data is not None, "freed twice"
        self.device.held -= self.data.size
        self.data = None


class ThreadStream:
    def __init__(self, device):
        self.device, self.work, self.error = device, queue.Queue(), None
        threading.Thread(target=self._run, name="device-stream", daemon=True).start()

    def _run(self):
        while (task := self.work.get()) is not None:
            time.sleep(self.device.chance.random() * self.device.delay)
            try:
                task()
            except BaseException as error:
                self.error = self.error or error
            self.work.task_done()
        self.work.task_done()

    def check(self):
        if self.error:
            raise self.error

    def do(self, task):
        self.device.count += 1
        if self.device.count == self.device.refuses_at:
            raise DeviceFailure("the call was refused")
        if self.device.count == self.device.fails_at:

            def task():
                raise DeviceFailure("the device failed")

        self.work.put(task)

    def upload(self, source, target):
        def copy():
            target.data[: source.nbytes] = source.reshape(-1).view(np.uint8)

        self.do(copy)

    def download(self, source, target):
        def copy():
            target.reshape(-1).view(np.uint8)[:] = source.data[: target.nbytes]

        self.do(copy)

    def record(self):
        event = ThreadEvent(self)
        self.work.put(event.pass_by)
        return event

    def wait_for(self, event):
        def wait():
            event.passed.wait(20)
            event.stream.check()  # work after a failed wait never runs on good data

        self.work.put(wait)

    def synchronize(self):
        self.work.join()
        self.check()


class ThreadDevice:
    def __init__(self, seed=0, delay=0.002, room=1 << 30, fails_at=None, refuses_at=None):
        self.chance, self.delay, self.room = random.Random(seed), delay, room
        self.fails_at, self.refuses_at = fails_at, refuses_at
        self.count = self.held = self.most_held = 0
        self.streams = []

    def pinned(self, size):
        return np.full(size, 0x55, np.uint8)

    def memory(self, size):
        if self.held + size > self.room:
            raise OutOfMemoryError("the device is full")
        self.held += size
        self.most_held = max(self.most_held, self.held)
        return ThreadMemory(self, size)

    def stream(self):
        self.streams.append(ThreadStream(self))
        return self.streams[-1]

    @contextmanager
    def active(self):
        yield

    def free_memory(self):
        return self.room - self.held

    def close(self):
        assert self.held == 0, "closed while memory is held"

    def end(self):
        for stream in self.streams:
            stream.work.put(None)


class ThresholdProgram:
    """`(pixel - offset) * scale > 1`, without the margin; needs as much scratch memory as its largest input."""

    def __init__(self, device, card, limits, pixels="uint8", fixed=False):
        self.device, self.card, self.fixed = device, card, fixed
        self.inputs, self.outputs = buffer_ports(card, limits, pixels, probabilities=False)
        self.stream = device.stream()
        self.scratch = device.memory(self.inputs["image"].size)
        self.running = 0

    def output_shapes(self, inputs):
        return output_shapes(self.card, inputs["image"], probabilities=False)

    def launch(self, slot, shapes, blocks):
        def compute():
            self.running += 1
            assert self.running == 1, "two submissions share the scratch memory"

            def array(name):
                size = int(np.prod(shapes[name])) * self.inputs[name].dtype.itemsize
                return blocks[name].data[:size].view(self.inputs[name].dtype).reshape(shapes[name])

            image, offset, scale = (array(name) for name in ("image", "offset", "scale"))
            if image.ndim == 5:
                image = image[..., 0] + 256.0 * image[..., 1]
            m = self.card.margin
            grey = (image - offset[:, :, None, None]) * scale[:, :, None, None]
            labels = (grey[:, 0, m:-m, m:-m] > 1).astype(np.uint8)
            blocks[LABELS].data[: labels.size] = labels.reshape(-1)
            self.running -= 1

        self.put(compute)

    def put(self, compute):
        self.stream.do(compute)

    def close(self):
        self.scratch.free()
