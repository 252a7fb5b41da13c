"""A runtime over a ring: tiles become what a program takes, and its outputs become answers.

All threads share the ring's slots. Where all are in flight, whoever submits next lands the oldest submission, whose
answer then waits for its owner: nobody waits for a thread that may itself be waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import DeviceError, UsageError, reason
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE, Pixels
from unet_deploy.runtimes import Answer, Identity, Limits, OutOfMemoryError, narrow
from unet_deploy.runtimes.ring import Device, Marks, Port, Program, Ring, Shape, Ticket

SLOTS = 3
"""Submissions in flight: one copies in, one computes, one copies out."""


class ActiveDevice(Device, Protocol):
    """A device that must be made current on a thread before its calls."""

    def active(self) -> AbstractContextManager[None]: ...

    def free_memory(self) -> int: ...

    def close(self) -> None: ...


@dataclass
class Submission:
    """What `submit` gives. It is in flight, or has landed, or its answer was fetched, or it was given up."""

    flight: Ticket | None
    answer: Answer | None = None
    given_up: bool = False
    """Whether the runtime was made smaller, or closed, before it had landed."""


class StreamedRuntime:
    """A Runtime on a device that works asynchronously.

    device: owned by the runtime from now on, and closed with it.
    open_program: makes the program for submissions within these limits. Where the device's memory is too short for
    it or for the slots, the limits are halved until it is enough.
    Raises OutOfMemoryError when one smallest tile is too large, and what open_program raises.
    """

    def __init__(
        self,
        identity: Identity,
        device: ActiveDevice,
        open_program: Callable[[Limits], Program],
        limits: Limits,
        *,
        pixels: Pixels,
        probabilities: bool = False,
        slots: int = SLOTS,
    ) -> None:
        self.card, self.name, self.fingerprint = identity.card, identity.name, identity.fingerprint
        self.limits, self.probabilities, self.pixels, self.slots = limits, probabilities, pixels, slots
        self.watch: Callable[[Marks], None] | None = None
        """Told the marks of every submission that is done, where one wants to know."""
        self._device, self._open = device, open_program
        self._grey_inputs = self.card.normalization.method == "percentile"
        self._closed = False
        self._turn = threading.Lock()
        self._in_flight: deque[Submission] = deque()
        self._program: Program | None = None
        self._ring: Ring | None = None
        self._failure: Exception | None = None
        """What broke the ring for all threads; None again once it was made anew."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        while True:
            try:
                with self._device.active():
                    self._program = self._open(self.limits)
                    self._ring = Ring(self._device, self._program, self.slots)
                return
            except OutOfMemoryError:
                self._stop()
                self.limits = self.limits.halved(self.card)

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Submission:
        inputs: dict[str, Sequence[np.ndarray]] = {IMAGE: [encode(tile, self.pixels, self.name) for tile in tiles]}
        if self._grey_inputs:
            inputs |= {OFFSET: [grey.offset for grey in greys], SCALE: [grey.scale for grey in greys]}
        with self._turn:
            ring = self._ready()
            self._check_fits(tiles)
            try:
                with self._device.active():
                    while len(self._in_flight) >= self.slots:
                        self._land_oldest(ring)
                    submission = Submission(ring.submit(inputs))
            except Exception as error:
                self._failure = error
                raise
            self._in_flight.append(submission)
            return submission

    def _ready(self) -> Ring:
        """The ring. Raises UsageError where it was closed, and what broke it on whatever thread."""
        self._check_open()
        if self._ring is None:  # another thread found no room even for the smallest
            raise OutOfMemoryError(f"{self.name}: the device is out of memory; free some")
        if isinstance(self._failure, OutOfMemoryError):
            raise OutOfMemoryError(str(self._failure))
        if self._failure:
            raise DeviceError(f"{self.name}: failed before ({reason(self._failure)}); open the model again")
        return self._ring

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.name}: this model was closed; open it again")

    def _check_fits(self, tiles: Sequence[np.ndarray]) -> None:
        """Raise OutOfMemoryError for what was made to larger limits, which another thread has lowered since."""
        height, width = tiles[0].shape[1:]
        tallest, widest = self.limits.most
        if len(tiles) > self.limits.batch or height > tallest or width > widest:
            raise OutOfMemoryError(f"{self.name}: no room for {len(tiles)} tiles of {height} x {width} pixels")

    def result(self, submission: Submission) -> Answer:
        with self._device.active():
            self._wait(submission)
            with self._turn:
                while submission.flight:
                    self._land_oldest(self._ready())
        if submission.given_up:
            raise OutOfMemoryError(f"{self.name}: memory was short while this was in flight; submit it again")
        if submission.answer is None:
            raise RuntimeError("a ticket is redeemed once")
        answer, submission.answer = submission.answer, None
        return answer

    def _wait(self, submission: Submission) -> None:
        """Wait until the device is done with it, while other threads may submit."""
        with self._turn:
            downloaded = submission.flight.marks.downloaded if submission.flight else None
        if downloaded:
            downloaded.wait()

    def _land_oldest(self, ring: Ring) -> None:
        """Copy the oldest submission's answer out of its slot, for the thread that will ask for it."""
        submission = self._in_flight[0]
        assert submission.flight is not None
        outputs = ring.result(submission.flight)
        self._in_flight.popleft()
        if self.watch:
            self.watch(submission.flight.marks)
        submission.flight = None  # its events can only be freed where the device is current, which it is here
        submission.answer = Answer(outputs[LABELS], outputs.get(PROBABILITIES))

    def memory(self, height: int, width: int) -> int | None:
        return 0  # its buffers were taken when it was opened

    def free_memory(self) -> int:
        """Bytes of the device that all processes leave free now."""
        with self._device.active():
            return self._device.free_memory()

    def shrink(self, below: Limits) -> None:
        with self._turn:
            self._check_open()
            if self.limits != below:
                return
            self._stop()
            try:
                self.limits = below.halved(self.card)
            finally:
                self._start()  # at the least, too: other threads, and smaller images, may still be served

    def _stop(self) -> None:
        with self._device.active():
            if self._ring:
                self._ring.close()
            if self._program:
                self._program.close()
            self._ring = self._program = self._failure = None
            for submission in self._in_flight:
                submission.flight, submission.given_up = None, True
            self._in_flight.clear()

    def close(self) -> None:
        with self._turn:
            if not self._closed:
                self._stop()
                self._device.close()
                self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def encode(tile: np.ndarray, pixels: Pixels, name: str) -> np.ndarray:
    """A tile (C, h, w) as it crosses the bus; 16-bit pixels as (C, h, w, 2) bytes. Raises UsageError as `narrow`."""
    taken = narrow(tile, pixels, name)
    if pixels != "uint16":
        return taken
    return np.ascontiguousarray(taken, "<u2").view(np.uint8).reshape(*tile.shape, 2)


