"""The command that chooses how a model's answer becomes objects: calibrate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_deploy.cli import show, show_scores
from unet_deploy.cli.app import command
from unet_deploy.cli.options import (
    DATA,
    OUTPUTS,
    AnnotatedClassOption,
    IgnoreOption,
    JsonOption,
    MaskKindOption,
    MasksOption,
    NoProgressOption,
    OverwriteOption,
    ReadingOptions,
)
from unet_deploy.cli.progress import progress_bar
from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from unet_deploy.evaluation.answers import Folder
    from unet_deploy.images.reading import Reading


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationData:
    """Annotated images to choose by."""

    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of annotated images that it was not trained on, or a stack (with --masks)."),
    ]
    masks: MasksOption = None
    validation: Annotated[
        str | None,
        typer.Option(help="Only what training held back of each folder, in the same words.", rich_help_panel=DATA),
    ] = None
    mask_kind: MaskKindOption = "auto"
    ignore: IgnoreOption = None
    annotated_class: AnnotatedClassOption = "Annotated"

    def folders(self, reading: "Reading") -> "list[Folder]":
        """What was named. Raises UsageError for several of which one is a stack."""
        from unet_deploy.annotations.marking import Marking
        from unet_deploy.evaluation.answers import Folder

        if self.masks and len(self.data) > 1:
            raise UsageError("--masks: belongs to one image stack; give several sets as folders")
        marking = Marking(self.ignore, self.annotated_class)
        return [Folder(path, self.mask_kind, self.validation, reading, marking, self.masks) for path in self.data]


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationOutputs:
    """Where what was chosen goes."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Model file to write; by default the card of MODEL is.", rich_help_panel=OUTPUTS
        ),
    ] = None
    plot: Annotated[
        Path | None, typer.Option(help="Curves of what was tried, to look at (.png).", rich_help_panel=OUTPUTS)
    ] = None
    as_json: JsonOption = False
    overwrite: OverwriteOption = False


@command("Make a model")
def calibrate(
    model: Annotated[str, typer.Argument(help="Model file (.onnx), or with -o a shipped model's name.")],
    data: CalibrationData,
    *,
    read: ReadingOptions,
    outputs: CalibrationOutputs,
    no_progress: NoProgressOption = False,
) -> None:
    """Choose threshold, splitting, least sizes, holes and peak of a model by annotated images it never saw."""
    from unet_deploy.evaluation.answers import see
    from unet_deploy.evaluation.calibration import calibrate
    from unet_deploy.evaluation.curves import draw_curves
    from unet_deploy.evaluation.pairs import check_no_data
    from unet_deploy.evaluation.record import check_recordable, record_decision
    from unet_deploy.masks.apart import check_apart
    from unet_deploy.runtimes.request import Request
    from unet_deploy.segmentation.models import Models
    from unet_deploy.system.extras import require
    from unet_deploy.system.files import check_ends, check_free, check_png
    from unet_deploy.zoo import find_model

    require("onnx", "onnx")
    file, output, plot = find_model(model), outputs.output, outputs.plot
    if plot:
        require("matplotlib", "train")
        check_png(plot)
        check_free(plot, overwrite=outputs.overwrite)
    if output:
        check_ends(output, "models", (".onnx",))
        check_apart([output], [file])
        check_free(output, overwrite=outputs.overwrite)
    else:
        check_recordable(file, "calibrate")
    folders = data.folders(read.reading())
    for folder in folders:
        check_no_data([each for each in (output, plot) if each], folder.path, folder.masks, [file])
    with Models(file, Request(probabilities=True)) as models:
        decision = models.card.decision
        with progress_bar("answers", "images", shown=not no_progress) as progress:
            seen, known = see(models, folders, progress)
    show_scores.left_out(known, len(seen))
    with progress_bar("decisions", "values", shown=not no_progress) as progress:
        found = calibrate(seen, decision, done=progress)
    record_decision(file, output or file, found.decision, overwrite=outputs.overwrite or output is None)
    for line in found.notes:
        show.note(line)
    if plot:
        draw_curves(plot, found, overwrite=outputs.overwrite)
    if outputs.as_json:
        show_scores.calibration_json(found)
    else:
        show_scores.calibration(found, output or file)
