"""The command that says what to annotate next: suggest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli import show, show_suggestions
from unet_deploy.cli.app import command
from unet_deploy.cli.opening import models_at_any_scale, request_of
from unet_deploy.cli.options import OUTPUTS, ModelOption, NoProgressOption, OverwriteOption, PartOptions, TileOptions
from unet_deploy.cli.progress import progress_bar
from unet_deploy.cli.seeing import SeeingOptions

if TYPE_CHECKING:
    from unet_deploy.evaluation.regions import Already
    from unet_deploy.segmentation.options import Options
    from unet_deploy.suggestion.run import Wanted

REGIONS = "Regions"


@dataclass(frozen=True, eq=False, repr=False)
class RegionOptions:
    """Which regions are wanted, and where they go."""

    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Regions to annotate (.geojson), which QuPath opens; of several images a folder.",
            rich_help_panel=OUTPUTS,
        ),
    ]
    number: Annotated[
        int, typer.Option("--number", "-n", min=1, help="Regions, of all images together.", rich_help_panel=REGIONS)
    ] = 10
    side: Annotated[
        int | None,
        typer.Option(
            "--side",
            min=2,
            help="Of a region, in pixels of the level.",
            show_default="128 as the model sees them, less in small images",
            rich_help_panel=REGIONS,
        ),
    ] = None
    annotated_class: Annotated[
        str,
        typer.Option("--annotated-class", help="The class of regions in the file.", rich_help_panel=REGIONS),
    ] = "Annotated"
    avoid: Annotated[
        Path | None,
        typer.Option(
            "--avoid",
            help="Drawing, or folder of them, whose regions of that class are annotated already.",
            show_default="what is drawn on each image, where train finds it",
            rich_help_panel=REGIONS,
        ),
    ] = None
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Draw them to look at (.png).", rich_help_panel=OUTPUTS)
    ] = None
    overwrite: OverwriteOption = False

    def wanted(self, already: "Already") -> "Wanted":
        """What is to be suggested beside what is annotated. Raises UsageError."""
        from unet_deploy.suggestion.run import Wanted

        return replace(Wanted(self.number, self.side), apart_from=already.regions)

    def already(self, images: "Sequence[Path]") -> "Already":
        """What is annotated, which is said. Raises DataError and ImageError."""
        from unet_deploy.annotations.marking import Marking
        from unet_deploy.evaluation.regions import annotated_already

        already = annotated_already(images, self.avoid, Marking(annotated_class=self.annotated_class))
        for line in already.notes:
            show.note(line)
        return already


@command("Use a model")
def suggest(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="TIFF, PNG, JPEG or OME-Zarr, folders, patterns or URLs.")
    ],
    *,
    regions: RegionOptions,
    model: ModelOption = None,
    seeing: SeeingOptions,
    tiles: TileOptions,
    part: PartOptions,
    no_progress: NoProgressOption = False,
) -> None:
    """Suggest which regions of images to annotate next: those that stand for most of what is there."""
    from unet_deploy.segmentation.inputs import find_images
    from unet_deploy.segmentation.planning import first_look
    from unet_deploy.suggestion.files import RegionFiles
    from unet_deploy.suggestion.run import suggest, views
    from unet_deploy.zoo import find_model

    paths = find_images((each for given in images for each in _inside(given)), show.note)
    files = RegionFiles.of(paths, regions.output, regions.sheet, overwrite=regions.overwrite)
    files.check([find_model(model), *paths])
    already = regions.already(paths)
    files.check(already.drawings)
    wanted, options = regions.wanted(already), _options(seeing, tiles, part)
    show_suggestions.annotated(wanted)
    with first_look(paths, options) as (pixels, source):
        request = request_of(seeing, tiles, pixels, probabilities=True)
        with models_at_any_scale(model, request, shown=not no_progress) as models:
            with progress_bar("suggest", shown=not no_progress) as progress:
                found = suggest(paths, models, wanted, options, source=source, progress=progress)
            files.draw(found, views(found, models, options), models.card.classes)
    written = files.write(found, regions.annotated_class)
    show_suggestions.left_over(files.left_over(written))
    show_suggestions.suggestions(found, written, wanted.count)


def _inside(given: str) -> list[str]:
    """The images in images/ of what is given, where `train` would take them from there; else what is given."""
    from unet_deploy.evaluation.beside import images_in

    return [str(image) for image in images_in(Path(given))] or [given]


def _options(seeing: SeeingOptions, tiles: TileOptions, part: PartOptions) -> "Options":
    """How each image is to be seen."""
    from unet_deploy.segmentation.options import Options
    from unet_deploy.tiling import Region

    reading = part.reading()
    return Options(
        tile_size=tiles.tile_size,
        channel=reading.channel,
        palette=reading.palette,
        nodata=reading.nodata,
        timeout=reading.timeout,
        level=part.level,
        max_memory=tiles.max_memory,
        skip_background=tiles.skip_background,
        tta=tiles.tta,
        roi=Region(*part.roi) if part.roi else None,
        scaling=seeing.scaling(),
    )
