"""The command that segments images: segment."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unet_deploy.cli import show
from unet_deploy.cli.app import command
from unet_deploy.cli.object_options import ObjectOptions
from unet_deploy.cli.opening import models_at_any_scale, request_of
from unet_deploy.cli.options import (
    ImageOptions,
    ModelOption,
    OutputOptions,
    RunOptions,
    TileOptions,
)
from unet_deploy.cli.progress import progress_bar
from unet_deploy.cli.seeing import SeeingOptions
from unet_deploy.errors import UsageError, address

if TYPE_CHECKING:
    from unet_deploy.images import ImageSource
    from unet_deploy.reporting.segment_file import SegmentPage
    from unet_deploy.segmentation.batch import Job, Outcome
    from unet_deploy.segmentation.compute import Compute
    from unet_deploy.segmentation.models import Models
    from unet_deploy.segmentation.options import ObjectRules
    from unet_deploy.segmentation.report import Report, ReportFile
    from unet_deploy.segmentation.run import Options
    from unet_deploy.zoo import Request


@command("Use a model")
def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="TIFF, PNG, JPEG or OME-Zarr, folders, patterns or URLs.")
    ],
    *,
    outputs: OutputOptions,
    model: ModelOption = None,
    seeing: SeeingOptions,
    tiles: TileOptions,
    image: ImageOptions,
    objects: ObjectOptions,
    run: RunOptions,
) -> None:
    """Segment images of any size into tiled masks of class indices, TIFF or OME-Zarr."""
    from unet_deploy.segmentation.batch import Failed, attempt_ahead, attempt_each
    from unet_deploy.segmentation.planning import first_look

    options = _options(tiles, image, objects.rules(), resume=run.resume, overwrite=outputs.overwrite)
    options = replace(options, scaling=seeing.scaling(), threshold=seeing.threshold)
    jobs = _jobs(images, model, outputs, objects, shared=bool(run.scheduler or run.workers))
    file, page = _reports(outputs, len(jobs), resume=run.resume)
    failures = []
    with ExitStack() as stack:
        pixels, source = stack.enter_context(first_look([job.image for job in jobs], options))
        telling = outputs.probabilities or tiles.tta or bool(objects.peak)
        request = request_of(seeing, tiles, pixels, probabilities=telling)
        compute = stack.enter_context(_compute(model, request, run))
        ready = stack.enter_context(models_at_any_scale(model, request, shown=not run.no_progress))
        if not options.scaling.is_asked and ready.card.decision.diameter is None:
            ready.at(1.0)  # what is wrong with it is said once, and not of every image
        made = None
        if run.resume and not outputs.overwrite:
            made = partial(_is_made if run.dry_run else _end_made, ready, options)
        outcomes: Iterator[Outcome[Any]]
        if run.dry_run:
            outcomes = attempt_each(jobs, partial(_foresee, ready, options, compute), is_made=made)
        else:
            begin = partial(_begin, ready, options, compute, source, page, shown=not run.no_progress)
            if page or len(jobs) == 1:  # a page is looked at image by image
                outcomes = attempt_each(jobs, lambda job: begin(job)(), is_made=made)
            else:
                outcomes = attempt_ahead(jobs, begin, is_made=made)
            outcomes = file.following(outcomes) if file else outcomes
            outcomes = page.following(outcomes) if page else outcomes
        for outcome in outcomes:
            show.outcome(outcome)
            if isinstance(outcome, Failed):
                failures.append(outcome)
    if page and not run.dry_run:
        show.note(f"the report: {page.path}")
    if failures:
        show.failures(failures, len(jobs))
        raise typer.Exit(failures[0].error.exit_code)


def _jobs(
    images: list[str], model: str | None, outputs: OutputOptions, objects: ObjectOptions, *, shared: bool
) -> list["Job"]:
    """The images that are named, and the files to make of each; none of them is an image or the model.

    shared: whether several processes are to fill them.
    """
    from unet_deploy.masks.apart import check_apart
    from unet_deploy.reporting.page import is_page_name
    from unet_deploy.segmentation.batch import Job
    from unet_deploy.segmentation.inputs import find_images, name_outputs
    from unet_deploy.zoo import find_model

    paths = find_images(images, show.note)
    named = name_outputs(
        paths,
        outputs.output,
        probabilities=outputs.probabilities,
        overlay=outputs.overlay,
        objects=objects.objects,
        instances=objects.instances,
        shared=shared,
        layout=outputs.layout,
    )
    places = [place for each in named for place in each.places]
    check_apart([*places, *(outputs.report or ())], [find_model(model), *paths])
    if any(map(is_page_name, outputs.report or ())):
        named = [replace(each, counted=True) for each in named]
    return list(map(Job, paths, named))


def _reports(outputs: OutputOptions, images: int, *, resume: bool) -> "tuple[ReportFile | None, SegmentPage | None]":
    """The files that say what was done, for programs and for people."""
    from unet_deploy.reporting.page import is_page_name
    from unet_deploy.segmentation.report import ReportFile

    pages = [path for path in outputs.report or () if is_page_name(path)]
    files = [path for path in outputs.report or () if path not in pages]
    if len(pages) > 1 or len(files) > 1:
        raise UsageError(f"--report {(pages if len(pages) > 1 else files)[1]}: give one .html and one .json at most")
    file = ReportFile(files[0], resume=resume, overwrite=outputs.overwrite) if files else None
    if not pages:
        return file, None
    from unet_deploy.reporting.segment_file import SegmentPage

    return file, SegmentPage(pages[0], images=images, resume=resume, overwrite=outputs.overwrite)


def _options(
    tiles: TileOptions, image: ImageOptions, objects: "ObjectRules", *, resume: bool, overwrite: bool
) -> "Options":
    """How each image is to be segmented."""
    from unet_deploy.segmentation.run import Options
    from unet_deploy.tiling import Region

    return Options(
        tile_size=tiles.tile_size,
        channel=image.reading().channel,
        palette=image.palette,
        nodata=image.nodata,
        outside=image.outside,
        timeout=image.timeout,
        level=image.level,
        max_memory=tiles.max_memory,
        skip_background=tiles.skip_background,
        tta=tiles.tta,
        objects=objects,
        roi=Region(*image.roi) if image.roi else None,
        resume=resume,
        overwrite=overwrite,
    )


def _compute(model: str | None, request: "Request", run: RunOptions) -> "AbstractContextManager[Compute]":
    """Who is to compute: this process, or the cluster that is asked for."""
    if run.scheduler is None and run.workers is None:
        from unet_deploy.segmentation.compute import stream_here

        return nullcontext(stream_here)
    from unet_deploy.segmentation.cluster import Cluster

    return Cluster(model, request, scheduler=run.scheduler, workers=run.workers)


def _begin(
    models: "Models",
    options: "Options",
    compute: "Compute",
    source: "ImageSource | None",
    page: "SegmentPage | None",
    job: "Job",
    *,
    shown: bool,
) -> "Callable[[], Report]":
    """Segment one image; what is returned ends it, and says what was done."""
    from unet_deploy.segmentation.run import begin_file

    with progress_bar(Path(address(job.image)).name, shown=shown) as progress:
        job.outputs.mask.parent.mkdir(parents=True, exist_ok=True)
        watched = page.watching(compute, models.card) if page else None
        end = begin_file(
            job.image, job.outputs, models, options, compute=watched or compute, progress=progress, source=source
        )

    def told() -> "Report":
        report = end()
        if page and watched:
            page.add(report, watched)
        show.report(report)
        return report

    return told


def _is_made(models: "Models", options: "Options", job: "Job") -> bool:
    """Whether an earlier run of the same job has finished its mask."""
    from unet_deploy.segmentation.same_job import is_made

    return is_made(job.image, job.outputs, models, options)


def _end_made(models: "Models", options: "Options", job: "Job") -> bool:
    """As `_is_made`, and what killed runs left beside its files goes."""
    from unet_deploy.segmentation.same_job import end_made

    return end_made(job.image, job.outputs, models, options)


def _foresee(models: "Models", options: "Options", compute: "Compute", job: "Job") -> None:
    """Say what segmenting one image would take."""
    from unet_deploy.segmentation.compute import stream_here
    from unet_deploy.segmentation.forecast import forecast

    found = forecast(job.image, models, job.outputs, options, compute=compute)
    show.forecast(found, job.outputs.mask, shared=compute is not stream_here)
