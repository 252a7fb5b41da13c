"""The command that adopts a network which another toolkit exported: adopt, and its older name card."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unet_deploy.cli import parse, show
from unet_deploy.cli.app import command
from unet_deploy.cli.options import CARD, OUTPUTS, CardOptions, LimitOption, OverwriteOption
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.model.card import Normalization

NETWORK, GREY, SEAMS = "Network", "Grey values", "Seams"
"""Themes: the sections of the command's help."""

# Written here and not imported: the modules that know these choices are too heavy for --help. A test compares them.
Padding = Literal["same", "valid"]
Activation = Literal["auto", "softmax", "sigmoid", "none"]
Method = Literal["percentile", "fixed"]

_ZERO, _ONE = parse.Numbers((0.0,)), parse.Numbers((1.0,))


@dataclass(frozen=True, eq=False, repr=False)
class NetworkOptions:
    """What a file does not say of its network."""

    padding: Annotated[
        Padding,
        typer.Option(help="same: the answer is as large as the input; valid: it is not.", rich_help_panel=NETWORK),
    ] = "same"
    stride: Annotated[
        int,
        typer.Option(min=1, help="What input sides are multiples of: 2 for each pooling.", rich_help_panel=NETWORK),
    ] = 32
    channels: Annotated[
        int | None,
        typer.Option(min=1, help="Image channels taken.", show_default="as the file says", rich_help_panel=NETWORK),
    ] = None
    classes: Annotated[
        parse.Names | None,
        typer.Option(
            help="Class names by label value, background first; one that holds a comma in double quotes.",
            show_default="by number",
            metavar="NAMES",
            parser=parse.names,
            rich_help_panel=NETWORK,
        ),
    ] = None
    activation: Annotated[
        Activation,
        typer.Option(help="What makes probabilities of the answer.", rich_help_panel=NETWORK),
    ] = "auto"
    head: Annotated[
        str | None, typer.Option(help="Which output, where the file has several.", rich_help_panel=NETWORK)
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class GreyOptions:
    """How grey values become the network's input."""

    normalization: Annotated[
        Method, typer.Option(help="percentile of the whole page, or fixed.", rich_help_panel=GREY)
    ] = "percentile"
    low: Annotated[
        float | None,
        typer.Option(help="The percentile that becomes 0.", show_default="1", min=0, max=100, rich_help_panel=GREY),
    ] = None
    high: Annotated[
        float | None,
        typer.Option(help="The percentile that becomes 1.", show_default="99.8", min=0, max=100, rich_help_panel=GREY),
    ] = None
    offset: Annotated[
        float | None,
        typer.Option(help="Taken off grey values, where fixed.", show_default="0", rich_help_panel=GREY),
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(help="Grey values are then multiplied by it.", show_default="1/255", rich_help_panel=GREY),
    ] = None
    mean: Annotated[
        parse.Numbers,
        typer.Option(
            help="Then taken off, for each channel: 0.485,0.456,0.406.",
            show_default="0",
            metavar="NUMBERS",
            parser=parse.numbers,
            rich_help_panel=GREY,
        ),
    ] = _ZERO
    std: Annotated[
        parse.Numbers,
        typer.Option(
            help="Then divided by, for each channel: 0.229,0.224,0.225.",
            show_default="1",
            metavar="NUMBERS",
            parser=parse.numbers,
            rich_help_panel=GREY,
        ),
    ] = _ONE

    def card(self) -> "Normalization":
        """What the model card will say. Raises UsageError where options contradict each other."""
        from unet_deploy.model.card import Normalization

        percentiles, constants = {"low": self.low, "high": self.high}, {"offset": self.offset, "scale": self.scale}
        mine, others = (percentiles, constants) if self.normalization == "percentile" else (constants, percentiles)
        for option, value in others.items():
            if value is not None:
                raise UsageError(f"--{option}: does not go with --normalization {self.normalization}")
        given = {option: value for option, value in mine.items() if value is not None}
        low, high = given.get("low", Normalization.low), given.get("high", Normalization.high)
        if low >= high:
            raise UsageError(f"--low {low:g}: is not below --high {high:g}")
        if not given.get("scale", 1):
            raise UsageError("--scale 0: every grey value would become 0")
        return Normalization(self.normalization, **given)


@dataclass(frozen=True, eq=False, repr=False)
class SeamOptions:
    """How much of a tile's border is cut off, and what is shown of it."""

    margin: Annotated[
        int | None,
        typer.Option(
            help="Pixels a side to cut off, a multiple of the stride.",
            show_default="the least without seams",
            rich_help_panel=SEAMS,
        ),
    ] = None
    image: Annotated[
        Path | None, typer.Option(help="Measure seams on this image.", show_default="noise", rich_help_panel=SEAMS)
    ] = None
    allow_seams: Annotated[
        bool,
        typer.Option(
            "--allow-seams",
            help="Take it though tiles leave seams; its card says how large.",
            rich_help_panel=SEAMS,
        ),
    ] = False


@dataclass(frozen=True, eq=False, repr=False)
class AdoptedCardOptions(CardOptions):
    """What the model card says beside."""

    name: Annotated[
        str | None, typer.Option(help="The model's name in its card; by default the file's.", rich_help_panel=CARD)
    ] = None
    limit: LimitOption = 1000

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "limit_ppm": self.limit}


@command("Make a model", name="card", hidden=True)
@command("Make a model")
def adopt(
    model: Annotated[Path, typer.Argument(help="A network that another toolkit exported (.onnx).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write (.onnx).", rich_help_panel=OUTPUTS)
    ],
    network: NetworkOptions,
    grey: GreyOptions,
    seams: SeamOptions,
    *,
    card: AdoptedCardOptions,
    overwrite: OverwriteOption = False,
) -> None:
    """Adopt a network that another toolkit exported, with the margin that leaves no seams."""
    from unet_deploy.system.extras import require

    require("onnx", "onnx")
    from unet_deploy.convert.adopt import AdoptOptions, adopt

    options = AdoptOptions(
        padding=network.padding,
        stride=network.stride,
        margin=seams.margin,
        channels=network.channels,
        classes=network.classes or None,
        normalization=grey.card(),
        mean=grey.mean,
        std=grey.std,
        activation=network.activation,
        head=network.head,
    )
    made = adopt(
        model,
        output,
        options,
        image=seams.image,
        allow_seams=seams.allow_seams,
        overwrite=overwrite,
        name=card.name or output.stem,
        **card.fields(),
    )
    show.adopted(made)
