"""Work that answers requests: a few at once in threads, a bounded number waiting, none for who has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")


class Busy(Exception):
    """More work waits than is taken on."""


class Left(Exception):
    """Who asked has hung up before it was their turn."""


class Lanes:
    """Does blocking work for an event loop. lanes: so much at once. most_waiting: so many more are taken on."""

    def __init__(self, lanes: int, most_waiting: int) -> None:
        self._free = asyncio.Semaphore(lanes)
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="view")
        self._waiting, self._most_waiting = 0, most_waiting

    async def do(self, work: Callable[[], Answer], has_left: Callable[[], Awaitable[bool]]) -> Answer:
        """Do work when it is its turn, and return its answer. Raises Busy, Left, and what the work raises.

        has_left: whether who asked has hung up, asked when it is their turn.
        """
        if self._waiting >= self._most_waiting:
            raise Busy
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            if await has_left():
                raise Left
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._free.release()

    def close(self) -> None:
        """Take on nothing more; what is being done ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
