"""Commands that look and measure: verify, benchmark, info, doctor, sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unet_deploy.cli import parse, show
from unet_deploy.cli.app import command
from unet_deploy.cli.options import (
    OUTPUTS,
    TILES,
    JsonOption,
    NoProgressOption,
    OverwriteOption,
    ReadingOptions,
    RuntimeOptions,
)
from unet_deploy.cli.progress import compiling_bar, progress_bar
from unet_deploy.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from unet_deploy.images.reading import Reading

MEASURING = "Measuring"
"""The theme of what a benchmark measures."""

_SAMPLE_SIZE = parse.Size(4096, 4096)


@dataclass(frozen=True, eq=False, repr=False)
class ProofOptions:
    """Where the result of a comparison goes."""

    report: Annotated[
        Path | None,
        typer.Option(help="A page of what was compared, and the result (.html).", rich_help_panel=OUTPUTS),
    ] = None
    overwrite: OverwriteOption = False

    def check(self, model: Path, inputs: "list[Path]") -> None:
        """Raise where the page cannot be made, or is what is read."""
        from unet_deploy.masks.apart import check_apart
        from unet_deploy.reporting.page import check_page

        if self.report:
            check_page(self.report, overwrite=self.overwrite)
            check_apart([self.report], [model, *inputs])

    def write(self, page: str) -> None:
        """Write the page that was asked for, and say where it is."""
        from unet_deploy.reporting.page import write_page

        if self.report:
            write_page(self.report, page, overwrite=self.overwrite)
            show.note(f"the report: {self.report}")


@command("Trust a model")
def verify(
    model: Annotated[str, typer.Argument(help="Model file, engine, or a shipped model's name.")],
    image: Annotated[Path, typer.Argument(help="The image to compare on.")],
    tiled: Annotated[bool, typer.Option("--tiled", help="Compare tiles with the whole image in one pass.")] = False,
    reference: Annotated[
        Path | None, typer.Option(help="Compare with this float32 model; an engine's record keeps the result.")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            help="Labels in a million that may differ from the reference's.",
            show_default="as the model's card says",
            metavar="FLOAT",
            parser=parse.ppm,
        ),
    ] = None,
    tile_size: Annotated[
        int | None, typer.Option("--tile-size", help="Side of the network's input, in pixels.")
    ] = None,
    *,
    read: ReadingOptions,
    proof: ProofOptions,
) -> None:
    """Show that tiles leave no seams, or that an engine says what its model says."""
    if tiled == (reference is not None):
        raise UsageError("verify: say what to compare: --tiled, or --reference MODEL.onnx")
    from unet_deploy.zoo import card_of, find_model

    file, reference = find_model(model), find_model(reference) if reference else None
    proof.check(file, [image, *([reference] if reference else [])])
    if reference is None:
        _verify_tiled(model, image, tile_size, read.reading(), proof)
        return
    from unet_deploy.measure.verify import verify_against
    from unet_deploy.reporting.verified import reference_page

    agreement = verify_against(model, reference, image, limit_ppm=limit, reading=read.reading())
    proof.write(reference_page(model, reference, image, agreement, card_of(file)))
    show.answer(f"{model}: {agreement}")
    agreement.require(model)


def _verify_tiled(model: str, image: Path, tile_size: int | None, reading: "Reading", proof: ProofOptions) -> None:
    from unet_deploy.measure.verify import verify_tiled
    from unet_deploy.reporting.verified import tiled_page
    from unet_deploy.zoo import open_model

    with open_model(model, probabilities=True, device="cpu") as runtime:
        check = verify_tiled(runtime, image, tile_size=tile_size, reading=reading)
    proof.write(tiled_page(model, check, image, runtime))
    show.seams(check, image)
    if not check.agreement.holds:
        raise VerificationError(f"{image}: the tiled answer is not the whole image's; do not trust masks of {model}")


@dataclass(frozen=True, eq=False, repr=False)
class MeasuringOptions:
    """What is measured, and what is asked of it."""

    size: Annotated[int, typer.Option(min=1, help="Side of the image, in pixels.", rich_help_panel=MEASURING)] = 512
    runs: Annotated[int, typer.Option(min=1, help="Images after the first ones.", rich_help_panel=MEASURING)] = 20
    max_latency: Annotated[
        float | None,
        typer.Option(
            "--max-latency",
            help="Seconds that the median may take; exit code 5 beyond.",
            rich_help_panel=MEASURING,
        ),
    ] = None


@command("Trust a model")
def benchmark(
    model: Annotated[str | None, typer.Argument(help="Model file, engine, or a shipped model's name.")] = None,
    *,
    measuring: MeasuringOptions,
    runtime: RuntimeOptions,
    tile_size: Annotated[
        int | None,
        typer.Option("--tile-size", help="Largest side of the network's input, in pixels.", rich_help_panel=TILES),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the stages as bars into this PNG.", rich_help_panel=OUTPUTS)
    ] = None,
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a model on this machine: latency, stages, memory and share of the processor's peak.

    --runtime all sets every runtime of this machine side by side.
    """
    from unet_deploy.masks.apart import check_apart
    from unet_deploy.measure.benchmark import Figures, benchmark, check_budget, draw, runnable, side_by_side
    from unet_deploy.system.extras import require
    from unet_deploy.system.files import check_free, check_png
    from unet_deploy.zoo import Request, find_model

    if plot:
        require("matplotlib", "train")
        check_apart([plot], [find_model(model)])
        check_png(plot)
        check_free(plot, overwrite=overwrite)
    if runtime.runtime == "all":
        found = side_by_side(model, runnable(model), size=measuring.size, runs=measuring.runs)
        show.side_by_side(found, as_json=as_json)
        figures = [each for each in found if isinstance(each, Figures)]
    else:
        request = Request(runtime.device, runtime.runtime, runtime.precision, tile_size=tile_size)
        with compiling_bar("compiling") as progress:
            figures = [benchmark(model, request, size=measuring.size, runs=measuring.runs, progress=progress)]
        show.figures(figures[0], as_json=as_json)
    if plot:
        draw(figures, plot, overwrite=overwrite)
        show.note(f"drawn: {plot}")
    check_budget(figures, measuring.max_latency)


