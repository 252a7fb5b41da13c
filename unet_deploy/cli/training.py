"""Commands that make a model: train, export."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unet_deploy.cli import parse, show, show_training
from unet_deploy.cli.app import command
from unet_deploy.cli.options import (
    DATA,
    OUTPUTS,
    RUN,
    AnnotatedClassOption,
    CardOptions,
    IgnoreOption,
    LimitOption,
    MaskKindOption,
    MasksOption,
    NoProgressOption,
    OverwriteOption,
    ReadingOptions,
)
from unet_deploy.cli.progress import training_bar
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from trainer.description import ModelDescription
    from trainer.parent import ParentModel
    from trainer.recipe import Recipe
    from trainer.sets import DataSet
    from trainer.tensorboard import TensorBoard
    from unet_deploy.images.reading import Reading

NETWORK, TRAINING = "Network", "Training"
"""Themes: the sections of a command's help."""

Preset = Literal["modern", "paper"]
Draw = Literal["classes", "uniform"]
"""Written here and not imported: what knows them is too heavy for --help. A test compares them."""


@dataclass(frozen=True, eq=False, repr=False)
class TrainingOptions:
    """How to train: a preset, what of it is to be another, and how often the model is looked at."""

    parent: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with a model's weights: .pt, .onnx of `export`, or a shipped model's name.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="modern, or paper for the original recipe.",
            show_default="modern, with --from a gentler one",
            rich_help_panel=TRAINING,
        ),
    ] = None
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to train; by default the preset's.", rich_help_panel=TRAINING)
    ] = None
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="End in time, the last validation included; the rate of learning falls as the time goes.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many validations without a better score.", rich_help_panel=TRAINING),
    ] = None
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Channels of the first level.",
            show_default="16 on a CPU, 64 on a GPU and with --preset paper; with --from the model's",
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
            help="Of objects in pixels, to which each image is brought.",
            show_default="images are taken as they are; with --from as the model takes them",
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
    draw: Annotated[
        Draw | None,
        typer.Option(
            help="Where tiles are drawn: so that each class is in a third of them, or anywhere.",
            show_default="classes, uniform with --preset paper",
            rich_help_panel=TRAINING,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="The same seed gives the same weights, on the same processor, cores and PyTorch.",
            rich_help_panel=TRAINING,
        ),
    ] = 0
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between validations.", show_default="500, 100 with --from", rich_help_panel=TRAINING
        ),
    ] = None

    log: Annotated[
        Literal["tensorboard"] | None,
        typer.Option(
            help="Keep loss, rate, scores and pictures for TensorBoard, in OUTPUT.tensorboard.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None

    @contextmanager
    def logged(self, output: Path, *, resume: bool, overwrite: bool) -> "Iterator[TensorBoard | None]":
        """What keeps a training to be looked at, where that is asked for. Raises UsageError and MissingPackageError."""
        if self.log is None:
            yield None
            return
        from trainer.tensorboard import TensorBoard

        with closing(TensorBoard(output.with_suffix(".tensorboard"), resume=resume, overwrite=overwrite)) as log:
            yield log

    def model(self) -> "ParentModel | None":
        """The model to begin with, where one is named. Raises ModelError, UsageError."""
        if self.parent is None:
            return None
        if not self.parent:
            raise UsageError("--from: is empty; name a model file or a shipped model, or leave it out")
        from unet_deploy.system.extras import require

        require("onnx", "train")
        from trainer.parent_file import read_parent

        return read_parent(self.parent)

    def recipe(self, parent: "ParentModel | None") -> "Recipe":
        """The preset, or what fits the model to begin with, with what was given in the place of its own."""
        from trainer.device import usual_width
        from trainer.recipe import PRESETS, TUNING, tailored

        preset = self.preset or "modern"
        recipe = PRESETS[preset] if self.preset or not parent else TUNING
        return tailored(
            parent.fitted(recipe) if parent else recipe,
            strength=self.augmentation,
            elsewhere=self.elsewhere,
            diameter=self.diameter,
            draw=self.draw,
            seed=self.seed,
            width=self.width or (None if parent else usual_width(preset)),
            depth=self.depth,
            steps=self.steps,
            max_minutes=self.max_minutes,
            patience=self.patience,
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
        typer.Argument(help="Folders of annotated images, each drawn from alike, or a stack (with --masks)."),
    ]
    masks: MasksOption = None
    mask_kind: MaskKindOption = "auto"
    ignore: IgnoreOption = None
    annotated_class: AnnotatedClassOption = "Annotated"
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
        parse.Names | None,
        typer.Option(
            help="Class names by label value, background first; one that holds a comma in double quotes.",
            show_default="what DATA names, with --from the model's, or background,foreground",
            metavar="NAMES",
            parser=parse.names,
            rich_help_panel=DATA,
        ),
    ] = None
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
        from unet_deploy.annotations.marking import Marking

        weights = self.weights or (1.0,) * len(self.data)
        if len(weights) != len(self.data):
            raise UsageError(f"--weights: {len(weights)} numbers for {len(self.data)} folders; give one for each")
        if not all(0 < weight < math.inf for weight in weights):
            raise UsageError(f"--weights {','.join(f'{weight:g}' for weight in weights)}: give numbers above 0")
        if self.masks and len(self.data) > 1:
            raise UsageError("--masks: belongs to one image stack; give several sets as folders")
        marking = Marking(self.ignore, self.annotated_class)
        return [
            DataSet(path, self.masks, self.mask_kind, self.validation, reading, marking, weight)
            for path, weight in zip(self.data, weights, strict=True)
        ]

    def description(self, sets: "list[DataSet]", parent: "ParentModel | None", card: CardOptions) -> "ModelDescription":
        """What the new model's card will say. Raises UsageError, and DataError for data sets of other classes."""
        from trainer.description import ModelDescription
        from trainer.sets import classes_of

        classes = classes_of(sets, self.classes, parent.card.classes if parent else None)
        if parent:
            return ModelDescription.after(parent, classes, **card.fields())
        return ModelDescription(classes, **card.fields())


@dataclass(frozen=True, eq=False, repr=False)
class TrainingRun:
    """Where a training begins, and how far it goes."""

    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint beside the output.", rich_help_panel=RUN)
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what is found in DATA and what it would take, no more.", rich_help_panel=RUN
        ),
    ] = False
    no_progress: NoProgressOption = False


