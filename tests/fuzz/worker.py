"""A process that runs commands of the command line one after another, until it dies or its input ends.

It reads a line of JSON for each, {"words": [...], "said": FOLDER}, and answers with one: {"code": 3, "error": ""}.
What the command prints, native libraries included, goes to FOLDER/stdout and FOLDER/stderr.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
import warnings
from pathlib import Path


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    warnings.simplefilter("always")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # for small work threads cost more than they bring
    from fuzz.kinds import KINDS

    import trainer.export
    import unet_deploy.convert.adopt
    from unet_deploy.cli import app

    for module in (trainer.export, unet_deploy.convert.adopt):
        module.measure_bytes_per_pixel = lambda model: 100.0  # it starts two processes for each model
    rights = {kind.name: kind.right for kind in KINDS}
    for line in sys.stdin:
        asked = json.loads(line)
        _redirect(Path(asked["said"]))
        answer = {"code": 0, "error": ""}
        try:
            if "words" in asked:
                answer["code"] = _run(app, asked["words"])
            else:
                answer["error"] = rights[asked["right"]](Path(asked["seed"]))
        except BaseException:
            answer |= {"code": -1, "error": traceback.format_exc()}
        sys.stdout.flush()
        sys.stderr.flush()
        answer["open"] = _left_open(asked.get("seed", "//"))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _run(app: object, words: list[str]) -> int:
    try:
        app(words)
    except SystemExit as left:
        return left.code or 0
    return 0


def _redirect(folder: Path) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)


def _left_open(folder: str) -> list[str]:
    """Files of a mutant that are still open, once tracebacks with their circles are gone."""
    if _open_files(folder):
        gc.collect()
    return _open_files(folder)


def _open_files(folder: str) -> list[str]:
    links = []
    for each in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            continue
    return [link for link in links if link.startswith(folder)]


if __name__ == "__main__":
    main()
