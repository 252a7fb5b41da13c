"""The files of suggested regions: one GeoJSON for each image that has some, and a sheet of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.errors import UsageError
from unet_deploy.masks.apart import check_apart
from unet_deploy.objects.geojson import Rectangle, write_rectangles
from unet_deploy.segmentation.places import frame_of
from unet_deploy.suggestion.run import Suggestion
from unet_deploy.suggestion.views import View, draw_sheet
from unet_deploy.system.files import check_free, check_png


@dataclass(frozen=True)
class RegionFiles:
    """Where regions go."""

    regions: Mapping[Path, Path]
    """Of each image, the file of its regions."""
    sheet: Path | None = None
    overwrite: bool = False
    folder: Path | None = None
    """In which regions go; None for an only file."""

    @classmethod
    def of(
        cls, images: Sequence[Path], output: Path, sheet: Path | None = None, *, overwrite: bool = False
    ) -> RegionFiles:
        """One image and a name that ends in .geojson: that file; else a folder of <stem>.geojson.

        Raises UsageError where two images would have one file, or a name says of another kind of file.
        """
        if output.suffix.lower() == ".geojson" and not output.is_dir():
            if len(images) > 1:
                raise UsageError(f"{output}: one file for {len(images)} images; give a folder")
            return cls({images[0]: output}, sheet, overwrite)
        if output.suffix and not output.is_dir():
            raise UsageError(f"{output}: regions are GeoJSON; give a name that ends in .geojson, or a folder")
        owners: dict[Path, Path] = {}
        for image in images:
            path = output / f"{image.stem}.geojson"
            if path in owners:
                raise UsageError(f"{path}: both {owners[path]} and {image} would be written here; take them apart")
            owners[path] = image
        return cls({image: path for path, image in owners.items()}, sheet, overwrite, output)

    def check(self, inputs: Iterable[Path]) -> None:
        """Raise what making any of them would, as far as that is known before; inputs are what is read.

        Raises UsageError and UnetDeployError.
        """
        files = [*self.regions.values(), *([self.sheet] if self.sheet else [])]
        check_apart(files, inputs)
        if self.sheet:
            check_png(self.sheet)
        for path in files:
            if path.parent.is_dir() or path == self.sheet:
                check_free(path, overwrite=self.overwrite)

    def write(self, suggestions: Sequence[Suggestion], class_name: str) -> list[Path]:
        """Write the regions as annotations of a class, numbered by what each adds; returns the files in that order.

        An image without any has no file.
        """
        numbered: dict[Path, list[tuple[int, Suggestion]]] = {}
        for number, each in enumerate(suggestions, start=1):
            numbered.setdefault(self.regions[each.image.path], []).append((number, each))
        for path, some in numbered.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            frame = frame_of(some[0][1].image.info, "pixels")
            rectangles = [_rectangle(number, each) for number, each in some]
            write_rectangles(path, rectangles, class_name, frame, overwrite=self.overwrite)
        return list(numbered)

    def left_over(self, written: Sequence[Path]) -> list[Path]:
        """What an earlier run may have left in a folder, beside files that it was allowed to write over."""
        if self.folder is None or not self.overwrite:
            return []
        return sorted({*self.folder.glob("*.geojson")} - {*written})

    def draw(self, suggestions: Sequence[Suggestion], views: Iterable[View], classes: Sequence[str]) -> None:
        """Draw the sheet, where one is wanted."""
        if self.sheet:
            captions = [f"{number}: {_words(each)}" for number, each in enumerate(suggestions, start=1)]
            draw_sheet(self.sheet, list(views), captions, classes, overwrite=self.overwrite)


def _rectangle(number: int, each: Suggestion) -> Rectangle:
    info = each.image.info
    plane = dict(info.steps(each.page) or [("z", each.page)]) if info.pages > 1 else {}
    return Rectangle(each.region, str(number), {"doubt": round(each.doubt, 4)}, plane)


def _words(each: Suggestion) -> str:
    page = f" page {each.page}" if each.image.info.pages > 1 else ""
    return f"y {each.region.y}, x {each.region.x} of {each.image.path.name[:32]}{page}, doubt {each.doubt:.2f}"
