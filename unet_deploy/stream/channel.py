"""A bounded queue between two threads. Where they meet, nothing else is shared."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The other end of a channel has failed."""


class Channel(Generic[T]):
    """A bounded queue with an end: `close` lets the reader finish, `stop` makes both ends raise Stopped.

    Without a capacity it takes what comes, for two ends on one thread.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity = math.inf if capacity is None else capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False

    def put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            if self._stopped:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._closed or self._items)
                if self._stopped:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()
