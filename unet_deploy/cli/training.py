"""Commands that make a model, and say how good it is: train, export, evaluate, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli.app import NoProgress, Overwrite, app
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from trainer.data import MaskKind
    from trainer.evaluate import Evaluation


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
    from trainer.recipe import PRESETS, About, tailored
    from trainer.train import train
    from trainer.weights import Files

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
        if Files(output).checkpoint.exists():
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
