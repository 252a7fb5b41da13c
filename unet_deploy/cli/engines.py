"""Commands that make a model fit a device: build-engine, quantize, export-triton."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli.app import NoProgress, Overwrite, app
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.model.card import ModelCard
    from unet_deploy.runtimes.tensorrt.options import Profile

Shape = Annotated[str | None, typer.Option(metavar="NxHxW", help="Tiles, height and width of a submission.")]


@app.command()
def build_engine(
    model: Annotated[str, typer.Argument(help="Model file (.onnx), or a shipped model's name.")],
    engine: Annotated[Path, typer.Option("-o", "--engine", help="Engine to write; its record goes to ENGINE.json.")],
    precision: Annotated[str, typer.Option(help="fp16, fp32, or int8 for a quantized (Q/DQ) model.")] = "fp16",
    tile_size: Annotated[
        str | None, typer.Option("--tile-size", help="Fixed input, in pixels: SIDE or HEIGHTxWIDTH.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Tiles of a submission.")] = 1,
    min_shapes: Shape = None,
    opt_shapes: Shape = None,
    max_shapes: Shape = None,
    pixels: Annotated[str, typer.Option(help="Pixels that cross the bus: uint8, uint16 or float32.")] = "uint8",
    output: Annotated[str, typer.Option(help="What the engine returns: labels, or probabilities as well.")] = "labels",
    compiler: Annotated[str, typer.Option(help="auto, tensorrt or tensorrt_rtx.")] = "auto",
    target: Annotated[
        str | None, typer.Option(help="GPUs to compile for ahead of time, with TensorRT for RTX: sm86,sm89,sm120.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Compare the engine with the model on this image, where there is a GPU.")
    ] = None,
    limit: Annotated[float, typer.Option(help="Labels in a million that may differ from the model's.")] = 1000,
    timing_cache: Annotated[
        Path | None, typer.Option("--timing-cache", help="File of kernel timings, for faster builds.")
    ] = None,
    workspace: Annotated[str | None, typer.Option(help="Scratch memory on the GPU: 2GiB, 512MiB.")] = None,
    optimization_level: Annotated[
        int | None, typer.Option("--optimization-level", min=0, max=5, help="How long to look for faster kernels.")
    ] = None,
    hardware_compatibility: Annotated[
        str, typer.Option("--hardware-compatibility", help="Other GPUs: none, same (compute capability), ampere.")
    ] = "none",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Let later minor versions of TensorRT run it.")
    ] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Compile a model to a TensorRT engine."""
    from typing import get_args

    from unet_deploy.system.extras import require

    require("onnx", "compile")

    from unet_deploy.cli.console import parse_bytes, progress_bar, say, table
    from unet_deploy.convert.engines import ProofImage, make_engine
    from unet_deploy.measure.inspection import describe
    from unet_deploy.model.contract import Pixels, Precision
    from unet_deploy.model.onnx_file import read_model
    from unet_deploy.runtimes.tensorrt.compilers import find_compiler
    from unet_deploy.runtimes.tensorrt.options import BuildOptions, Compatibility
    from unet_deploy.zoo import find_model

    for option, value, kinds in (
        ("--precision", precision, get_args(Precision)),
        ("--pixels", pixels, get_args(Pixels)),
        ("--output", output, ("labels", "probabilities")),
        ("--hardware-compatibility", hardware_compatibility, get_args(Compatibility)),
    ):
        if value not in kinds:
            raise UsageError(f"{option} {value}: there are {', '.join(kinds)}")
    source = read_model(find_model(model))
    targets = tuple(part.strip().lower() for part in (target or "").split(",") if part.strip())
    options = BuildOptions(
        profile=_profile(source.card, tile_size, batch_size, (min_shapes, opt_shapes, max_shapes)),
        precision=precision,  # type: ignore[arg-type]
        pixels=pixels,  # type: ignore[arg-type]
        probabilities=output == "probabilities",
        targets=targets,
        workspace=parse_bytes(workspace),
        optimization_level=optimization_level,
        compatibility=hardware_compatibility,  # type: ignore[arg-type]
        version_compatible=version_compatible,
    )
    chosen = find_compiler(compiler, targets=bool(targets)).with_timings(timing_cache)
    proof = ProofImage(image, limit) if image else None
    with progress_bar(engine.name, "steps", shown=not no_progress) as progress:
        make_engine(source, engine, options, chosen, proof=proof, overwrite=overwrite, progress=progress, notify=say)
    print(table(describe(engine)))


def _profile(card: ModelCard, tile_size: str | None, batch: int, shapes: tuple[str | None, ...]) -> Profile:
    from unet_deploy.runtimes import DEFAULT_TILE
    from unet_deploy.runtimes.tensorrt.options import Profile
    from unet_deploy.tiling import legal_side

    if any(shapes):
        if not all(shapes) or tile_size:
            raise UsageError("--min-shapes, --opt-shapes and --max-shapes go together, and without --tile-size")
        least, best, most = (_shape(shape or "") for shape in shapes)
        return Profile(least, best, most)
    if tile_size:
        height, width = _shape(f"1x{tile_size}x{tile_size}" if tile_size.isdigit() else f"1x{tile_size}")[1:]
        return Profile.of(batch, height, width)
    side = legal_side(DEFAULT_TILE, card)
    return Profile((1, card.base, card.base), (batch, side, side), (batch, side, side))


def _shape(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text.lower())
    if not found:
        raise UsageError(f"shape {text}: give tiles, height and width, for example 4x572x572")
    batch, height, width = map(int, found.groups())
    return batch, height, width


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="Model file (.onnx), or a shipped model's name.")],
    calibration: Annotated[list[str], typer.Option("--calibration", help="Real images: files, folders, patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.onnx).")],
    limit: Annotated[float, typer.Option(help="Labels in a million that may differ from the float32 model's.")] = 5000,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Make a model of 8-bit layers, for CPUs and for build-engine --precision int8."""
    from unet_deploy.cli.console import progress_bar
    from unet_deploy.segmentation.inputs import find_images
    from unet_deploy.system.extras import require
    from unet_deploy.zoo import find_model

    require("onnx", "compile")
    from unet_deploy.convert.quantize import quantize

    images = find_images(calibration)
    with progress_bar(output.name, "attempts", shown=not no_progress) as progress:
        made = quantize(find_model(model), images, output, limit_ppm=limit, overwrite=overwrite, progress=progress)
    done = made.convolutions - made.kept
    print(f"{output}: {done} of {made.convolutions} layers in 8 bits, calibrated on {made.calibrated_on} images")
    print(f"{output}: {made.accuracy}")


@app.command()
def export_triton(
    model: Annotated[str, typer.Argument(help="Model file, engine, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model repository.")],
    name: Annotated[str | None, typer.Option(help="Name to serve it under; by default the model's.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Most tiles of a request.")] = 8,
    overwrite: Overwrite = False,
) -> None:
    """Write a Triton Inference Server model repository."""
    from unet_deploy.convert.triton import export_triton
    from unet_deploy.zoo import find_model

    folder = export_triton(find_model(model), output, name=name, most_tiles=batch_size, overwrite=overwrite)
    print(f"{folder}: serve it with: tritonserver --model-repository={output}")
