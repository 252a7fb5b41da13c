"""How to segment a file, whatever the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images import SILENCE
from unet_deploy.images.channels import Channel
from unet_deploy.images.reading import Reading
from unet_deploy.images.samples import Palette
from unet_deploy.segmentation.scaling import AS_THE_CARD_SAYS, Scaling
from unet_deploy.system.arguments import (
    kind_of,
    number,
    number_or_none,
    one_of,
    settle,
    whole,
    whole_or_none,
    yes_or_no,
)
from unet_deploy.tiling import Region

if TYPE_CHECKING:
    from unet_deploy.model.decision import Decision
    from unet_deploy.objects.rules import Rules

Coordinates = Literal["auto", "pixels", "map", "wgs84"]
"""In what places of objects are given: the image's map where it says one, else pixels; or as is asked for."""


@dataclass(frozen=True)
class ObjectRules:
    """What counts as an object, and how it is told. None stands for what the model's card says.

    >>> from unet_deploy.model.decision import UNDECIDED
    >>> ObjectRules(split=True).decided_by(UNDECIDED).split
    0.04
    """

    connectivity: Literal[4, 8] = 4
    """Neighbours of a pixel."""
    min_size: int | None = None
    """Objects of fewer pixels of the level are left out."""
    fill_holes: bool | None = None
    """Whether background inside one object belongs to it."""
    coordinates: Coordinates = "auto"
    """In what its place is given, beside pixels in tables."""
    split: float | bool | None = None
    """Whether objects that touch are parted, or how much deeper, in diameters, they must be than the neck between them.
    True is as deep as the card says, or 0.04 where it parts nothing."""
    min_part: float | None = None
    """Area that each of two parts has at least where objects are parted, in squared diameters, from 0 to 1."""
    peak: float | None = None
    """Objects whose probability of being no background reaches it nowhere are left out; 0 leaves out none."""

    def __post_init__(self) -> None:
        settle(self, connectivity=whole, min_size=whole_or_none, fill_holes=_yes_or_no_or_none, split=_depth)
        settle(self, coordinates=one_of(*get_args(Coordinates)), peak=number_or_none, min_part=number_or_none)
        if self.min_size is not None and self.min_size < 0:
            raise UsageError(f"min_size: give pixels from 0, not {self.min_size}")
        if self.connectivity not in (4, 8):
            raise UsageError(f"connectivity: there are 4 and 8, not {self.connectivity}")
        if self.min_part is not None and not 0 <= self.min_part <= 1:
            raise UsageError(f"min_part: give squared diameters from 0 to 1, not {self.min_part:g}")
        if self.peak is not None and not 0 <= self.peak < 1:
            raise UsageError(f"peak: give a probability from 0 to below 1, not {self.peak:g}")

    def peak_by(self, decision: Decision) -> float:
        """The peak of `decided_by`, for which nothing is imported."""
        return decision.peak if self.peak is None else self.peak

    def decided_by(self, decision: Decision) -> Rules:
        """The rules with what the card of the model decides of the rest.

        Raises UsageError for what is asked of parts where nothing is parted.
        """
        from unet_deploy.objects.rules import Rules
        from unet_deploy.objects.split import DEPTH

        split = decision.split if self.split is None else self.split
        if self.min_part and not split:
            raise UsageError(f"--min-part {self.min_part:g}: nothing is parted here; add --split")
        return Rules(
            self.connectivity,
            self.min_size or 0,
            decision.fill_holes if self.fill_holes is None else self.fill_holes,
            (decision.split or DEPTH) if split is True else float(split),
            decision.min_size if self.min_size is None else 0.0,
            decision.min_part if self.min_part is None else self.min_part,
            self.peak_by(decision),
        )


