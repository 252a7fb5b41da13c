"""Commands that make a model, and say how good it is: train, export, evaluate, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli.app import NoProgress, Overwrite, Tta, app
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.evaluation.pairs import MaskKind
    from unet_deploy.evaluation.scores import Evaluation

NOTABLE = 0.25
"""Pixels from which masks that lie beside their images are worth a word."""

MinSize = Annotated[int, typer.Option("--min-size", min=0, help="Objects of fewer pixels are left out.")]


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
    validation: Annotated[
        str, typer.Option(help="What to hold back: last:0.1, last:6, fold:1/5, every:10 or names:a,b.")
    ] = "last:0.1",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to train; by default the preset's.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of the first level; 64 in the paper.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, max=6, help="Levels below the first; 4 in the paper.")] = None,
    tile_size: Annotated[int | None, typer.Option(help="Side of the training tiles, in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Tiles a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Step size of the optimizer.")] = None,
    border_weight: Annotated[
        float | None,
        typer.Option("--border-weight", min=0, help="Of gaps between objects; 0 where they do not matter."),
    ] = None,
    augmentation: Annotated[
        float, typer.Option(min=0, help="How far zoom, grey values, noise and blur vary; 1 is the preset's.")
    ] = 1.0,
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

    from unet_deploy.cli.console import say, training_bar
    from unet_deploy.system.extras import require

    require("torch", "train")
    from trainer.data import DataSet
    from trainer.recipe import PRESETS, ModelDescription, tailored
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
        "w0": border_weight,
    }
    description = ModelDescription(
        classes=tuple(name.strip() for name in classes.split(",")),
        pixel_size_um=pixel_size,
        trained_on=trained_on,
        license=license,
        command=shlex.join(["unet-deploy", *sys.argv[1:]]),
    )
    try:
        with training_bar(output.name, shown=not no_progress) as progress:
            score = train(
                DataSet(data, masks, _mask_kind(mask_kind), validation),
                output,
                tailored(PRESETS[preset], strength=augmentation, seed=seed, **chosen),
                description,
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
    from unet_deploy.system.extras import require

    require("torch", "train")
    require("onnx", "train")
    from trainer.export import export

    card = export(weights, output, name=name, overwrite=overwrite)
    print(f"{output}: model {card.name!r}, {card.channels} channel(s) to {len(card.classes)} classes")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model file, or a shipped model's name.")],
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/, or an image stack (with --masks).")],
    masks: Annotated[Path | None, typer.Option(help="Label stack of the same number of pages.")] = None,
    validation: Annotated[str | None, typer.Option(help="Only what training held back, in the same words.")] = None,
    mask_kind: Annotated[str, typer.Option(help="auto, binary, classes or instances.")] = "auto",
    metrics: Annotated[
        str, typer.Option(help="overlap, objects, thresholds, partitions (ISBI 2012), or all; several with commas.")
    ] = "overlap,objects",
    tta: Tta = False,
    min_size: MinSize = 0,
    plot: Annotated[Path | None, typer.Option(help="A sheet of the worst images, to look at (.png).")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into the model's card.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Score a model on annotated images."""
    from unet_deploy.cli.console import progress_bar, say
    from unet_deploy.evaluation.evaluate import evaluate
    from unet_deploy.evaluation.evaluate import record as record_figures
    from unet_deploy.evaluation.measures import Scoring, parse_groups
    from unet_deploy.evaluation.pairs import find_pairs, split
    from unet_deploy.system.extras import require
    from unet_deploy.system.files import check_free
    from unet_deploy.zoo import find_model, open_model

    scoring = Scoring(parse_groups(metrics), min_size)
    file = find_model(model)
    if record:
        require("onnx", "train")
        if file.suffix != ".onnx":
            raise UsageError(f"--record: {file} is no .onnx file; evaluate the model that it was built from")
    if scoring.partitions:
        require("skimage", "train")
    if plot:
        require("matplotlib", "train")
        check_free(plot, overwrite=overwrite)
    pairs = find_pairs(data, masks)
    if validation:
        pairs = [pairs[index] for index in split([pair.name for pair in pairs], validation)[1]]
    with open_model(model, probabilities=scoring.by_threshold or tta) as runtime:
        with progress_bar(data.name, "images", shown=not no_progress) as progress:
            result = evaluate(
                runtime,
                pairs,
                scoring,
                mask_kind=_mask_kind(mask_kind),
                tta=tta,
                progress=progress,
            )
        if plot:
            from unet_deploy.evaluation.sheet import draw_worst

            draw_worst(plot, runtime, result, pairs, mask_kind=_mask_kind(mask_kind), tta=tta, overwrite=overwrite)
    _print_evaluation(result, as_json, scoring.groups)
    if plot and not as_json:
        print(f"the worst images: {plot}")
    if record:
        ways = [f"{len(pairs)} images of {data.resolve().stem}"]
        ways += [f"validation {validation}"] if validation else []
        ways += ["mean of 8 orientations"] if tta else []
        ways += [f"objects of {min_size} pixels and more"] if min_size else []
        record_figures(file, result.overall(scoring.groups), ", ".join(ways))
        say(f"{file}: the figures are in its card")


@app.command()
def score(
    mask: Annotated[Path, typer.Argument(help="A mask that `segment` wrote.")],
    truth: Annotated[Path, typer.Argument(help="The true mask, or numbered objects, of the same size.")],
    min_size: MinSize = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a mask against the truth."""
    from unet_deploy.evaluation.evaluate import score_files
    from unet_deploy.evaluation.measures import USUAL

    _print_evaluation(score_files(mask, truth, min_size=min_size), as_json, USUAL.groups)


def _print_evaluation(result: Evaluation, as_json: bool, groups: frozenset[str]) -> None:
    from unet_deploy.cli.console import columns, say, table
    from unet_deploy.evaluation.scores import CUTS

    if result.without_objects:
        images = f"{result.without_objects} of {len(result.scores)} images"
        say(f"SEG: no true objects in {images}, which do not count")
    if as_json:
        import json

        print(json.dumps(result.to_json(), indent=2))
        return
    if len(result.scores) > 1:
        head = ["image", *(f"Dice of {name}" for name in result.classes[1:]), "object F1 at IoU 0.5", "SEG"]
        rows: list[list[str | float]] = [
            [
                each.name,
                *(overlap.dice for overlap in each.overlaps),
                each.matches[0].f1,
                "none" if each.seg is None else each.seg,
            ]
            for each in result.scores
        ]
        print(columns(head, rows) + "\n")
    if result.cuts:
        cuts: list[list[str | float]] = [
            [f"{cut:.1f}", *row.in_words.values()] for cut, row in zip(CUTS, result.cuts, strict=True)
        ]
        print(columns(["threshold", *result.cuts[0].in_words], cuts) + "\n")
    shown = result.figures(groups)
    print(table([("images", str(len(result.scores))), *((each.words, each.text) for each in shown)]))
    if (displaced := result.displacement) and max(map(abs, displaced)) > NOTABLE:
        sides = (("up", "down"), ("left", "right"))
        ways = [f"{abs(by):.1f} {side[by > 0]}" for by, side in zip(displaced, sides, strict=True)]
        say(
            f"the masks lie {' and '.join(ways)} of what the model sees, in pixels: "
            "bring images and masks together and train again, and edges will be sharper"
        )
