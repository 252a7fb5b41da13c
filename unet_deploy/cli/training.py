"""Commands that make a model, and say how good it is: train, export, evaluate, score."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unet_deploy.cli import parse, show, show_scores, show_training
from unet_deploy.cli.app import command
from unet_deploy.cli.object_options import RuleOptions
from unet_deploy.cli.options import (
    DATA,
    OUTPUTS,
    RUN,
    CardOptions,
    DataOptions,
    JsonOption,
    MaskKindOption,
    MasksOption,
    NodataOption,
    NoProgressOption,
    OverwriteOption,
    ReadingOptions,
    TimeoutOption,
    TtaOption,
)
from unet_deploy.cli.progress import progress_bar, training_bar
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from trainer.recipe import Recipe
    from trainer.sets import DataSet
    from unet_deploy.images.reading import Reading

NETWORK, TRAINING, MEASURES = "Network", "Training", "Measures"
"""Themes: the sections of a command's help."""

Preset = Literal["modern", "paper"]
"""Written here and not imported: what knows it is too heavy for --help. A test compares them."""

_CLASSES = parse.Names(("background", "foreground"))


@dataclass(frozen=True, eq=False, repr=False)
class TrainingOptions:
    """How to train: a preset, what of it is to be another, and how often the model is looked at."""

    preset: Annotated[
        Preset, typer.Option(help="modern, or paper for the original recipe.", rich_help_panel=TRAINING)
    ] = "modern"
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to train; by default the preset's.", rich_help_panel=TRAINING)
    ] = None
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Channels of the first level.",
            show_default="16 on a CPU, 64 on a GPU and with --preset paper",
            rich_help_panel=NETWORK,
        ),
    ] = None
    depth: Annotated[
        int | None,
        typer.Option(min=1, max=6, help="Levels below the first; 4 in the paper.", rich_help_panel=NETWORK),
    ] = None
    tile_size: Annotated[
        int | None, typer.Option(help="Side of the training tiles, in pixels.", rich_help_panel=TRAINING)
    ] = None
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", min=1, help="Tiles a step.", rich_help_panel=TRAINING)
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="Step size of the optimizer.", rich_help_panel=TRAINING)
    ] = None
    border_weight: Annotated[
        float | None,
        typer.Option(
            "--border-weight",
            min=0,
            help="Of gaps between objects; 0 where they do not matter.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    diameter: Annotated[
        float | None,
        typer.Option(
            help="Of objects in pixels, to which each image is brought; by default images are taken as they are.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    elsewhere: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of tiles changed as if another laboratory had taken them.",
            rich_help_panel=TRAINING,
        ),
    ] = 0.0
    augmentation: Annotated[
        float,
        typer.Option(
            min=0,
            help="How far zoom, grey values, noise and blur vary; 1 is the preset's.",
            rich_help_panel=TRAINING,
        ),
    ] = 1.0
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="The same seed gives the same weights, on the same processor, cores and PyTorch.",
            rich_help_panel=TRAINING,
        ),
    ] = 0
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.", rich_help_panel=TRAINING)] = (
        500
    )

    def recipe(self) -> "Recipe":
        """The preset with what was given in the place of its own."""
        from trainer.device import usual_width
        from trainer.recipe import PRESETS, tailored

        return tailored(
            PRESETS[self.preset],
            strength=self.augmentation,
            elsewhere=self.elsewhere,
            diameter=self.diameter,
            seed=self.seed,
            width=self.width or usual_width(self.preset),
            depth=self.depth,
            steps=self.steps,
            tile=self.tile_size,
            batch=self.batch_size,
            learning_rate=self.learning_rate,
            w0=self.border_weight,
        )


