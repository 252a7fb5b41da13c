"""A call on a thread of its own, beside what its caller does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Unwanted(Exception):
    """Nobody waits for the answer any more."""


@contextmanager
def beside(call: Callable[[Callable[[], None]], T]) -> Iterator[Callable[[], T]]:
    """Begin a call; what is yielded waits for its answer, and raises what the call raised.

    call: is given a function to call now and then, which raises where the block has ended without the answer. The
    thread has ended when the block has.

    >>> with beside(lambda check: 6 * 7) as answer:
    ...     answer()
    42
    """
    answers, failures, is_over = list[T](), list[BaseException](), threading.Event()

    def check() -> None:
        if is_over.is_set():
            raise Unwanted

    def run() -> None:
        try:
            answers.append(call(check))
        except BaseException as error:  # it is raised where the answer is asked for
            failures.append(error)

    def answer() -> T:
        thread.join()
        if failures:
            raise failures[0]
        return answers[0]

    thread = threading.Thread(target=run, name="beside", daemon=True)
    thread.start()
    try:
        yield answer
    finally:
        is_over.set()
        thread.join()
