"""How long something takes that is done again and again."""

from __future__ import annotations

import time


class Stopwatch:
    """Adds up the seconds of the blocks that it is around.

    >>> watch = Stopwatch()
    >>> with watch:
    ...     pass
    >>> 0 <= watch.seconds < 1
    True
    """

    def __init__(self) -> None:
        self.seconds, self._began = 0.0, 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._began
