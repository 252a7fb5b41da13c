"""Commands that measure: benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unet_deploy.cli.app import Device, Overwrite, Precision, RuntimeName, app
from unet_deploy.errors import UsageError, VerificationError


@app.command()
def benchmark(
    model: Annotated[str | None, typer.Argument(help="Model file, engine, or a shipped model's name.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Side of the image, in pixels.")] = 512,
    runs: Annotated[int, typer.Option(min=1, help="Images after the first ones.")] = 20,
    device: Device = "auto",
    runtime: RuntimeName = "auto",
    precision: Precision = None,
    tile_size: Annotated[
        int | None, typer.Option("--tile-size", help="Largest side of the network's input, in pixels.")
    ] = None,
    max_latency: Annotated[
        float | None, typer.Option("--max-latency", help="Seconds that the median may take; exit code 5 beyond.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the stages as bars into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a model on this machine: latency, stages, memory and share of the processor's peak.

    --runtime all sets every runtime of this machine side by side.
    """
    import json
    from dataclasses import asdict

    from unet_deploy.cli.console import progress_bar, say, table
    from unet_deploy.measure import benchmark as measuring
    from unet_deploy.system.extras import require
    from unet_deploy.system.files import check_free, replacing
    from unet_deploy.zoo import Request

    if plot:
        require("matplotlib", "train")
        check_free(plot, overwrite=overwrite)
    if runtime == "all":
        found = measuring.side_by_side(model, measuring.runnable(model), size=size, runs=runs)
    else:
        request = Request(device, runtime, precision, tile_size=tile_size)
        with progress_bar("compiling", "steps") as progress:
            found = [measuring.benchmark(model, request, size=size, runs=runs, progress=progress)]
    figures = [each for each in found if isinstance(each, measuring.Figures)]
    if not figures:
        raise UsageError(f"benchmark: nothing runs here: {'; '.join(map(str, found))}")
    if as_json:
        whole = [asdict(each) if isinstance(each, measuring.Figures) else {"not_run": each} for each in found]
        print(json.dumps(whole if runtime == "all" else whole[0], indent=2))
    elif runtime == "all":
        print(measuring.side_by_side_table(found))
    else:
        print(table(measuring.rows(figures[0])))
    if plot:
        with replacing(plot, overwrite=overwrite) as beside:
            measuring.draw(figures, beside)
        say(f"drawn: {plot}")
    fastest = min(figures, key=lambda each: each.p50)
    if max_latency is not None and fastest.p50 > max_latency:
        raise VerificationError(
            f"{fastest.runtime}: {fastest.p50:.3g} s for {size} x {size} pixels, over the budget of {max_latency:g} s"
        )
