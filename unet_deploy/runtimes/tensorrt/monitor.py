"""What a compiler is doing, and a way to end it, for either TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unet_deploy.system.progress import Progress


def make_monitor(trt: Any, progress: Progress | None, interrupted: Callable[[], bool]) -> Any:
    """An IProgressMonitor of this TensorRT module.

    progress: told the steps of the outermost phase, and the innermost phase as what is being done now.
    interrupted: asked after every step; once it is true the build ends.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """The compiler calls it from several threads."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.outer = ""
            self.steps = 1

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.outer, self.steps = phase, max(1, steps)
            self._report(0, phase)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase == self.outer:
                self._report(step + 1, phase)
            return not interrupted()

        def phase_finish(self, phase: str) -> None:
            if phase == self.outer:
                self._report(self.steps, phase)

        def _report(self, step: int, phase: str) -> None:
            if progress:
                progress(step, self.steps, phase)

    return Monitor()
