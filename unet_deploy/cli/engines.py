"""Commands that make a model fit a device: build-engine, quantize, export-triton."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unet_deploy.cli import parse, show
from unet_deploy.cli.app import command
from unet_deploy.cli.options import MODEL, OUTPUTS, NoProgressOption, OverwriteOption, ReadingOptions
from unet_deploy.cli.progress import compiling_bar, progress_bar
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.model.card import ModelCard
    from unet_deploy.runtimes.tensorrt.options import Profile

SHAPES, BUILD, PROOF = "Submissions", "Compiler", "Proof"
"""Themes: the sections of a command's help."""

# Written here and not imported: the modules that know these choices are too heavy for --help. A test compares them.
Precision = Literal["fp32", "fp16", "int8"]
Pixels = Literal["uint8", "uint16", "float32"]
Compiler = Literal["auto", "tensorrt", "tensorrt_rtx"]
Compatibility = Literal["none", "same", "ampere"]

ShapeOption = Annotated[
    parse.Shape | None,
    typer.Option(
        metavar="NxHxW",
        help="Tiles, height and width of a submission.",
        parser=parse.shape,
        rich_help_panel=SHAPES,
    ),
]
ModelArgument = Annotated[str, typer.Argument(help="Model file (.onnx), or a shipped model's name.")]


@dataclass(frozen=True, eq=False, repr=False)
class ShapeOptions:
    """What an engine takes at once: one shape, or a range of them."""

    tile_size: Annotated[
        parse.Size | None,
        typer.Option(
            "--tile-size",
            metavar="SIDE|HxW",
            help="Fixed input, in pixels.",
            parser=parse.tile,
            rich_help_panel=SHAPES,
        ),
    ] = None
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Tiles of a submission.", rich_help_panel=SHAPES)
    ] = 1
    min_shapes: ShapeOption = None
    opt_shapes: ShapeOption = None
    max_shapes: ShapeOption = None

    def profile(self, card: "ModelCard") -> "Profile":
        """The smallest, best and largest submission. Raises UsageError where options contradict each other."""
        from unet_deploy.runtimes import DEFAULT_TILE
        from unet_deploy.runtimes.tensorrt.options import Profile
        from unet_deploy.tiling import legal_side

        if self.min_shapes or self.opt_shapes or self.max_shapes:
            if not (self.min_shapes and self.opt_shapes and self.max_shapes) or self.tile_size:
                raise UsageError("--min-shapes, --opt-shapes and --max-shapes go together, and without --tile-size")
            return Profile(self.min_shapes, self.opt_shapes, self.max_shapes)
        if self.tile_size:
            return Profile.of(self.batch_size, self.tile_size.height, self.tile_size.width)
        side = legal_side(DEFAULT_TILE, card)
        largest = (self.batch_size, side, side)
        return Profile((1, card.base, card.base), largest, largest)


@dataclass(frozen=True, eq=False, repr=False)
class CompilerOptions:
    """What the compiler may do, and for which GPUs."""

    compiler: Annotated[Compiler, typer.Option(help="What compiles.", rich_help_panel=BUILD)] = "auto"
    target: Annotated[
        parse.Names | None,
        typer.Option(
            help="GPUs to compile for ahead of time, with TensorRT for RTX: sm86,sm89,sm120.",
            show_default="the one at hand",
            metavar="NAMES",
            parser=parse.names,
            rich_help_panel=BUILD,
        ),
    ] = None
    timing_cache: Annotated[
        Path | None,
        typer.Option("--timing-cache", help="File of kernel timings, for faster builds.", rich_help_panel=BUILD),
    ] = None
    workspace: Annotated[
        int | None,
        typer.Option(
            help="Scratch memory on the GPU: 2GiB, 512MiB.",
            metavar="SIZE",
            parser=parse.byte_count,
            rich_help_panel=BUILD,
        ),
    ] = None
    optimization_level: Annotated[
        int | None,
        typer.Option(
            "--optimization-level",
            min=0,
            max=5,
            help="How long to look for faster kernels.",
            rich_help_panel=BUILD,
        ),
    ] = None
    hardware_compatibility: Annotated[
        Compatibility,
        typer.Option(
            "--hardware-compatibility",
            help="Other GPUs: none, same (compute capability), ampere.",
            rich_help_panel=BUILD,
        ),
    ] = "none"
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="Let later minor versions of TensorRT run it.", rich_help_panel=BUILD
        ),
    ] = False


