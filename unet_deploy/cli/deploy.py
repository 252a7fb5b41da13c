"""Commands that use a model: segment, verify, info, doctor, sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli.app import (
    BatchSize,
    Channel,
    Device,
    MaxMemory,
    Model,
    NoProgress,
    Overwrite,
    Precision,
    RuntimeName,
    TileSize,
    Tta,
    app,
)
from unet_deploy.errors import UnetDeployError, UsageError

if TYPE_CHECKING:
    from unet_deploy.images import ImageSource
    from unet_deploy.runtimes import Runtime
    from unet_deploy.segmentation.cluster import Cluster
    from unet_deploy.segmentation.forecast import Forecast
    from unet_deploy.segmentation.options import ObjectRules
    from unet_deploy.segmentation.run import Options, Outputs, Report
    from unet_deploy.zoo import Request


@app.command()
def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="TIFF, PNG, JPEG or OME-Zarr, folders, patterns or URLs.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Mask (.tif, .ome.tif, .zarr), or a folder; by default beside the image."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    runtime: RuntimeName = "auto",
    precision: Precision = None,
    tile_size: TileSize = None,
    batch_size: BatchSize = 1,
    max_memory: MaxMemory = None,
    channel: Channel = None,
    probabilities: Annotated[bool, typer.Option(help="Write the class probabilities too, float32.")] = False,
    tta: Tta = False,
    overlay: Annotated[bool, typer.Option(help="Write a PNG to look at.")] = False,
    objects: Annotated[
        str | None,
        typer.Option("--objects", help="Table of objects: a .csv, .parquet or .geojson file, or just csv."),
    ] = None,
    instances: Annotated[
        str | None, typer.Option("--instances", help="Their numbers, uint32: a .tif file, or just tif.")
    ] = None,
    min_size: Annotated[int, typer.Option("--min-size", min=0, help="Objects of fewer pixels are left out.")] = 0,
    fill_holes: Annotated[bool, typer.Option("--fill-holes", help="Holes belong to the object around them.")] = False,
    connectivity: Annotated[int, typer.Option("--connectivity", help="4, or 8 for pixels that touch at a corner.")] = 4,
    skip_background: Annotated[
        bool, typer.Option("--skip-background", help="Do not compute uniform tiles, such as glass: they are class 0.")
    ] = False,
    level: Annotated[
        str, typer.Option("--level", help="Level of a pyramid, 0 the finest; auto for the model's pixel size.")
    ] = "0",
    roi: Annotated[
        str | None, typer.Option("--roi", help="Only this part: y,x,height,width in pixels. The mask keeps its place.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run of the same image and settings was broken off.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print tiles, memory, disk and time; write nothing.")
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Let a Dask cluster compute: tcp://host:8786.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Let so many processes of this machine compute.")
    ] = None,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Segment images of any size into tiled masks of class indices, TIFF or OME-Zarr."""
    from unet_deploy.cli.console import parse_bytes, say
    from unet_deploy.segmentation.inputs import find_images, name_outputs
    from unet_deploy.segmentation.outputs import finished, unfinished
    from unet_deploy.segmentation.planning import first_look
    from unet_deploy.segmentation.run import Options, parse_region
    from unet_deploy.zoo import Request

    paths = find_images(images)
    named = name_outputs(
        paths, output, probabilities=probabilities, overlay=overlay, objects=objects, instances=instances
    )
    jobs = list(zip(paths, named, strict=True))
    failed = 0
    wish = Request(
        probabilities=probabilities or tta,
        device=device,
        runtime=runtime,
        precision=precision,
        tile_size=tile_size,
        batch_size=batch_size,
    )
    look = first_look(paths, Options(channel=channel, level=_parse_level(level)))
    with (
        look as (pixels, source),
        _machines(model, replace(wish, pixels=pixels), scheduler, workers) as (ready, cluster),
    ):
        options = Options(
            tile_size=None if ready.limits.hard else tile_size,  # an engine has taken it as its limit
            channel=channel,
            level=_parse_level(level),
            max_memory=parse_bytes(max_memory),
            skip_background=skip_background,
            tta=tta,
            objects=_counted(connectivity, min_size, fill_holes),
            roi=parse_region(roi) if roi else None,
            resume=resume,
            overwrite=overwrite,
        )
        for path, outputs in jobs:
            try:
                if resume and finished(outputs.mask) and not overwrite:
                    say(f"{outputs.mask}: is finished already")
                elif dry_run:
                    _print_forecast(path, outputs, ready, options, cluster)
                else:
                    _segment_one(path, source, outputs, ready, options, cluster, shown=not no_progress)
            except (UnetDeployError, KeyboardInterrupt) as error:
                if not isinstance(error, UsageError) and unfinished(outputs.mask).exists():
                    say(f"{outputs.mask}: what is finished is kept; go on with the same command and --resume")
                if len(jobs) == 1 or isinstance(error, KeyboardInterrupt):
                    raise
                say(f"error: {error}")
                failed = failed or error.exit_code
    if failed:
        raise typer.Exit(failed)


