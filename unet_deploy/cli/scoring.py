"""Commands that say how good a model or a mask is: evaluate, score."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from unet_deploy.cli import show, show_scores
from unet_deploy.cli.app import command
from unet_deploy.cli.object_options import RuleOptions
from unet_deploy.cli.options import (
    DATA,
    OUTPUTS,
    DataOptions,
    JsonOption,
    MarkingOptions,
    MasksOption,
    NodataOption,
    NoProgressOption,
    OverwriteOption,
    ReadingOptions,
    TimeoutOption,
    TtaOption,
)
from unet_deploy.cli.progress import progress_bar
from unet_deploy.errors import UsageError

MEASURES = "Measures"
"""A section of the commands' help."""


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
    report: Annotated[
        Path | None,
        typer.Option(help="A page of scores, curves and the worst images (.html).", rich_help_panel=OUTPUTS),
    ] = None
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures into the model's card.", rich_help_panel=OUTPUTS)
    ] = False
    as_json: JsonOption = False
    overwrite: OverwriteOption = False

    def check(self, model: Path) -> list[Path]:
        """Return the files that are written. Raises where one cannot be made."""
        from unet_deploy.evaluation.record import check_recordable
        from unet_deploy.reporting.page import check_page
        from unet_deploy.system.extras import require
        from unet_deploy.system.files import check_free, check_png

        if self.record:
            require("onnx", "train")
            check_recordable(model)
        if self.plot:
            require("matplotlib", "train")
            check_png(self.plot)
            check_free(self.plot, overwrite=self.overwrite)
        if self.report:
            check_page(self.report, overwrite=self.overwrite)
        return [*filter(None, (self.plot, self.report)), *([model] if self.record else [])]


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
    from unet_deploy.evaluation.record import record as record_figures
    from unet_deploy.evaluation.regions import by_region
    from unet_deploy.evaluation.split import split_set
    from unet_deploy.runtimes.request import Request
    from unet_deploy.segmentation.models import Models
    from unet_deploy.system.extras import require
    from unet_deploy.zoo import find_model

    scoring, wanted = Scoring(parse_groups(measures.metrics)), rules.rules()
    file = find_model(model)
    outputs = findings.check(file)
    if scoring.partitions:
        require("skimage", "train")
    check_no_data(outputs, data.data, data.masks, [] if findings.record else [file])
    pairs = by_region(find_pairs(data.data, data.masks, data.marking()))
    name = data.data.resolve().name
    split = split_set(name, pairs, data.validation, read.reading()) if data.validation else None
    if split and not split.validation:
        raise UsageError(f"--validation {data.validation}: holds back nothing of {name}; leave it out, or name {name}")
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
        scored, known = len(result.scores), len(result.trained_on)
        conditions = Conditions(scored, data.data, data.validation, measures.tta, scoring.objects, known)
        if findings.report:
            from unet_deploy.evaluation.worst import worst_images
            from unet_deploy.reporting.evaluated import Evaluated, evaluated_page
            from unet_deploy.reporting.page import write_page

            worst = worst_images(
                models, result, pairs, mask_kind=data.mask_kind, reading=read.reading(), tta=measures.tta
            )
            done = Evaluated(result, models.card, str(conditions), scoring.groups)
            write_page(findings.report, evaluated_page(done, worst), overwrite=findings.overwrite)
        show_scores.masks_read(result)
        show_scores.training_images(result, models.card)
    if findings.as_json:
        show_scores.evaluation_json(result)
    else:
        show_scores.evaluation(result, scoring.groups)
    if findings.plot and not findings.as_json:
        show.answer(f"the worst images: {findings.plot}")
    if findings.report and not findings.as_json:
        show.answer(f"the report: {findings.report}")
    if findings.record:
        record_figures(file, result.overall(scoring.groups), str(conditions))
        show.note(f"{file}: the figures are in its card")


@dataclass(frozen=True, eq=False, repr=False)
class TruthOptions(MarkingOptions):
    """What is true, and how it is to be read."""

    masks: MasksOption = None


@command("Trust a model")
def score(
    mask: Annotated[Path, typer.Argument(help="A mask that `segment` wrote, or a folder of them.")],
    truth: Annotated[
        Path,
        typer.Argument(
            help="The true mask, numbered objects, or a drawing, of the same size; or DATA as `evaluate` takes it."
        ),
    ],
    *,
    marked: TruthOptions,
    rules: RuleOptions,
    nodata: NodataOption = None,
    timeout: TimeoutOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Score masks against the truth: one, or all of a folder."""
    from unet_deploy.evaluation.against_truth import score_masks
    from unet_deploy.evaluation.measures import USUAL
    from unet_deploy.images.reading import Reading
    from unet_deploy.model.decision import UNDECIDED

    reading = Reading(nodata=nodata, timeout=timeout)
    decided = rules.rules().decided_by(UNDECIDED)
    kind, marking = marked.mask_kind, marked.marking()
    result = score_masks(
        mask, truth, labels=marked.masks, mask_kind=kind, marking=marking, objects=decided, reading=reading
    )
    show_scores.masks_read(result)
    if as_json:
        show_scores.evaluation_json(result)
    else:
        show_scores.evaluation(result, USUAL.groups)
