"""What is said of regions to annotate: the words of `suggest`, beside those of `show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.cli.show import answer, note

if TYPE_CHECKING:
    from unet_deploy.suggestion.run import Suggestion, Wanted


def annotated(wanted: Wanted) -> None:
    """Say where nothing is suggested, because it is annotated already."""
    counts = {image: len(regions) for image, regions in wanted.apart_from.items() if regions}
    if counts:
        image, count = next(iter(counts.items()))
        more = f", and {sum(counts.values()) - count} of {len(counts) - 1} more images" if len(counts) > 1 else ""
        regions = f"{count} region{'s' if count > 1 else ''} of {image.name}"
        note(f"note: left out, as annotated already: {regions}{more}")


def left_over(files: Sequence[Path]) -> None:
    """Say that files lie among those that were written over, and are no result: whose they are is not known."""
    if files:
        names = ", ".join(path.name for path in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        note(f"note: not of this run, and left in {files[0].parent}: {names}")


def suggestions(found: Sequence[Suggestion], files: Sequence[Path], wanted: int) -> None:
    """Say which regions are worth annotating, and at which scale their images were taken."""
    from unet_deploy.segmentation.scaling import AS_IT_IS

    for image in dict.fromkeys(each.image for each in found):
        if image.scaled != AS_IT_IS:
            note(f"{image.info.name}: {image.scaled}")
    if len(found) < wanted:
        note(f"note: {len(found)} of {wanted} regions: no more fit that do not overlap and have something in them")
    sides = sorted({each.region.height for each in found})
    pixels = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"
    where = str(files[0]) if len(files) == 1 else f"{len(files)} files in {files[0].parent}"
    answer(f"{where}: {len(found)} region{'s' if len(found) != 1 else ''}, {pixels} pixels a side")
