"""Options for what counts as an object, and where objects go."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unet_deploy.cli.options import OBJECTS
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.segmentation.options import ObjectRules

# As in options: written here, and compared with the library by a test.
Connectivity = Literal[4, 8]
Coordinates = Literal["auto", "pixels", "map", "wgs84"]

_BY_CARD = "by the model's card, if any"


@dataclass(frozen=True, eq=False, repr=False)
class RuleOptions:
    """What counts as an object."""

    min_size: Annotated[
        int | None,
        typer.Option(
            "--min-size",
            min=0,
            help="Objects of fewer pixels are left out.",
            show_default=_BY_CARD,
            rich_help_panel=OBJECTS,
        ),
    ] = None
    fill_holes: Annotated[
        bool | None,
        typer.Option(
            "--fill-holes/--no-fill-holes",
            help="Holes belong to the object around them.",
            show_default=_BY_CARD,
            rich_help_panel=OBJECTS,
        ),
    ] = None
    split: Annotated[
        bool | None,
        typer.Option(
            "--split/--no-split", help="Part objects that touch.", show_default=_BY_CARD, rich_help_panel=OBJECTS
        ),
    ] = None
    split_depth: Annotated[
        float | None,
        typer.Option(
            "--split-depth",
            min=0.001,
            max=1,
            help="Part them where both are so much deeper than the neck between them, in diameters: more parts less.",
            show_default="the card's, or 0.04",
            rich_help_panel=OBJECTS,
        ),
    ] = None

    min_part: Annotated[
        float | None,
        typer.Option(
            "--min-part",
            min=0,
            max=1,
            help="Part them where each has so much area, in squared diameters: what is smaller is a bulge.",
            show_default=_BY_CARD,
            rich_help_panel=OBJECTS,
        ),
    ] = None

    def rules(self) -> "ObjectRules":
        """What counts as an object, as the library says it."""
        from unet_deploy.segmentation.options import ObjectRules

        if self.split is False and (self.split_depth or self.min_part is not None):
            other = "--split-depth" if self.split_depth else "--min-part"
            raise UsageError(f"--no-split and {other}: give one of them")
        split = self.split_depth or self.split
        return ObjectRules(min_size=self.min_size, fill_holes=self.fill_holes, split=split, min_part=self.min_part)


@dataclass(frozen=True, eq=False, repr=False)
class ObjectOptions(RuleOptions):
    """What counts as an object, and where objects are written."""

    peak: Annotated[
        float | None,
        typer.Option(
            "--peak",
            min=0,
            max=0.999,
            help="Probability of foreground that an object reaches somewhere; others, haze and debris, are left out.",
            show_default=_BY_CARD,
            rich_help_panel=OBJECTS,
        ),
    ] = None
    objects: Annotated[
        str | None,
        typer.Option(
            "--objects",
            help="Table of objects: a .csv, .parquet or .geojson file, or just csv.",
            rich_help_panel=OBJECTS,
        ),
    ] = None
    instances: Annotated[
        str | None,
        typer.Option(
            "--instances",
            help="Their numbers, uint32: a .tif or .zarr file, or just tif or zarr.",
            rich_help_panel=OBJECTS,
        ),
    ] = None
    connectivity: Annotated[
        Connectivity,
        typer.Option("--connectivity", help="4, or 8 for pixels that touch at a corner.", rich_help_panel=OBJECTS),
    ] = 4
    coordinates: Annotated[
        Coordinates,
        typer.Option(
            "--coordinates",
            help="Of outlines, and in tables too: the GeoTIFF's map, WGS 84, or pixels, as QuPath takes them; "
            "auto: map where there is one.",
            rich_help_panel=OBJECTS,
        ),
    ] = "auto"

    def rules(self) -> "ObjectRules":
        """What counts as an object, as the library says it. Raises UsageError for rules that nothing asks for."""
        rules = [field for field in fields(self) if field.name not in ("objects", "instances")]
        given = [field.name for field in rules if getattr(self, field.name) != field.default]
        if given and not (self.objects or self.instances):
            option = given[0].replace("_", "-")
            raise UsageError(
                f"--{option}: changes objects, and none are asked for; add --objects csv or --instances tif"
            )
        return replace(super().rules(), peak=self.peak, connectivity=self.connectivity, coordinates=self.coordinates)
