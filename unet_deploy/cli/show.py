"""Every table and every sentence that a command prints. Answers go to stdout, what goes on and what is wrong to stderr.

Names, cards, tags and what servers say come from outside: a line stays one line, and control characters are escapes.
The library returns values and numbers; here they become words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_deploy.cli.text import table
from unet_deploy.system.extras import install_line
from unet_deploy.system.words import bytes_text, milliseconds, time_text, visible

if TYPE_CHECKING:
    from unet_deploy.convert.adopt import AdoptReport
    from unet_deploy.convert.quantize import QuantizeReport
    from unet_deploy.measure.benchmark import Figures
    from unet_deploy.measure.inspection import Diagnosis, EngineFile, ImageFile, Package
    from unet_deploy.measure.verify import SeamCheck
    from unet_deploy.model.card import ModelCard
    from unet_deploy.segmentation.batch import Failed, Outcome
    from unet_deploy.segmentation.forecast import Disk, Forecast
    from unet_deploy.segmentation.report import Report
    from unet_deploy.system.gpu import Gpu

Rows = list[tuple[str, str]]
"""Names and values, for a table of two columns."""


def escape_what_cannot_be_encoded() -> None:
    """Let characters that a console or a pipe has no bytes for, as cp1252 of Greek, be escapes and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def note(line: str) -> None:
    """Print one line to stderr: what is going on, or what went wrong."""
    print(visible(line), file=sys.stderr, flush=True)


def answer(line: str) -> None:
    """Print one line to stdout: what a command was asked for."""
    print(visible(line))


def block(text: str) -> None:
    """Print lines that belong together to stdout: a table, or JSON. Its cells are shown by who made it."""
    print(text)


def address_of_page(address: str) -> None:
    """Print where a page is, at once, and how it ends."""
    print(visible(address), flush=True)
    note("Ctrl-C ends it; whoever has the address sees the files")


# -- segment ---------------------------------------------------------------------------------------------------------


def outcome(outcome: Outcome[Any]) -> None:
    """Say of an image why nothing was made of it; what was made has been said."""
    from unet_deploy.segmentation.batch import Failed, Interrupted, MadeBefore

    mask = outcome.job.outputs.mask
    if isinstance(outcome, MadeBefore):
        note(f"{mask}: is finished already")
    if isinstance(outcome, Failed | Interrupted) and outcome.can_resume:
        note(f"{mask}: what is finished is kept; go on with the same command and --resume")
    if isinstance(outcome, Failed):
        note(f"error: {outcome.error}")


def failures(failed: Sequence[Failed], images: int) -> None:
    """Say at the end of a batch which of its images failed, and with which exit code each would have by itself."""
    if images > 1:
        note(f"{len(failed)} of {images} images failed:")
        for line in table([(str(each.error.exit_code), str(each.job.image)) for each in failed]).splitlines():
            note(line)


def report(report: Report) -> None:
    """Say what was made of an image, how fast, and what a person should know of it."""
    from unet_deploy.segmentation.scaling import AS_IT_IS

    if report.image.note:
        note(f"note: {report.image.name}: {report.image.note}")
    if report.nodata is not None:
        note(f"note: {report.outputs.mask}: pixels without data are {report.nodata}, and it says so")
    if report.off_map:
        files = ", ".join(map(str, report.off_map))
        note(f"note: {files}: the image lies on a map, which this kind of file does not say; take .tif to keep it")
    if report.scaled != AS_IT_IS:
        note(f"{report.image.name}: {report.scaled}")
    if report.proved and report.precision:
        differ = f"{report.proved.labels_differ_ppm:.3g} labels in a million that differ"
        note(f"note: bfloat16 from now on, with {differ}; --precision fp32 is exact")
    elif report.proved:
        note(f"proved on first use: {report.proved}")
    tiles = report.image.pages * len(report.plan)
    if report.timing.resumed:
        note(f"resumed: {report.timing.resumed} of {tiles} tiles were finished already")
    if report.timing.skipped:
        note(f"skipped as background: {report.timing.skipped} of {tiles} tiles")
    if report.objects is not None:
        note(f"objects: {report.objects}")
    if report.too_large:
        what = "1 object spans" if report.too_large == 1 else f"{report.too_large} objects span"
        note(f"note: {report.outputs.mask}: {what} more than 4 megapixels, too much to be parted, and stayed whole")
    if report.trust.doubts:
        note(f"warning: {report.image.name}: look before you trust this mask: {'; '.join(report.trust.doubts)}")
    if report.places:
        note(f"note: {report.outputs.objects}: {report.places}")
    wall, files = report.timing.wall, ", ".join(map(str, report.outputs))
    speed = f"{report.megapixels:.4g} MPx in {wall:.3g} s, {report.megapixels / wall:.3g} MPx/s"
    answer(f"{files}: {speed}, {report.runtime}")


