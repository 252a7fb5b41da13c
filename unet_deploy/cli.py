"""The command line: each command parses, calls one function, and prints what it returns.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from unet_deploy import __version__
from unet_deploy.errors import UnetDeployError, UsageError

if TYPE_CHECKING:
    from trainer.data import MaskKind
    from trainer.evaluate import Evaluation
    from unet_deploy.runtimes import Runtime
    from unet_deploy.segmentation import Forecast, Outputs, Report

INTERRUPTED, OUT_OF_RESOURCES = 130, 6


class _Commands(TyperGroup):
    """Turns what a command raises into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UnetDeployError as error:
            _fail(str(error), error.exit_code)
        except MemoryError:
            _fail("out of memory; take a smaller --tile-size", OUT_OF_RESOURCES)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _fail(
                    f"{error.filename or 'output'}: the disk is full; free some space and run again", OUT_OF_RESOURCES
                )
            _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
        except KeyboardInterrupt:
            _fail("interrupted; nothing was left half-written", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    from unet_deploy.console import say

    say("error: " + " ".join(message.split()))
    raise typer.Exit(code)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A U-Net from weights to fast, trustworthy segmentation of images of any size.",
)

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Model file, or a shipped model's name.", show_default="nuclei")
]
TileSize = Annotated[int, typer.Option("--tile-size", help="Largest side of the network's input, in pixels.")]
Channel = Annotated[int | None, typer.Option("--channel", help="Which channel of a multi-channel image, from 0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bar.")]