@dataclass(frozen=True, eq=False, repr=False)
class FormOptions:
    """What an engine computes in, takes and returns."""

    precision: Annotated[
        Precision,
        typer.Option(help="fp16, fp32, or int8 for a quantized (Q/DQ) model.", rich_help_panel=MODEL),
    ] = "fp16"
    pixels: Annotated[Pixels, typer.Option(help="Pixels that cross the bus.", rich_help_panel=MODEL)] = "uint8"
    output: Annotated[
        Literal["auto", "labels", "probabilities"],
        typer.Option(
            help="What the engine returns: labels, or probabilities as well; auto: these where objects go by them.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"


@dataclass(frozen=True, eq=False, repr=False)
class ProofOptions(ReadingOptions):
    """What a new engine is compared with its model on, and how far they may differ."""

    image: Annotated[
        Path | None,
        typer.Option(
            help="Compare the engine with the model on this image, where there is a GPU.", rich_help_panel=PROOF
        ),
    ] = None
    limit: Annotated[
        float | None,
        typer.Option(
            help="Labels in a million that may differ from the model's.",
            show_default="as its card says",
            metavar="FLOAT",
            parser=parse.ppm,
            rich_help_panel=PROOF,
        ),
    ] = None


@command("Fit a device")
def build_engine(
    model: ModelArgument,
    engine: Annotated[
        Path,
        typer.Option(
            "-o", "--engine", help="Engine to write; its record goes to ENGINE.json.", rich_help_panel=OUTPUTS
        ),
    ],
    *,
    form: FormOptions,
    shapes: ShapeOptions,
    build: CompilerOptions,
    proof: ProofOptions,
    overwrite: OverwriteOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Compile a model to a TensorRT engine."""
    from unet_deploy.system.extras import require

    require("onnx", "onnx")

    from unet_deploy.convert.engines import ProofImage, make_engine
    from unet_deploy.measure.inspection import describe
    from unet_deploy.model.changed import read_to_run
    from unet_deploy.runtimes.tensorrt.compilers import find_compiler
    from unet_deploy.runtimes.tensorrt.options import BuildOptions
    from unet_deploy.zoo import find_model

    source = read_to_run(find_model(model))
    targets = tuple(name.lower() for name in build.target or ())
    options = BuildOptions(
        profile=shapes.profile(source.card),
        precision=form.precision,
        pixels=form.pixels,
        probabilities=form.output == "probabilities" or (form.output == "auto" and source.card.decision.peak > 0),
        targets=targets,
        workspace=build.workspace,
        optimization_level=build.optimization_level,
        compatibility=build.hardware_compatibility,
        version_compatible=build.version_compatible,
    )
    chosen = find_compiler(build.compiler, targets=bool(targets)).with_timings(build.timing_cache)
    if build.timing_cache and chosen.timing_cache is None:
        raise UsageError("--timing-cache is TensorRT's: for RTX kernels are timed on the user's GPU; leave it out")
    proved = ProofImage(proof.image, proof.limit, proof.reading()) if proof.image else None
    with compiling_bar(engine.name, shown=not no_progress) as progress:
        make_engine(
            source, engine, options, chosen, proof=proved, overwrite=overwrite, progress=progress, notify=show.note
        )
    show.file(describe(engine))


@command("Fit a device")
def quantize(
    model: ModelArgument,
    calibration: Annotated[list[str], typer.Option("--calibration", help="Real images: files, folders, patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.onnx).")],
    limit: Annotated[
        float,
        typer.Option(
            help="Labels in a million that may differ from the float32 model's.", metavar="FLOAT", parser=parse.ppm
        ),
    ] = 5000,
    *,
    read: ReadingOptions,
    overwrite: OverwriteOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Make a model of 8-bit layers, for CPUs and for build-engine --precision int8."""
    from unet_deploy.segmentation.inputs import find_images
    from unet_deploy.system.extras import require
    from unet_deploy.zoo import find_model

    require("onnx", "onnx")
    from unet_deploy.convert.quantize import quantize

    images = find_images(calibration)
    with progress_bar(output.name, "attempts", shown=not no_progress) as progress:
        made = quantize(
            find_model(model),
            images,
            output,
            limit_ppm=limit,
            reading=read.reading(),
            overwrite=overwrite,
            progress=progress,
        )
    show.quantized(made, output)


@command("Fit a device")
def export_triton(
    model: Annotated[str, typer.Argument(help="Model file, engine, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model repository.")],
    name: Annotated[str | None, typer.Option(help="Name to serve it under; by default the model's.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Most tiles of a request.")] = 8,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a Triton Inference Server model repository."""
    from unet_deploy.convert.triton import export_triton
    from unet_deploy.zoo import find_model

    folder = export_triton(find_model(model), output, name=name, most_tiles=batch_size, overwrite=overwrite)
    show.answer(f"{folder}: serve it with: tritonserver --model-repository={output}")
