"""How a model is to be run, and what comes of opening it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import Change
from unet_deploy.model.contract import Pixels, Precision
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.table import LAPTOP, PRECISIONS, RUNTIMES, TABLE, Device, Row
from unet_deploy.system.arguments import number, number_or_none, settle, text, whole, whole_or_none, yes_or_no
from unet_deploy.system.progress import Progress


@dataclass(frozen=True)
class Request:
    """How a model is to be run; None and auto leave the choice to us. Raises UsageError for what there is not."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N (NVIDIA's), gpu or gpu:N (any other), npu."""
    runtime: str = "auto"
    """auto, or one of RUNTIMES."""
    precision: str | None = None
    """fp32, fp16 on a GPU or NPU, bf16 on a CPU, int8 of a quantized model; by default int8, fp32 on a CPU, else fp16.

    auto: as by default, but bf16 on a CPU that computes it itself, where an image proved it, and faster.
    """
    probabilities: bool = False
    """Whether class probabilities are answered as well as labels."""
    pixels: Pixels = "float32"
    """The widest pixels that will come, which makes a GPU's bus faster."""
    tile_size: int | None = None
    """Largest side of a tile as it is read, in pixels of the image; by default the runtime's."""
    batch_size: int = 1
    """Tiles in one submission, on a GPU."""
    scale: float = 1.0
    """Pixels of the network for a pixel of the image; the answer is on the image's own grid all the same."""
    threshold: float | None = None
    """The probability above which a pixel is not background, as of `Decision`; by default the card's."""

    def __post_init__(self) -> None:
        settle(self, device=text, runtime=text, pixels=text)
        settle(self, probabilities=yes_or_no, tile_size=whole_or_none, batch_size=whole)
        settle(self, scale=number, threshold=number_or_none)
        kind, colon, index = self.device.partition(":")
        if kind not in ("auto", *get_args(Device)) or (colon and not (kind in ("cuda", "gpu") and index.isdecimal())):
            raise UsageError(f"--device {self.device}: there are auto, cpu, cuda, cuda:N, gpu, gpu:N and npu")
        if self.runtime not in ("auto", *RUNTIMES):
            raise UsageError(f"--runtime {self.runtime}: there are auto, {', '.join(RUNTIMES)}")
        if self.precision not in (None, "auto", *PRECISIONS):
            raise UsageError(f"--precision {self.precision}: there are auto, {', '.join(PRECISIONS)}")
        if self.pixels not in get_args(Pixels):
            raise UsageError(f"pixels {self.pixels}: there are {', '.join(get_args(Pixels))}")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: take at least 1")
        _ = self.change  # says what of the two there is not

    @property
    def change(self) -> Change:
        """What is to be changed of the model that is opened."""
        return Change(self.scale, self.threshold)

    def rounds_greys(self, card: ModelCard) -> bool:
        """Whether with fewer bits than float32 has a model would see one grey value in place of several.

        It does where it takes more than 8 bits as they are: bfloat16 holds 8 of a number, half precision 11.
        """
        return card.normalization.method == "fixed" and self.pixels != "uint8"

    @property
    def unproved(self) -> Request:
        """The same where there is nothing that auto could choose between."""
        return replace(self, precision=None) if self.precision == "auto" else self

    @property
    def kind(self) -> Device | Literal["auto"]:
        """The kind of device; auto where that is open, and the runtime that was asked for does not settle it."""
        if self.device != "auto":
            return cast("Device", self.device.partition(":")[0])
        kinds = {row.device for row in TABLE if row.name == self.runtime}
        return kinds.pop() if len(kinds) == 1 and kinds <= set(LAPTOP) else "auto"

    @property
    def gpu_index(self) -> int:
        """N of cuda:N and gpu:N, otherwise 0."""
        return int(self.device.partition(":")[2] or 0)

    def rows(self, device: Device) -> tuple[Row, ...]:
        """The runtimes of the table to try on a kind of device, in order; empty where none can do it."""
        return tuple(row for row in self._named(device) if self.precision in (None, "auto", *row.precisions))

    def rows_or_raise(self, device: Device) -> tuple[Row, ...]:
        """As `rows`, but DeviceError or UsageError says why there is none, and what to take."""
        if rows := self.rows(device):
            return rows
        if named := self._named(device):
            raise UsageError(f"--precision {self.precision}: {self._why_not(named[0])}")
        takes = list(dict.fromkeys(row.device for row in TABLE if row.name == self.runtime))
        if takes == ["cuda"]:
            raise DeviceError(f"--runtime {self.runtime}: runs on an NVIDIA GPU, and --device {self.device} is none")
        raise UsageError(
            f"--runtime {self.runtime}: takes --device {' or '.join(takes)}, not {device}; or leave --runtime out"
        )

    def _named(self, device: Device) -> list[Row]:
        return [row for row in TABLE if row.device == device and self.runtime in ("auto", row.name)]

    def _why_not(self, row: Row) -> str:
        if row.device in LAPTOP and self.precision != "bf16":
            return f"{row.title} does not have it on --device {row.device}; take {' or '.join(row.precisions)}"
        if row.device != "cpu":
            return "is for CPUs; take --device cpu, or --precision fp16"
        if self.precision == "fp16":
            return "is no faster than fp32 on a CPU; take bf16, or --device cuda or gpu"
        return f"{row.title} does not have it on a CPU; leave --runtime out"


def graph_precision(request: Request, quantized: bool) -> Precision:
    """What the layers of a graph for a GPU compute in: by default 8 bits of a quantized model, half of any other."""
    if request.precision is None:
        return "int8" if quantized else "fp16"
    return cast("Precision", request.precision)  # the table's rows for GPUs have no other


@dataclass(frozen=True)
class Opened:
    """A runtime that is ready, and where it is to be written down that it agrees with its model."""

    runtime: Runtime
    keep: Callable[[Agreement], None] | None = None
    """None where there is nothing to show, or it was shown before."""


class Opener(Protocol):
    """Opens a model file on one runtime and device, as a row of the table names it.

    request: its `runtime` is that of the row. progress: told how compiling goes, where there is something to compile.
    Raises ModelError, DeviceError, MissingPackageError and UsageError.
    """

    def __call__(self, path: Path, request: Request, progress: Progress | None, /) -> Opened: ...
