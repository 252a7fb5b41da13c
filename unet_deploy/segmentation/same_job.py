"""Whether files are of this very job, so that they are left as they are, and whether an unfinished run may go on."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

from unet_deploy._version import __version__
from unet_deploy.images import SILENCE
from unet_deploy.masks import Keep, format_of
from unet_deploy.segmentation.compute import Task
from unet_deploy.segmentation.models import Given, Models
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.outputs import Outputs, check_ours, finished, sweep
from unet_deploy.segmentation.planning import open_file, turn_to_level
from unet_deploy.system.cache import key_of


def mark_of_job(state: str, outputs: Outputs, models: Models | Given, options: Options) -> str:
    """The mark of the files that a run makes of an image in this state.

    Another image, model, set of outputs or setting has another, and so has a precision that was asked for by name. What
    the answer does not depend on – tiles, memory, patience, whether it was resumed – is not in it.
    """
    settings = replace(options, tile_size=None, max_memory=None, timeout=SILENCE, resume=False, overwrite=False)
    names = [each.name for each in outputs]
    return key_of(state, models.fingerprint, models.precision, asdict(settings), names)


def is_made(path: Path, outputs: Outputs, models: Models, options: Options) -> bool:
    """Whether the mask is there, whole, and a run of this very job made it. Raises UsageError where another thing is.

    Where the file system keeps no marks, a mask that is there and whole is taken for the job's own.
    """
    return _made_of(path, outputs, models, options) is not None


def end_made(path: Path, outputs: Outputs, models: Models, options: Options) -> bool:
    """As `is_made`; what runs left that were killed between giving the files their names and their end is removed."""
    state = _made_of(path, outputs, models, options)
    if state is not None:
        outputs = outputs.with_sure(options.objects.peak_by(models.card.decision))
        sweep(outputs, _key_of_job(state, outputs, models.fingerprint, options))
    return state is not None


def _made_of(path: Path, outputs: Outputs, models: Models, options: Options) -> str | None:
    """The state of the image that `is_made` says the mask to be made of; None where there is no mask."""
    if not finished(outputs.mask):
        return None
    with open_file(path, options) as source:
        turn_to_level(source, models.card, options)
        state = source.state()
    job = mark_of_job(state, outputs, models, options)
    check_ours(format_of(outputs.mask).place(outputs.mask), Keep(resume=True, job=job))
    return state


def key_of_run(task: Task, state: str, outputs: Outputs, fingerprint: str) -> dict[str, Any]:
    """What must be the same for an unfinished run to go on. state: of the image. fingerprint: of its `Models`."""
    scaled, peak = task.measured.scaled, task.options.objects.peak_by(task.ready.card.decision)
    return {
        "version of this program": __version__,
        **_key_of_job(state, outputs, fingerprint, task.options),
        **({"level that is read": [scaled.level, task.state]} if scaled.scale < 1 else {}),
        **({"peak of objects": peak} if outputs.sure else {}),
        "scale": task.settled.runtime.fingerprint,
        "runtime": task.settled.runtime.name,
        "tile size": json.loads(json.dumps(asdict(task.plan))),
    }


def _key_of_job(state: str, outputs: Outputs, fingerprint: str, options: Options) -> dict[str, Any]:
    """What of a key is known before a model is opened: which pixels the masks get, however they are computed."""
    settings = {
        "channel": options.channel,
        "palette": options.palette,
        "nodata": repr(options.nodata),
        "outside": options.outside,
        "level": options.level,
        "tta": options.tta,
        "skip_background": options.skip_background,
    }
    return {
        "image": state,
        "threshold": options.threshold,
        "model": fingerprint,
        "region": astuple(options.roi) if options.roi else None,
        "setting": settings,
        "set of outputs": [each.name for each in outputs],
    }
