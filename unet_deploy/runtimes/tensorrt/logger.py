"""A logger for either TensorRT that keeps what went wrong for our one line of error, instead of printing all."""

from __future__ import annotations

from typing import Any

from unet_deploy.errors import reason


def make_logger(trt: Any) -> Any:
    """An ILogger of this TensorRT module; its `said` lists the errors. It must outlive what is made with it."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.said.append(reason(message))

    return Logger()