@dataclass(frozen=True)
class Options:
    """How to segment a file, whatever the model. Whole numbers may be NumPy's. Raises UsageError for what does not fit.

    >>> Options(tile_size=700, roi=Region(2000, 3000, 1024, 1024), resume=True).level
    0
    """

    tile_size: int | None = None
    """Largest side of a tile in pixels of the image, None for what the planner takes; the answer is the same."""
    channel: Channel | None = None
    """Which channel of a multi-channel file, by its number from 0 or its name in the file."""
    level: int | None = 0
    """Which level of a pyramid, 0 the finest; None for the one whose pixels are nearest to the model's in size."""
    max_memory: int | None = None
    """Bytes that the whole process may hold, None for a share of what is free."""
    skip_background: bool = False
    """Whether uniform tiles are class 0 without being computed."""
    tta: bool = False
    """Whether the answer is the mean over eight orientations of each tile."""
    objects: ObjectRules = field(default_factory=ObjectRules)
    """What counts as an object, where a table or numbers of objects are made."""
    roi: Region | None = None
    """What of each page is segmented, in pixels of the level, by the grey scale of the whole; the rest is 0."""
    resume: bool = False
    """Whether to go on where an earlier run of the same image, model and settings was broken off."""
    overwrite: bool = False
    """Whether files that exist are replaced."""
    palette: Palette = "auto"
    """What numbers with a table of colours are: a scale that they are shown by, or the colours of a picture."""
    nodata: float | None = None
    """The value of pixels that are no data, NaN among them; None for what the file says."""
    timeout: float = SILENCE
    """Seconds that the server of an image may be silent before it is asked again."""
    outside: int = 0
    """What the mask has where there is no data, 0 to 255; such pixels belong to no object."""
    scaling: Scaling = AS_THE_CARD_SAYS
    """At which scale the image is taken."""
    threshold: float | None = None
    """The probability above which a pixel is not background, as of `Decision`; None for the card's. Of a model that is
    opened for the run."""

    def __post_init__(self) -> None:
        settle(self, **dict.fromkeys(("tile_size", "level", "max_memory"), whole_or_none), channel=_channel)
        settle(self, **dict.fromkeys(("skip_background", "tta", "resume", "overwrite"), yes_or_no), roi=_region)
        settle(self, outside=whole, **dict.fromkeys(("nodata", "threshold"), number_or_none), timeout=number)
        settle(self, palette=one_of(*get_args(Palette)))
        if self.max_memory is not None and self.max_memory < 1:
            raise UsageError(f"--max-memory: give at least one byte, not {self.max_memory}")
        if not self.timeout > 0:
            raise UsageError(f"timeout: give seconds above 0, not {self.timeout:g}")
        if not 0 <= self.outside <= 255:
            raise UsageError(f"outside: a mask holds the numbers 0 to 255, not {self.outside}")
        if not isinstance(self.scaling, Scaling):
            raise UsageError(f"scaling: give Scaling, not {kind_of(self.scaling)}")
        if not isinstance(self.objects, ObjectRules):
            raise UsageError(f"objects: give ObjectRules, not {kind_of(self.objects)}")

    @property
    def reading(self) -> Reading:
        """How the image is read."""
        return Reading(self.channel, self.palette, self.nodata, self.timeout)


def _yes_or_no_or_none(value: object, name: str) -> bool | None:
    return None if value is None else yes_or_no(value, name)


def _depth(value: object, name: str) -> float | bool | None:
    """None, yes or no, or a share of the diameter. Raises UsageError."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return _yes_or_no_or_none(value, name)
    depth = number(value, name)
    if not 0 <= depth <= 1:
        raise UsageError(f"{name}: give a depth of 0 to 1 diameters, not {depth:g}")
    return depth


def _channel(channel: object, name: str) -> Channel | None:
    """A whole number of any type, a name or None. Raises UsageError."""
    return channel if isinstance(channel, str) else whole_or_none(channel, name)


def _region(roi: object, name: str) -> Region | None:
    """A region, or its y, x, height and width, as a Region of ints. Raises UsageError."""
    if roi is None:
        return None
    parts: tuple[object, ...] = ()
    if isinstance(roi, Region):
        parts = astuple(roi)
    elif isinstance(roi, Iterable):
        parts = tuple(roi)
    if len(parts) != 4:
        raise UsageError(f"{name}: give a Region, or y, x, height and width in pixels, not {kind_of(roi)}")
    found = Region(*(whole(part, name) for part in parts))
    if min(found.origin) < 0 or min(found.sides) < 1:
        raise UsageError(f"{name}: y and x are at least 0, height and width at least 1; these are {found}")
    return found


DEFAULTS = Options()