@command("Make a model")
def train(
    *,
    data: TrainingData,
    read: ReadingOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Weights file to write (.pt); needed but for --dry-run.", rich_help_panel=OUTPUTS
        ),
    ] = None,
    training: TrainingOptions,
    card: CardOptions,
    run: TrainingRun,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a U-Net on annotated images."""
    from unet_deploy.system.extras import require

    require("torch", "train")
    if run.dry_run and run.resume:
        raise UsageError("--dry-run looks at the data of a new training; leave out --resume")
    if not (run.dry_run or output):
        raise UsageError("Missing option --output (-o): give the weights file to write (.pt)")
    parent, sets = training.model(), data.sets(read.reading())
    description, recipe = data.description(sets, parent, card), training.recipe(parent)
    if run.dry_run:
        from trainer.preview import preview
        from trainer.told import Told

        every, told = training.evaluate_every, Told(note=show.note)
        show_training.preview(
            preview(sets, recipe, description, output=output, evaluate_every=every, overwrite=overwrite, told=told)
        )
    elif output:
        _train(sets, output, recipe, description, training, run, overwrite=overwrite)


def _train(
    sets: "list[DataSet]",
    output: Path,
    recipe: "Recipe",
    description: "ModelDescription",
    training: TrainingOptions,
    run: TrainingRun,
    *,
    overwrite: bool,
) -> None:
    """Train, with a bar, and say what was kept."""
    from trainer.told import Told
    from trainer.train import train
    from trainer.weights import Files

    try:
        with (
            training_bar(output.name, shown=not run.no_progress) as progress,
            training.logged(output, resume=run.resume, overwrite=overwrite) as log,
        ):
            trained = train(
                sets,
                output,
                recipe,
                description,
                evaluate_every=training.evaluate_every,
                resume=run.resume,
                overwrite=overwrite,
                told=Told(progress, show.note, show_training.training_time, log),
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
    limit: LimitOption = 1000,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn weights into a self-describing ONNX model, checked against PyTorch."""
    from unet_deploy.system.extras import require

    require("torch", "train")
    require("onnx", "train")
    from trainer.export import export

    card = export(weights, output, name=name, limit_ppm=limit, overwrite=overwrite)
    show.answer(f"{output}: model {card.name!r}, {card.channels} channel(s) to {len(card.classes)} classes")