@command("Look around")
def info(
    file: Annotated[Path, typer.Argument(help="A model, an engine, an image or a mask, or its URL.")],
    *,
    read: ReadingOptions,
) -> None:
    """Say what a model, an image or a mask is."""
    from unet_deploy.measure.inspection import describe

    show.file(describe(file, read.reading()))


@command("Look around")
def doctor() -> None:
    """Say what this machine can run, and why not."""
    from unet_deploy.measure.inspection import diagnose

    show.diagnosis(diagnose())


@command("Look around")
def sample(
    output: Annotated[Path, typer.Argument(help="The slide to write (.tif); its truth goes to <stem>.truth.tif.")],
    size: Annotated[
        parse.Size,
        typer.Option("--size", metavar="HEIGHTxWIDTH", help="In pixels.", parser=parse.size),
    ] = _SAMPLE_SIZE,
    seed: Annotated[int, typer.Option(help="The same seed makes the same slide.")] = 0,
    bits: Annotated[Literal[8, 16], typer.Option(help="Bits a pixel.")] = 8,
    overwrite: OverwriteOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Make a fluorescence slide of nuclei, of any size, with its known truth."""
    from unet_deploy.measure.sample import write_sample

    truth = output.parent / f"{output.stem}.truth.tif"
    with progress_bar(output.name, "blocks", shown=not no_progress) as progress:
        write_sample(
            output,
            size.height,
            size.width,
            seed=seed,
            truth=truth,
            bits=bits,
            overwrite=overwrite,
            progress=progress,
        )
    show.answer(f"{output}: {size.height} x {size.width} pixels; its truth: {truth}")
