"""The options that say how a model is to see an image, beside what runs it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli import parse
from unet_deploy.cli.options import MODEL, RuntimeOptions

if TYPE_CHECKING:
    from unet_deploy.segmentation.scaling import Scaling


@dataclass(frozen=True, eq=False, repr=False)
class SeeingOptions(RuntimeOptions):
    """What runs the model, at which scale it sees an image, and what of its answer is no background."""

    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto, fp32, fp16, bf16 or int8. auto: bf16 on a CPU where an image proved it, and faster.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale", help="Show the model the image at this scale: 0.5 at half its size.", rich_help_panel=MODEL
        ),
    ] = None
    diameter: Annotated[
        parse.NumberOrAuto | None,
        typer.Option(
            "--diameter",
            help="The same by the diameter of a typical object in the image, in pixels; auto measures it.",
            show_default="auto, where the model knows one",
            metavar="PIXELS|auto",
            parser=parse.number_or_auto,
            rich_help_panel=MODEL,
        ),
    ] = None
    pixel_size: Annotated[
        parse.NumberOrAuto | None,
        typer.Option(
            "--pixel-size",
            help="The same by the image's pixel size in micrometres and the model's; auto: as the file says.",
            metavar="UM|auto",
            parser=parse.number_or_auto,
            rich_help_panel=MODEL,
        ),
    ] = None
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="The probability from which a pixel is no background.",
            show_default="the model's",
            rich_help_panel=MODEL,
        ),
    ] = None

    def scaling(self) -> "Scaling":
        """At which scale, as the library says it."""
        from unet_deploy.segmentation.scaling import Scaling

        return Scaling(self.scale, self.diameter, self.pixel_size)  # type: ignore[arg-type]