@contextmanager
def _machines(
    model: str | None, wish: Request, scheduler: str | None, workers: int | None
) -> Iterator[tuple[Runtime, Cluster | None]]:
    """The model ready on this machine, and the cluster where one is to compute."""
    from unet_deploy.cli.console import progress_bar, say
    from unet_deploy.zoo import open_model

    with ExitStack() as stack:
        cluster = None
        if scheduler or workers:
            from unet_deploy.segmentation.cluster import Cluster

            cluster = stack.enter_context(Cluster(model, wish, scheduler=scheduler, workers=workers))
        with progress_bar("compiling", "steps") as progress:
            ready = open_model(model, wish, notify=say, progress=progress)
        yield stack.enter_context(ready), cluster


def _counted(connectivity: int, min_size: int, fill_holes: bool) -> ObjectRules:
    from unet_deploy.segmentation.options import ObjectRules

    if connectivity == 8:
        return ObjectRules(8, min_size, fill_holes)
    if connectivity == 4:
        return ObjectRules(4, min_size, fill_holes)
    raise UsageError(f"--connectivity {connectivity}: pixels have 4 or 8 neighbours")


def _parse_level(text: str) -> int | None:
    if text != "auto" and not text.isdigit():
        raise UsageError(f"--level {text}: give a number, 0 the finest, or auto")
    return None if text == "auto" else int(text)


def _segment_one(
    path: Path,
    source: ImageSource | None,
    outputs: Outputs,
    runtime: Runtime,
    options: Options,
    cluster: Cluster | None,
    *,
    shown: bool,
) -> None:
    from unet_deploy.cli.console import progress_bar
    from unet_deploy.segmentation.compute import stream_here
    from unet_deploy.segmentation.run import segment_file

    with progress_bar(path.name, shown=shown) as progress:
        outputs.mask.parent.mkdir(parents=True, exist_ok=True)
        report = segment_file(
            path, outputs, runtime, options, compute=cluster or stream_here, progress=progress, source=source
        )
    _print_report(report)


def _print_report(report: Report) -> None:
    from unet_deploy.cli.console import say

    if report.image.note:
        say(f"note: {report.image.name}: {report.image.note}")
    if report.proved:
        say(f"proved on first use: {report.proved}")
    tiles = report.image.pages * len(report.plan)
    if report.timing.resumed:
        say(f"resumed: {report.timing.resumed} of {tiles} tiles were finished already")
    if report.timing.skipped:
        say(f"skipped as background: {report.timing.skipped} of {tiles} tiles")
    if report.objects is not None:
        say(f"objects: {report.objects}")
    wall = report.timing.wall
    files = ", ".join(map(str, report.outputs))
    print(
        f"{files}: {report.megapixels:.4g} MPx in {wall:.3g} s, {report.megapixels / wall:.3g} MPx/s, {report.runtime}"
    )


def _print_forecast(path: Path, outputs: Outputs, runtime: Runtime, options: Options, cluster: Cluster | None) -> None:
    from unet_deploy.cli.console import bytes_text, say, table
    from unet_deploy.segmentation.compute import stream_here
    from unet_deploy.segmentation.forecast import forecast

    found = forecast(path, runtime, outputs, options, compute=cluster or stream_here)
    print(table(_forecast_rows(found, runtime)))
    if cluster:
        say("note: memory and time are those of one process that does it all")
    if found.free < found.most.peak:
        free, most = bytes_text(found.free), bytes_text(found.most.peak)
        say(f"note: {outputs.mask}: its disk has {free} free, and {most} may be needed")


