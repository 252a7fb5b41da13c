"""The command that adopts a network which another toolkit exported: card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli.app import Overwrite, app
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.convert.adopt import AdoptReport
    from unet_deploy.model.card import Normalization


@app.command()
def card(
    model: Annotated[Path, typer.Argument(help="A network that another toolkit exported (.onnx).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.onnx).")],
    padding: Annotated[str, typer.Option(help="same: the answer is as large as the input; valid: it is not.")] = "same",
    stride: Annotated[int, typer.Option(min=1, help="What input sides are multiples of: 2 for each pooling.")] = 32,
    margin: Annotated[
        int | None,
        typer.Option(
            help="Pixels a side to cut off, a multiple of the stride.", show_default="the least without seams"
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names by label value, background first.", show_default="by number")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Image channels taken.", show_default="as the file says")
    ] = None,
    normalization: Annotated[str, typer.Option(help="percentile of the whole page, or fixed.")] = "percentile",
    low: Annotated[
        float | None, typer.Option(help="The percentile that becomes 0.", show_default="1", min=0, max=100)
    ] = None,
    high: Annotated[
        float | None, typer.Option(help="The percentile that becomes 1.", show_default="99.8", min=0, max=100)
    ] = None,
    offset: Annotated[float | None, typer.Option(help="Taken off grey values, where fixed.", show_default="0")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Grey values are then multiplied by it.", show_default="1/255")
    ] = None,
    mean: Annotated[str, typer.Option(help="Then taken off, for each channel: 0.485,0.456,0.406.")] = "0",
    std: Annotated[str, typer.Option(help="Then divided by, for each channel: 0.229,0.224,0.225.")] = "1",
    activation: Annotated[
        str, typer.Option(help="What makes probabilities of the answer: auto, softmax, sigmoid or none.")
    ] = "auto",
    head: Annotated[str | None, typer.Option(help="Which output, where the file has several.")] = None,
    image: Annotated[Path | None, typer.Option(help="Measure seams on this image.", show_default="noise")] = None,
    allow_seams: Annotated[
        bool, typer.Option("--allow-seams", help="Take it though tiles leave seams; its card says how large.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The model's name in its card; by default the file's.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Micrometres, for the model card.")] = None,
    trained_on: Annotated[str, typer.Option(help="What the data is, for the model card.")] = "",
    license: Annotated[str, typer.Option(help="The licence of the weights, for the model card.")] = "",
    overwrite: Overwrite = False,
) -> None:
    """Adopt a network that another toolkit exported, with the margin that leaves no seams."""
    import shlex
    import sys
    from typing import get_args

    from unet_deploy.system.extras import require

    require("onnx", "compile")
    from unet_deploy.cli.console import table
    from unet_deploy.convert.adopt import AdoptOptions, Padding, adopt
    from unet_deploy.convert.external import Activation
    from unet_deploy.measure.inspection import describe_model

    for option, value, kinds in (
        ("--padding", padding, get_args(Padding)),
        ("--activation", activation, get_args(Activation)),
    ):
        if value not in kinds:
            raise UsageError(f"{option} {value}: there are {', '.join(kinds)}")
    options = AdoptOptions(
        padding=padding,  # type: ignore[arg-type]
        stride=stride,
        margin=margin,
        channels=channels,
        classes=tuple(each.strip() for each in classes.split(",")) if classes else None,
        normalization=_normalization(normalization, low, high, offset, scale),
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        activation=activation,  # type: ignore[arg-type]
        head=head,
    )
    adopted = adopt(
        model,
        output,
        options,
        image=image,
        allow_seams=allow_seams,
        overwrite=overwrite,
        name=name or output.stem,
        pixel_size_um=pixel_size,
        trained_on=trained_on,
        license=license,
        command=shlex.join(["unet-deploy", *sys.argv[1:]]),
    )
    print(table([*describe_model(adopted.card), *_seams(adopted)]))


def _seams(adopted: AdoptReport) -> list[tuple[str, str]]:
    """What was measured, for people."""
    from unet_deploy.cli.console import say

    seen, margin = adopted.agreement, adopted.card.margin
    if adopted.whole_tile:
        say(f"note: {', '.join(adopted.whole_tile)} may look at a whole tile; run verify --tiled on an image")
    rows = [("labels that differ", f"{seen.labels_differ} of {seen.pixels} ({seen.ties} of them ties)")]
    if adopted.reach is not None and margin:
        depths = sorted({0, margin // 2, margin})
        felt = ", ".join(f"{adopted.reach.worst[depth]:.2g} at {depth}" for depth in depths)
        rows.append(("a tile's edge", f"moves probabilities by {felt} pixels from it"))
    return rows


def _normalization(
    method: str, low: float | None, high: float | None, offset: float | None, scale: float | None
) -> Normalization:
    from unet_deploy.model.card import Normalization

    given = {"low": low, "high": high, "offset": offset, "scale": scale}
    theirs = {"percentile": ("low", "high"), "fixed": ("offset", "scale")}
    if method not in theirs:
        raise UsageError(f"--normalization {method}: there are {' and '.join(theirs)}")
    for option, value in given.items():
        if value is not None and option not in theirs[method]:
            raise UsageError(f"--{option}: does not go with --normalization {method}")
    chosen = {option: value for option, value in given.items() if value is not None}
    grey = Normalization(method, **chosen)  # type: ignore[arg-type]
    if grey.low >= grey.high:
        raise UsageError(f"--low {grey.low:g}: is not below --high {grey.high:g}")
    return grey


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: give numbers with commas between") from error