def _version(asked: bool) -> None:
    if asked:
        print(f"unet-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="TIFF, PNG or JPEG files, folders or patterns.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Mask file (.tif), or a folder; by default beside the image.")
    ] = None,
    model: Model = None,
    tile_size: TileSize = 1212,
    channel: Channel = None,
    probabilities: Annotated[bool, typer.Option(help="Write the class probabilities too, float32.")] = False,
    overlay: Annotated[bool, typer.Option(help="Write a PNG to look at.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and do nothing.")] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Segment images of any size into tiled TIFF masks of class indices."""
    from unet_deploy.console import say
    from unet_deploy.inputs import find_images, name_outputs
    from unet_deploy.models import open_model

    paths = find_images(images)
    jobs = list(zip(paths, name_outputs(paths, output, probabilities=probabilities, overlay=overlay), strict=True))
    failed = 0
    with open_model(model, probabilities=probabilities) as runtime:
        for path, outputs in jobs:
            try:
                if dry_run:
                    _print_forecast(path, runtime, tile_size, channel)
                else:
                    _segment_one(path, outputs, runtime, tile_size, channel, overwrite, shown=not no_progress)
            except UnetDeployError as error:
                if len(jobs) == 1:
                    raise
                say(f"error: {error}")
                failed = failed or error.exit_code
    if failed:
        raise typer.Exit(failed)


def _segment_one(
    path: Path, outputs: Outputs, runtime: Runtime, tile_size: int, channel: int | None, overwrite: bool, *, shown: bool
) -> None:
    from unet_deploy.console import progress_bar
    from unet_deploy.segmentation import segment_file

    with progress_bar(path.name, shown=shown) as progress:
        outputs.mask.parent.mkdir(parents=True, exist_ok=True)
        report = segment_file(
            path, outputs, runtime, tile_size, channel=channel, overwrite=overwrite, progress=progress
        )
    _print_report(report)


def _print_report(report: Report) -> None:
    from unet_deploy.console import say

    if report.image.note:
        say(f"note: {report.image.name}: {report.image.note}")
    wall = report.timing.wall
    files = ", ".join(map(str, report.outputs))
    print(f"{files}: {report.megapixels:.4g} MPx in {wall:.3g} s, {report.megapixels / wall:.3g} MPx/s")


def _print_forecast(path: Path, runtime: Runtime, tile_size: int, channel: int | None) -> None:
    from unet_deploy.console import table
    from unet_deploy.segmentation import forecast

    print(table(_forecast_rows(forecast(path, runtime.card, tile_size, channel=channel), runtime)))


def _forecast_rows(plan: Forecast, runtime: Runtime) -> list[tuple[str, str]]:
    from unet_deploy.console import bytes_text

    image, tiles = plan.image, plan.plan
    return [
        ("image", f"{image.name}: {image.pages} x {image.channels} x {image.height} x {image.width} {image.dtype}"),
        ("model", f"{runtime.card.name} on {runtime.name}"),
        ("tiles", f"{image.pages * len(tiles)} ({tiles.rows} x {tiles.columns} a page)"),
        ("tile size", f"{tiles.input_height} x {tiles.input_width} in, {tiles.step_y} x {tiles.step_x} out"),
        ("halo overhead", f"{tiles.overhead:.2f} pixels computed for each pixel of the image"),
        ("peak memory", f"about {bytes_text(plan.memory)}" if plan.memory else "unknown: not in this model's card"),
    ]


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="Model file, or a shipped model's name.")],
    image: Annotated[Path, typer.Argument(help="The image to compare on.")],
    tiled: Annotated[bool, typer.Option("--tiled", help="Compare tiles with the whole image in one pass.")] = False,
    tile_size: Annotated[
        int | None, typer.Option("--tile-size", help="Side of the network's input, in pixels.")
    ] = None,
    channel: Channel = None,
) -> None:
    """Show that tiles leave no seams: compare them with the whole image in one pass."""
    from unet_deploy.console import table
    from unet_deploy.errors import VerificationError
    from unet_deploy.models import open_model
    from unet_deploy.verify import TOLERANCE, verify_tiled

    if not tiled:
        raise UsageError("verify: say what to compare: --tiled")
    with open_model(model, probabilities=True) as runtime:
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
def train(
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/, or an image stack (with --masks).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights file to write (.pt).")],
    masks: Annotated[Path | None, typer.Option(help="Label stack of the same number of pages.")] = None,
    preset: Annotated[str, typer.Option(help="modern, or paper for the original recipe.")] = "modern",
    classes: Annotated[
        str, typer.Option(help="Class names by label value, background first.")
    ] = "background,foreground",
    mask_kind: Annotated[str, typer.Option(help="auto, binary, classes or instances.")] = "auto",
    validation: Annotated[str, typer.Option(help="What to hold back: last:0.1, last:6 or every:10.")] = "last:0.1",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to train; by default the preset's.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of the first level; 64 in the paper.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, max=6, help="Levels below the first; 4 in the paper.")] = None,
    tile_size: Annotated[int | None, typer.Option(help="Side of the training tiles, in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Tiles a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Step size of the optimizer.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    pixel_size: Annotated[float | None, typer.Option(help="Micrometres, for the model card.")] = None,
    trained_on: Annotated[str, typer.Option(help="What the data is, for the model card.")] = "",
    license: Annotated[str, typer.Option(help="The licence of the weights, for the model card.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside the output.")] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Train a U-Net on annotated images."""
    import shlex
    import sys

    from unet_deploy.console import say, training_bar
    from unet_deploy.extras import need

    need("torch", "train")
    from trainer.train import PRESETS, About, tailored, train

    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: there are {' and '.join(PRESETS)}")
    chosen = {
        "width": width,
        "depth": depth,
        "steps": steps,
        "tile": tile_size,
        "batch": batch_size,
        "learning_rate": learning_rate,
    }
    about = About(
        classes=tuple(name.strip() for name in classes.split(",")),
        pixel_size_um=pixel_size,
        trained_on=trained_on,
        license=license,
        command=shlex.join(["unet-deploy", *sys.argv[1:]]),
    )
    try:
        with training_bar(output.name, shown=not no_progress) as progress:
            score = train(
                data,
                output,
                masks=masks,
                recipe=tailored(PRESETS[preset], seed=seed, **chosen),
                about=about,
                mask_kind=_mask_kind(mask_kind),
                validation=validation,
                evaluate_every=evaluate_every,
                resume=resume,
                overwrite=overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        say("the checkpoint is kept; go on with the same command and --resume")
        raise
    print(f"{output}: mean validation Dice {score:.4f}; next: unet-deploy export {output} -o {output.stem}.onnx")


def _mask_kind(text: str) -> MaskKind:
    kinds: dict[str, MaskKind] = {"auto": "auto", "binary": "binary", "classes": "classes", "instances": "instances"}
    if text in kinds:
        return kinds[text]
    raise UsageError(f"--mask-kind {text}: say auto, binary, classes or instances")


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="What `unet-deploy train` wrote (.pt).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.onnx).")],
    name: Annotated[str | None, typer.Option(help="The model's name in its card; by default the file's.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn weights into a self-describing ONNX model, checked against PyTorch."""
    from unet_deploy.extras import need

    need("torch", "train")
    need("onnx", "train")
    from trainer.export import export

    card = export(weights, output, name=name, overwrite=overwrite)
    print(f"{output}: model {card.name!r}, {card.channels} channel(s) to {len(card.classes)} classes")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model file, or a shipped model's name.")],
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/, or an image stack (with --masks).")],
    masks: Annotated[Path | None, typer.Option(help="Label stack of the same number of pages.")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Only what training held back: last:0.1, last:6, every:10.")
    ] = None,
    mask_kind: Annotated[str, typer.Option(help="auto, binary, classes or instances.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    no_progress: NoProgress = False,
) -> None:
    """Score a model on annotated images."""
    from trainer.data import find_pairs, split
    from trainer.evaluate import evaluate
    from unet_deploy.console import progress_bar
    from unet_deploy.models import open_model

    pairs = find_pairs(data, masks)
    if validation:
        pairs = [pairs[index] for index in split([pair.name for pair in pairs], validation)[1]]
    with open_model(model) as runtime, progress_bar(data.name, "images", shown=not no_progress) as progress:
        result = evaluate(runtime, pairs, mask_kind=_mask_kind(mask_kind), progress=progress)
    _print_evaluation(result, as_json)


@app.command()
def score(
    mask: Annotated[Path, typer.Argument(help="A mask that `segment` wrote.")],
    truth: Annotated[Path, typer.Argument(help="The true mask, or numbered objects, of the same size.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a mask against the truth."""
    from trainer.evaluate import score_files

    _print_evaluation(score_files(mask, truth), as_json)


def _print_evaluation(result: Evaluation, as_json: bool) -> None:
    from unet_deploy.console import table

    overall: dict[str, float] = {}
    for name, mean, pooled in zip(result.classes[1:], result.mean_dice, result.pooled_dice, strict=True):
        overall |= {f"Dice of {name}, mean of images": mean, f"Dice of {name}, all pixels": pooled}
    overall |= {"object F1 at IoU 0.5": result.f1[0], "object F1, mean over IoU 0.5 to 0.95": result.mean_f1}
    if as_json:
        import json

        images = {each.name: {"dice": each.dice, "f1": each.matches[0].f1} for each in result.scores}
        print(json.dumps({"overall": overall, "images": images}, indent=2))
        return
    if len(result.scores) > 1:
        rows = [
            (each.name, f"{' '.join(f'{value:.4f}' for value in each.dice)}  {each.matches[0].f1:.4f}")
            for each in result.scores
        ]
        print(table([("image", "Dice    object F1 at IoU 0.5"), *rows]) + "\n")
    print(table([("images", str(len(result.scores))), *((name, f"{value:.4f}") for name, value in overall.items())]))


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A model, an image or a mask.")]) -> None:
    """Say what a model, an image or a mask is."""
    from unet_deploy.console import table
    from unet_deploy.inspection import describe

    print(table(describe(file)))


@app.command()
def doctor() -> None:
    """Say what this machine can run, and why not."""
    from unet_deploy.console import table
    from unet_deploy.inspection import diagnose

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
    from unet_deploy.console import progress_bar
    from unet_deploy.sample import write_sample

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


def main() -> None:
    """Entry point of the `unet-deploy` command."""
    app()


if __name__ == "__main__":
    main()
