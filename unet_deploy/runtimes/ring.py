"""A ring of slots in flight on a device that works asynchronously.

Each slot has its own stream, pinned host buffers and device buffers; all slots share the program's compute stream.
While slot k computes, slot k + 1 copies in and slot k - 1 copies out:

    slot k's stream     copy in ─┐                ┌─ copy out
    compute stream               └─ wait, compute ┘

Nothing here knows CUDA: a device is anything with memory, streams and events of these semantics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from typing_extensions import Self

Shape = tuple[int, ...]


class Event(Protocol):
    """A point in a stream's work."""

    def wait(self) -> None:
        """Block until the stream has passed it. Raises what went wrong on the device."""


class Memory(Protocol):
    """A block on the device. Streams and programs take the blocks of their own device only."""

    address: int

    def free(self) -> None: ...


class Stream(Protocol):
    """Work in order, each call returning before it is done."""

    def upload(self, source: np.ndarray, target: Any) -> None:
        """Copy pinned host memory to the start of a device block."""

    def download(self, source: Any, target: np.ndarray) -> None:
        """Copy the start of a device block to pinned host memory."""

    def record(self) -> Event: ...

    def wait_for(self, event: Any) -> None:
        """Let later work of this stream wait for another stream."""

    def synchronize(self) -> None:
        """Block until all work is done. Raises what went wrong on the device."""


class Device(Protocol):
    """Where buffers and streams come from. All raise OutOfMemoryError when there is no more."""

    def pinned(self, size: int) -> np.ndarray:
        """(size,) uint8 of host memory that the device copies from and to by itself."""

    def memory(self, size: int) -> Memory: ...

    def stream(self) -> Stream: ...


@dataclass(frozen=True)
class Port:
    """An input or output of a program: most is the largest shape of a submission, tiles first."""

    dtype: np.dtype
    most: Shape

    @property
    def size(self) -> int:
        """Bytes of the largest submission."""
        return int(np.prod(self.most)) * self.dtype.itemsize


class Program(Protocol):
    """A compiled network, ready on a device."""

    fixed: bool
    """Whether every submission has the largest shape."""

    @property
    def inputs(self) -> Mapping[str, Port]: ...

    @property
    def outputs(self) -> Mapping[str, Port]: ...

    @property
    def stream(self) -> Stream:
        """Where it computes."""

    def output_shapes(self, inputs: Mapping[str, Shape]) -> Mapping[str, Shape]: ...

    def launch(self, slot: int, shapes: Mapping[str, Shape], blocks: Mapping[str, Any]) -> None:
        """Start computing on its stream; a slot always comes with the same blocks."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Marks:
    """Points in the flight of one submission."""

    begun: Event
    uploaded: Event
    launched: Event
    computed: Event
    downloaded: Event


@dataclass
class Ticket:
    """One submission in flight."""

    slot: Slot
    shapes: dict[str, Shape]
    tiles: int
    marks: Marks


@dataclass
class Slot:
    """What one submission needs; made once, used again and again."""

    index: int
    stream: Stream
    host: dict[str, np.ndarray] = field(default_factory=dict)
    blocks: dict[str, Memory] = field(default_factory=dict)

    def view(self, name: str, port: Port, shape: Shape) -> np.ndarray:
        """The start of a host buffer as an array of this shape."""
        size = int(np.prod(shape)) * port.dtype.itemsize
        return self.host[name][:size].view(port.dtype).reshape(shape)


class Ring:
    """Keeps `slots` submissions in flight. A context manager; it owns its buffers, not the program.

    Raises OutOfMemoryError when the device has no room for the slots' buffers; none is then held.
    """

    def __init__(self, device: Device, program: Program, slots: int) -> None:
        self._program = program
        self._ports = {**program.inputs, **program.outputs}
        self._slots: list[Slot] = []
        self._free: deque[Slot] = deque()
        self._flying: deque[Ticket] = deque()
        self._broken = False
        try:
            for index in range(slots):
                slot = Slot(index, device.stream())
                self._slots.append(slot)
                for name, port in self._ports.items():
                    slot.host[name] = device.pinned(port.size)
                    slot.blocks[name] = device.memory(port.size)
        except BaseException:
            self.close()
            raise
        self._free.extend(self._slots)

    def submit(self, inputs: Mapping[str, Sequence[np.ndarray]]) -> Ticket:
        """Start on a batch: for each input one array a tile. Returns before the device is done.

        Raises RuntimeError when all slots fly: fetch a result first. After an error only `close` is left.
        """
        if self._broken:
            raise RuntimeError("an earlier submission failed; close the ring")
        if not self._free:
            raise RuntimeError(f"all {len(self._slots)} slots are in flight; fetch a result before the next submission")
        self._broken = True
        ticket = self._start(self._free[0], inputs)
        self._broken = False
        self._free.popleft()
        self._flying.append(ticket)
        return ticket

    def _start(self, slot: Slot, inputs: Mapping[str, Sequence[np.ndarray]]) -> Ticket:
        program, stream = self._program, slot.stream
        tiles = len(next(iter(inputs.values())))
        shapes: dict[str, Shape] = {}
        sources = {}
        for name, arrays in inputs.items():
            port = program.inputs[name]
            # A program of fixed shapes computes whatever lies in the places that are left over.
            shapes[name] = port.most if program.fixed else (tiles, *arrays[0].shape)
            sources[name] = slot.view(name, port, shapes[name])
            for place, array in zip(sources[name], arrays, strict=False):
                place[...] = array
        begun = stream.record()
        for name, source in sources.items():
            stream.upload(source, slot.blocks[name])
        uploaded = stream.record()
        program.stream.wait_for(uploaded)
        launched = program.stream.record()
        program.launch(slot.index, shapes, slot.blocks)
        computed = program.stream.record()
        stream.wait_for(computed)
        outputs = dict(program.output_shapes(shapes))
        for name, shape in outputs.items():
            stream.download(slot.blocks[name], slot.view(name, program.outputs[name], shape))
        return Ticket(slot, outputs, tiles, Marks(begun, uploaded, launched, computed, stream.record()))

    def result(self, ticket: Ticket) -> dict[str, np.ndarray]:
        """Wait for the oldest ticket; its outputs, one row a tile, copied out of the slot."""
        if not self._flying or self._flying[0] is not ticket:
            raise RuntimeError("tickets are redeemed once, in the order they were given")
        ticket.marks.downloaded.wait()
        answer = {
            name: ticket.slot.view(name, self._program.outputs[name], shape)[: ticket.tiles].copy()
            for name, shape in ticket.shapes.items()
        }
        self._flying.popleft()
        self._free.append(ticket.slot)
        return answer

    def close(self) -> None:
        """Wait until nothing of it runs on the device, then free what it holds."""
        for slot in self._slots:
            # The error that a stream reports here has been raised by a result, or its submission was given up.
            for stream in (self._program.stream, slot.stream):
                with suppress(Exception):
                    stream.synchronize()
        for slot in self._slots:
            for block in slot.blocks.values():
                block.free()
            slot.blocks.clear()
            slot.host.clear()
        self._slots = []
        self._free, self._flying = deque(), deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