@dataclass(frozen=True, eq=False, repr=False)
class TrainingData:
    """Annotated images to train on, and what of them is held back."""

    data: Annotated[
        list[Path],
        typer.Argument(help="Folders with images/ and masks/, each drawn from alike, or a stack (with --masks)."),
    ]
    masks: MasksOption = None
    mask_kind: MaskKindOption = "auto"
    weights: Annotated[
        parse.Numbers | None,
        typer.Option(
            help="How often each folder is drawn from, by default alike.",
            metavar="NUMBERS",
            parser=parse.numbers,
            rich_help_panel=DATA,
        ),
    ] = None
    classes: Annotated[
        parse.Names,
        typer.Option(
            help="Class names by label value, background first.",
            show_default="background,foreground",
            metavar="NAMES",
            parser=parse.names,
            rich_help_panel=DATA,
        ),
    ] = _CLASSES
    validation: Annotated[
        str,
        typer.Option(
            help="What to hold back: last:0.1, last:6, fold:1/5, every:10, names:a,b, or whole folders by set:NAME.",
            rich_help_panel=DATA,
        ),
    ] = "last:0.1"

    def sets(self, reading: "Reading") -> "list[DataSet]":
        """The data sets that were named. Raises UsageError where the options do not fit them."""
        from trainer.sets import DataSet

        weights = self.weights or (1.0,) * len(self.data)
        if len(weights) != len(self.data):
            raise UsageError(f"--weights: {len(weights)} numbers for {len(self.data)} folders; give one for each")
        if self.masks and len(self.data) > 1:
            raise UsageError("--masks: belongs to one image stack; give several sets as folders")
        return [
            DataSet(path, self.masks, self.mask_kind, self.validation, reading, weight)
            for path, weight in zip(self.data, weights, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationData(DataOptions):
    """Annotated images to evaluate on."""

    validation: Annotated[
        str | None, typer.Option(help="Only what training held back, in the same words.", rich_help_panel=DATA)
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class MeasureOptions:
    """What is measured of a model, and how its answer is made."""

    metrics: Annotated[
        str,
        typer.Option(
            help="overlap, objects, thresholds, partitions (ISBI 2012), or all; several with commas.",
            rich_help_panel=MEASURES,
        ),
    ] = "overlap,objects"
    tta: TtaOption = False


@dataclass(frozen=True, eq=False, repr=False)
class FindingOptions:
    """Where the figures of an evaluation go."""

    plot: Annotated[
        Path | None, typer.Option(help="A sheet of the worst images, to look at (.png).", rich_help_panel=OUTPUTS)
    ] = None
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures into the model's card.", rich_help_panel=OUTPUTS)
    ] = False
    as_json: JsonOption = False
    overwrite: OverwriteOption = False


@command("Make a model")
def train(
    *,
    data: TrainingData,
    read: ReadingOptions,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights file to write (.pt).", rich_help_panel=OUTPUTS)
    ],
    training: TrainingOptions,
    card: CardOptions,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint beside the output.", rich_help_panel=RUN)
    ] = False,
    overwrite: OverwriteOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Train a U-Net on annotated images."""
    from unet_deploy.system.extras import require

    require("torch", "train")
    from trainer.recipe import ModelDescription
    from trainer.told import Told
    from trainer.train import train
    from trainer.weights import Files

    try:
        with training_bar(output.name, shown=not no_progress) as progress:
            trained = train(
                data.sets(read.reading()),
                output,
                training.recipe(),
                ModelDescription(classes=data.classes, **card.fields()),
                evaluate_every=training.evaluate_every,
                resume=resume,
                overwrite=overwrite,
                told=Told(progress, show.note, show_training.training_time),
            )
    except KeyboardInterrupt:
        if Files(output).checkpoint.exists():
            show.note("the checkpoint is kept; go on with the same command and --resume")
        raise
    show_training.trained(trained, output)


@command("Make a model")
def export(
    weights: Annotated[Path, typer.Argument(help="What `unet-deploy train` wrote (.pt).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.onnx).")],
    name: Annotated[str | None, typer.Option(help="The model's name in its card; by default the file's.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn weights into a self-describing ONNX model, checked against PyTorch."""
    from unet_deploy.system.extras import require

    require("torch", "train")
    require("onnx", "train")
    from trainer.export import export

    card = export(weights, output, name=name, overwrite=overwrite)
    show.answer(f"{output}: model {card.name!r}, {card.channels} channel(s) to {len(card.classes)} classes")


@command("Trust a model")
def evaluate(
    model: Annotated[str, typer.Argument(help="Model file, or a shipped model's name.")],
    data: EvaluationData,
    measures: MeasureOptions,
    *,
    rules: RuleOptions,
    read: ReadingOptions,
    findings: FindingOptions,
    no_progress: NoProgressOption = False,
) -> None:
    """Score a model on annotated images."""
    from unet_deploy.evaluation.conditions import Conditions
    from unet_deploy.evaluation.evaluate import evaluate
    from unet_deploy.evaluation.measures import Scoring, parse_groups
    from unet_deploy.evaluation.pairs import check_no_data, find_pairs
    from unet_deploy.evaluation.record import check_recordable
    from unet_deploy.evaluation.record import record as record_figures
    from unet_deploy.evaluation.split import split_pairs
    from unet_deploy.runtimes.request import Request
    from unet_deploy.segmentation.models import Models
    from unet_deploy.system.extras import require
    from unet_deploy.system.files import check_free, check_png
    from unet_deploy.zoo import find_model

    scoring, wanted = Scoring(parse_groups(measures.metrics)), rules.rules()
    file = find_model(model)
    if findings.record:
        require("onnx", "train")
        check_recordable(file)
    if scoring.partitions:
        require("skimage", "train")
    if findings.plot:
        require("matplotlib", "train")
        check_png(findings.plot)
        check_free(findings.plot, overwrite=findings.overwrite)
    outputs = [*([findings.plot] if findings.plot else []), *([file] if findings.record else [])]
    check_no_data(outputs, data.data, data.masks, [] if findings.record else [file])
    pairs = find_pairs(data.data, data.masks)
    split = split_pairs(pairs, data.validation, read.reading()) if data.validation else None
    with Models(model, Request(probabilities=scoring.by_threshold or measures.tta)) as models:
        scoring = replace(scoring, objects=wanted.decided_by(models.card.decision))
        with progress_bar(data.data.name, "images", shown=not no_progress) as progress:
            result = evaluate(
                models,
                pairs,
                scoring,
                split=split,
                mask_kind=data.mask_kind,
                reading=read.reading(),
                tta=measures.tta,
                progress=progress,
            )
        if findings.plot:
            from unet_deploy.evaluation.sheet import draw_worst

            draw_worst(
                findings.plot,
                models,
                result,
                pairs,
                mask_kind=data.mask_kind,
                reading=read.reading(),
                tta=measures.tta,
                overwrite=findings.overwrite,
            )
        show_scores.masks_read(result)
        show_scores.training_images(result, models.card)
    if findings.as_json:
        show_scores.evaluation_json(result)
    else:
        show_scores.evaluation(result, scoring.groups)
    if findings.plot and not findings.as_json:
        show.answer(f"the worst images: {findings.plot}")
    if findings.record:
        scored, known = len(result.scores), len(result.trained_on)
        conditions = Conditions(scored, data.data, data.validation, measures.tta, scoring.objects, known)
        record_figures(file, result.overall(scoring.groups), str(conditions))
        show.note(f"{file}: the figures are in its card")


@command("Trust a model")
def score(
    mask: Annotated[Path, typer.Argument(help="A mask that `segment` wrote.")],
    truth: Annotated[Path, typer.Argument(help="The true mask, or numbered objects, of the same size.")],
    mask_kind: MaskKindOption = "auto",
    *,
    rules: RuleOptions,
    nodata: NodataOption = None,
    timeout: TimeoutOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Score a mask against the truth."""
    from unet_deploy.evaluation.evaluate import score_files
    from unet_deploy.evaluation.measures import USUAL
    from unet_deploy.images.reading import Reading
    from unet_deploy.model.decision import UNDECIDED

    reading = Reading(nodata=nodata, timeout=timeout)
    decided = rules.rules().decided_by(UNDECIDED)
    result = score_files(mask, truth, mask_kind=mask_kind, objects=decided, reading=reading)
    show_scores.masks_read(result)
    if as_json:
        show_scores.evaluation_json(result)
    else:
        show_scores.evaluation(result, USUAL.groups)