def _forecast_rows(found: Forecast, runtime: Runtime) -> list[tuple[str, str]]:
    from unet_deploy.cli.console import bytes_text, time_text

    image, tiles = found.image, found.plan
    likely, most = (
        f"{bytes_text(disk.peak)} while it runs and {bytes_text(disk.end)} in the end"
        for disk in (found.likely, found.most)
    )
    return [
        ("image", f"{image.name}: {image.pages} x {image.channels} x {tiles.height} x {tiles.width} {image.dtype}"),
        ("model", f"{runtime.card.name} on {runtime.name}"),
        ("tiles", f"{image.pages * len(tiles)} ({tiles.rows} x {tiles.columns} a page)"),
        ("tile size", f"{tiles.input_height} x {tiles.input_width} in, {tiles.step_y} x {tiles.step_x} out"),
        ("halo overhead", f"{tiles.overhead:.2f} pixels computed for each pixel of the image"),
        ("peak memory", f"about {bytes_text(found.memory)}" if found.memory else "unknown: not in this model's card"),
        ("disk", f"about {likely}"),
        ("disk at most", f"{most}; {bytes_text(found.free)} are free"),
        ("time", f"about {time_text(found.seconds)}, as one tile of it takes"),
    ]


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="Model file, engine, or a shipped model's name.")],
    image: Annotated[Path, typer.Argument(help="The image to compare on.")],
    tiled: Annotated[bool, typer.Option("--tiled", help="Compare tiles with the whole image in one pass.")] = False,
    reference: Annotated[
        Path | None, typer.Option(help="Compare with this float32 model; an engine's record keeps the result.")
    ] = None,
    limit: Annotated[float, typer.Option(help="Labels in a million that may differ from the reference's.")] = 1000,
    tile_size: Annotated[
        int | None, typer.Option("--tile-size", help="Side of the network's input, in pixels.")
    ] = None,
    channel: Channel = None,
) -> None:
    """Show that tiles leave no seams, or that an engine says what its model says."""
    if tiled == (reference is not None):
        raise UsageError("verify: say what to compare: --tiled, or --reference MODEL.onnx")
    if reference:
        from unet_deploy.measure.verify import verify_against

        accuracy = verify_against(model, reference, image, limit_ppm=limit, channel=channel)
        print(f"{model}: {accuracy}")
        accuracy.require(model)
        return
    _verify_tiled(model, image, tile_size, channel)


def _verify_tiled(model: str, image: Path, tile_size: int | None, channel: int | None) -> None:
    from unet_deploy.cli.console import table
    from unet_deploy.errors import VerificationError
    from unet_deploy.measure.verify import verify_tiled
    from unet_deploy.runtimes.agreement import TOLERANCE
    from unet_deploy.zoo import open_model

    with open_model(model, probabilities=True, device="cpu") as runtime:
        check = verify_tiled(runtime, image, tile_size=tile_size, channel=channel)
    seen = check.agreement
    area, plan = check.region, check.plan
    rows = [
        ("compared", f"{area.height} x {area.width} pixels at ({area.y}, {area.x}) of {image}"),
        ("tiles", f"{len(plan)} of at most {plan.input_height} x {plan.input_width}, against one pass"),
        ("labels that differ", f"{seen.labels_differ} of {seen.pixels} ({seen.ties} of them ties)"),
        ("worst probability", f"{seen.worst_probability:.2g} apart (limit {TOLERANCE:g})"),
    ]
    print(table(rows))
    if not seen.holds:
        raise VerificationError(f"{image}: the tiled answer is not the whole image's; do not trust masks of {model}")


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A model, an image or a mask.")]) -> None:
    """Say what a model, an image or a mask is."""
    from unet_deploy.cli.console import table
    from unet_deploy.measure.inspection import describe

    print(table(describe(file)))


@app.command()
def doctor() -> None:
    """Say what this machine can run, and why not."""
    from unet_deploy.cli.console import table
    from unet_deploy.measure.inspection import diagnose

    print(table(diagnose()))


@app.command()
def sample(
    output: Annotated[Path, typer.Argument(help="The slide to write (.tif); its truth goes to <stem>.truth.tif.")],
    size: Annotated[str, typer.Option("--size", help="HEIGHTxWIDTH in pixels.")] = "4096x4096",
    seed: Annotated[int, typer.Option(help="The same seed makes the same slide.")] = 0,
    bits: Annotated[int, typer.Option(help="8 or 16 bits a pixel.")] = 8,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Make a fluorescence slide of nuclei, of any size, with its known truth."""
    from unet_deploy.cli.console import progress_bar
    from unet_deploy.measure.sample import write_sample

    height, width = _parse_size(size)
    if bits not in (8, 16):
        raise UsageError(f"--bits {bits}: a sample has 8 or 16")
    truth = output.with_name(f"{output.stem}.truth.tif")
    with progress_bar(output.name, "blocks", shown=not no_progress) as progress:
        write_sample(
            output,
            height,
            width,
            seed=seed,
            truth=truth,
            bits=bits,
            overwrite=overwrite,
            progress=progress,
        )
    print(f"{output}: {height} x {width} pixels; its truth: {truth}")


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UsageError(f"--size {text}: give height and width in pixels, for example 8192x8192")
    return int(height), int(width)