def forecast(found: Forecast, mask: Path, *, shared: bool) -> None:
    """Say what segmenting an image will take. shared: whether the processes of a cluster share the work."""
    image, tiles = found.image, found.plan
    rows = [
        ("image", f"{image.name}: {image.pages} x {image.channels} x {tiles.height} x {tiles.width} {image.dtype}"),
        ("model", found.model),
        *([("precision", found.precision)] if found.precision else []),
        ("scale", str(found.scaled)),
        ("tiles", f"{image.pages * len(tiles)} ({tiles.rows} x {tiles.columns} a page)"),
        ("tile size", f"{tiles.input_height} x {tiles.input_width} in, {tiles.step_y} x {tiles.step_x} out"),
        ("halo overhead", f"{tiles.overhead:.2f} pixels computed for each pixel of the image"),
        ("peak memory", f"about {bytes_text(found.memory)}" if found.memory else "unknown: not in this model's card"),
        ("disk", f"about {_disk(found.likely)}"),
        ("disk at most", f"{_disk(found.most)}; {bytes_text(found.free)} are free"),
        ("time", f"about {time_text(found.seconds)}, as one tile of it takes"),
    ]
    print(table(rows))
    if shared:
        note("note: memory and time are those of one process that does it all")
    if found.unfinished:
        note(f"note: {mask}: an unfinished run is kept beside it, whose tiles take no time with --resume")
    if found.free < found.most.peak:
        free, most = bytes_text(found.free), bytes_text(found.most.peak)
        note(f"note: {mask}: its disk has {free} free, and {most} may be needed")


def _disk(disk: Disk) -> str:
    return f"{bytes_text(disk.peak)} while it runs and {bytes_text(disk.end)} in the end"


# -- info ------------------------------------------------------------------------------------------------------------


def file(file: ModelCard | EngineFile | ImageFile) -> None:
    """Say what a file is."""
    from unet_deploy.measure.inspection import EngineFile, ImageFile
    from unet_deploy.measure.words import card_rows, engine_rows, image_rows

    if isinstance(file, EngineFile):
        print(table(engine_rows(file)))
    elif isinstance(file, ImageFile):
        print(table(image_rows(file)))
    else:
        print(table(card_rows(file)))


# -- doctor ----------------------------------------------------------------------------------------------------------


def diagnosis(found: Diagnosis) -> None:
    """Say what a machine can run, and how to get what it cannot."""
    rows = [
        ("unet-deploy", found.version),
        ("python", f"{found.python} on {found.platform}"),
        ("processors", f"{found.cores} usable"),
        ("memory", f"{bytes_text(found.memory)} free" if found.memory else "unknown"),
        *map(_gpu_row, found.gpus),
        *([("GPU", found.no_gpu)] if found.no_gpu else []),
        *([("CUDA through", found.binding)] if found.binding else []),
        *((package.name, _package(package)) for package in found.packages),
        ("shipped models", ", ".join(found.shipped_models) or "none"),
        ("segment uses", found.default_runtime or f"nothing: {found.no_runtime}"),
    ]
    print(table(rows))


def _gpu_row(gpu: Gpu) -> tuple[str, str]:
    return f"cuda:{gpu.index}", f"{gpu.name}, compute capability {gpu.capability}, driver for CUDA {gpu.driver}"


def _package(package: Package) -> str:
    if package.problem:
        return f"installed, but cannot be loaded: {package.problem}"
    if package.only_for:
        return f"for {package.only_for} alone"
    if package.version is None:
        return f"not installed; run: {install_line(package.extra)}"
    return f"{package.version}, for {' '.join(package.providers)}" if package.providers else package.version