def buffer_ports(
    card: ModelCard, limits: Limits, pixels: Pixels, *, probabilities: bool
) -> tuple[dict[str, Port], dict[str, Port]]:
    """Inputs and outputs of a program within these limits, with the largest shapes of their buffers."""
    batch, (height, width) = limits.batch, limits.most
    shape: Shape = (batch, card.channels, height, width)
    inputs = {IMAGE: Port(np.dtype(np.float32), shape)}
    if pixels != "float32":
        inputs[IMAGE] = Port(np.dtype(np.uint8), (*shape, 2) if pixels == "uint16" else shape)
    if card.normalization.method == "percentile":
        inputs |= {name: Port(np.dtype(np.float32), (batch, card.channels)) for name in (OFFSET, SCALE)}
    types: dict[str, np.dtype] = {LABELS: np.dtype(np.uint8), PROBABILITIES: np.dtype(np.float32)}
    shapes = output_shapes(card, shape, probabilities=probabilities)
    outputs = {name: Port(types[name], most) for name, most in shapes.items()}
    return inputs, outputs


def output_shapes(card: ModelCard, image: Shape, *, probabilities: bool) -> dict[str, Shape]:
    """Shapes of the outputs for an image input of this shape."""
    height, width = image[2] - 2 * card.margin, image[3] - 2 * card.margin
    shapes: dict[str, Shape] = {LABELS: (image[0], height, width)}
    if probabilities:
        shapes[PROBABILITIES] = (image[0], len(card.classes), height, width)
    return shapes
