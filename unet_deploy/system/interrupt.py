"""Ctrl-C at a moment of our choosing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def ignore_interrupts() -> None:
    """Let Ctrl-C do nothing to this process from now on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def held_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back, so that it never cuts a step in two; yield a function that tells whether it came.

    A second Ctrl-C acts at once. Off the main thread, where signals do not arrive, it does nothing.
    """
    came: list[int] = []

    def hold(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