# -- verify, quantize, adopt -----------------------------------------------------------------------------------------


def seams(check: SeamCheck, image: Path) -> None:
    """Say how the tiled answer compares with the one in one pass."""
    from unet_deploy.measure.words import seam_rows

    print(table(seam_rows(check, image)))


def quantized(made: QuantizeReport, output: Path) -> None:
    """Say how much of a network computes in 8 bits now, and how it compares with the one before."""
    done = made.convolutions - made.kept
    answer(f"{output}: {done} of {made.convolutions} layers in 8 bits, calibrated on {made.calibrated_on} images")
    answer(f"{output}: {made.accuracy}")


def adopted(made: AdoptReport) -> None:
    """Say what became of a network of another toolkit, and what was measured of its seams."""
    from unet_deploy.measure.words import card_rows, differing

    if made.whole_tile:
        note(f"note: {', '.join(made.whole_tile)} may look at a whole tile; run verify --tiled on an image")
    answer = "probabilities" if made.activation == "none" else f"scores; a {made.activation} was added"
    rows = [*card_rows(made.card), ("its answer", answer), ("labels that differ", differing(made.agreement))]
    margin = made.card.margin
    if made.reach is not None and margin:
        felt = (f"{made.reach.worst[depth]:.2g} at {depth}" for depth in sorted({0, margin // 2, margin}))
        rows.append(("a tile's edge", f"moves probabilities by {', '.join(felt)} pixels from it"))
    print(table(rows))


# -- benchmark -------------------------------------------------------------------------------------------------------


def figures(figures: Figures, *, as_json: bool) -> None:
    """Say what was measured of one runtime."""
    print(json.dumps(asdict(figures), indent=2) if as_json else table(figures_rows(figures)))


def side_by_side(found: Sequence[Figures | str], *, as_json: bool) -> None:
    """Say what was measured of every runtime, one line for each; of one that did not run, why."""
    if as_json:
        print(json.dumps([{"not_run": each} if isinstance(each, str) else asdict(each) for each in found], indent=2))
        return
    answer(f"{'runtime':<34} {'p50 ms':>8} {'p95 ms':>8} {'cold ms':>8} {'MPx/s':>7} {'peak MB':>8} {'of peak':>8}")
    for each in found:
        answer(_side_by_side_line(each))


def figures_rows(figures: Figures) -> Rows:
    """What was measured of one runtime, for people."""
    times = [f"{name} {milliseconds(value)}" for name, value in _percentiles(figures)]
    rows = [
        ("runtime", f"{figures.runtime}; {figures.machine}"),
        ("image", f"{figures.size} x {figures.size} uint8, in {figures.tiles} tiles"),
        ("pixels to labels", f"{', '.join(times)}, {figures.runs} runs"),
        ("cold", f"load {milliseconds(figures.load)}, first image {milliseconds(figures.cold)}"),
        ("throughput", f"{figures.megapixels_per_s:.3g} MPx/s"),
        ("peak memory", bytes_text(figures.peak_bytes)),
    ]
    if figures.flops:
        work = f"{figures.flops / 1e9:.4g} GFLOP, {figures.flops / figures.p50 / 1e9:.4g} GFLOP/s"
        if figures.share and figures.peak_flops:
            work += f", {figures.share:.0%} of {figures.peak_flops / 1e9:.0f}"
        rows.append(("work", work))
    return rows + [(f"  {stage}", milliseconds(seconds)) for stage, seconds in figures.stages.items()]


def _percentiles(figures: Figures) -> list[tuple[str, float]]:
    return [("p50", figures.p50), ("p95", figures.p95), ("p99", figures.p99)]


def _side_by_side_line(each: Figures | str) -> str:
    if isinstance(each, str):
        return f"not run: {each}"
    share = f"{each.share:.0%}" if each.share else "-"
    times = f"{each.p50 * 1e3:>8.1f} {each.p95 * 1e3:>8.1f} {each.cold * 1e3:>8.1f}"
    return f"{each.runtime:<34} {times} {each.megapixels_per_s:>7.3g} {each.peak_bytes / 1e6:>8.0f} {share:>8}"
