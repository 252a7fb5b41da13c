"""What must hold whatever a command is given, and how a result is known to be right."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

CODES = {0, 1, 2, 3, 4, 5, 6}
"""Of docs/exit-codes.md, without that of an interrupt."""

STARTS = (
    *(
        "error: ",
        "note: ",
        "resumed: ",
        "objects: ",
        "proved on first use: ",
        "skipped as background: ",
        "export: ",
    ),
    "about ",  # how long a training takes
)
"""How lines on stderr begin that are ours."""

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def of_output(code: int, stdout: str, stderr: str) -> Iterator[str]:
    """What is wrong with what a command said, and with its exit code."""
    if "Traceback" in stderr:
        yield f"traceback: {stderr.strip().splitlines()[-1]}"
    if code not in CODES:
        yield f"exit code {code}"
    lines = stderr.splitlines()
    if code and not any(line.startswith("error: ") for line in lines):
        yield "no error line"
    for line in stderr.split("\n"):
        if "; report this" in line:
            yield f"unforeseen: {line}"
        if line and not line.startswith(STARTS) and not _goes_on(line):
            yield f"stray line: {line[:200]!r}"
    if any(unicodedata.category(each) in _UNSEEN for each in (stdout + stderr).replace("\n", "")):
        yield "raw control characters"


def _goes_on(line: str) -> bool:
    """Whether it says that a run can be gone on from, or what was left out."""
    return "--resume" in line or line.endswith((" is finished already", ", which do not count"))


def of_files(seed: Path, code: int, said: str, before: dict[str, str]) -> Iterator[str]:
    """What is wrong with the files that a command left. before: those that were there, as `listed` has them."""
    after = listed(seed)
    for name, digest in before.items():
        if name.startswith("in/") and after.get(name) != digest:
            yield f"input changed: {name}"
    new = {name for name in after if name not in before and name.startswith("out/")}
    kept = {name for name in new if _is_unfinished(name) and "--resume" in said}
    if code and new - kept:
        yield f"left behind: {sorted(new - kept)[0]}"
    if not code and any(_is_hidden(name) for name in new):
        yield f"part file left: {sorted(filter(_is_hidden, new))[0]}"
    if any(name.startswith("in/") for name in after.keys() - before.keys()):
        yield "something new among the inputs"


def listed(seed: Path) -> dict[str, str]:
    """The SHA-256 of every file of a seed, by name, and when something last came into or left its folders."""
    found = {}
    for path in seed.rglob("*"):
        name = str(path.relative_to(seed))
        if path.is_file():
            found[name] = sha256(path.read_bytes()).hexdigest()
        elif name.startswith("in"):
            found[f"{name}/"] = str(path.stat().st_mtime_ns)
    return found


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part.endswith((".part", ".spool", ".partial")) for part in name.split("/"))


def _is_unfinished(name: str) -> bool:
    """Whether it is what `--resume` goes on from."""
    part = name.split("/")[1]
    return part.startswith(".") and part.endswith((".spool", ".zarr.part"))


# -- results ---------------------------------------------------------------------------------------------------------


def leave(seed: Path) -> None:
    """Do nothing with a mutant."""


def nothing(seed: Path) -> str:
    """Whatever was made is right."""
    return ""


def mask_of_image(seed: Path) -> str:
    """A mask, if there is one, has the size of its image and holds labels of its model."""
    from unet_deploy.images import open_image

    masks = [each for each in (seed / "out").iterdir() if each.name in ("mask.tif", "mask.ome.tif", "mask.zarr")]
    if not masks:
        return ""
    (image,) = (seed / "in").glob("image.*")
    with open_image(image, channel=0) as source, open_image(masks[0]) as mask:
        theirs, ours = source.info, mask.info
        if (theirs.pages, theirs.height, theirs.width) != (ours.pages, ours.height, ours.width):
            return f"mask of {ours.pages} x {ours.height} x {ours.width} for {theirs}"
        if theirs.height * theirs.width < 1 << 22 and mask.crop(0, ours.region).max() > 1:
            return "mask holds labels that its model does not have"
    return ""


def outputs_open(seed: Path) -> str:
    """A model that was written is one; a mask has the size of its image."""
    from unet_deploy import open_model

    for model in (seed / "out").glob("*.onnx"):
        with open_model(model, device="cpu", runtime="onnxruntime") as ready:
            assert ready.card.classes
    return mask_of_image(seed)


def same_as_whole(seed: Path) -> str:
    """A run that went on made what one makes that nothing happened to."""
    whole, ours = listed(seed / "whole"), listed(seed / "out")
    wrong = sorted(name for name in whole if ours.get(name) != whole[name])
    return f"not the bytes of an unbroken run: {wrong[0]}" if wrong else ""
