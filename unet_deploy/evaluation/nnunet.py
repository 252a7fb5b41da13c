"""Data sets of nnU-Net, version 2: imagesTr/, labelsTr/, and dataset.json that says what the numbers are.

    dataset.json
    imagesTr/CASE_0000.png  CASE_0001.png     a file for each channel
    labelsTr/CASE.png                         numbers of classes, the same for all

As documentation/reference/dataset-format.md and ignore_label.md of MIC-DKFZ/nnUNet have it. imagesTs/ is not read.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unet_deploy.annotations.classes import listed_names
from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError, UsageError, reason
from unet_deploy.evaluation.folders import check_lossless, is_picture, typed
from unet_deploy.evaluation.named import NamedLabels
from unet_deploy.evaluation.pair import Pair
from unet_deploy.images import RASTER_SUFFIXES, TIFF_SUFFIXES, open_image

NAME = "imagesTr/ and labelsTr/ (nnU-Net)"

_IGNORE = "ignore"
"""The name of the label of pixels that nobody annotated."""

_BACKGROUND = "background"
"""The name of label 0. Where no label has it, the first is taken for it, whatever it is called."""

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def fits(data: Path) -> bool:
    """Whether a folder holds that of the images."""
    return (data / "imagesTr").is_dir()


def held(data: Path) -> tuple[Path, ...]:
    """The folders of images and of labels."""
    return data / "imagesTr", data / "labelsTr"


def pair_files(data: Path, marking: Marking) -> list[Pair]:
    """Pair the images of a data set with their labels, each channel a file.

    Raises DataError for a file without its pair, for a dataset.json that cannot be gone by, and UsageError for another
    value to ignore than it has.
    """
    described = _read(data / "dataset.json")
    images, labels = (_files(folder, described) for folder in held(data))
    if not images:
        named = f" whose name ends in {described.ending}" if described.ending else ""
        raise DataError(f"{data / 'imagesTr'}: no image in it{named}")
    cases = _cases(images)
    _check_channels(cases, described)
    for case in sorted(labels.keys() ^ cases.keys()):
        alone, folder = (labels[case], "imagesTr") if case in labels else (cases[case][0], "labelsTr")
        raise DataError(f"{alone}: case {case} is not in {data / folder}; add it there or take this one away")
    marked = _marked(marking, described)
    pairs = []
    for case, (first, *others) in sorted(cases.items()):
        check_lossless(labels[case])
        pairs.append(
            Pair(
                typed(case),
                first,
                labels[case],
                marking=marked,
                others=tuple(others),
                channel_names=described.channels,
                named=described.named,
            )
        )
    return pairs


# -- files -----------------------------------------------------------------------------------------------------------


def _files(folder: Path, described: _Described) -> dict[str, Path]:
    """The files of a folder by their names without ending. Raises DataError where there is no such folder, and for two
    of one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; nnU-Net keeps the labels of {folder.parent / 'imagesTr'} there")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_picture(folder, path) and path.name.endswith(described.ending):
            stem = path.name.removesuffix(described.ending or path.suffix)
            if stem in found:
                raise DataError(f"{path}: {found[stem].name} has the same stem; keep one of them")
            found[stem] = path
    return found


def _cases(images: Mapping[str, Path]) -> dict[str, list[Path]]:
    """The files of each case, channel by channel. Raises DataError for one without number, or without its channels."""
    found = defaultdict[str, dict[int, Path]](dict)
    for stem, path in images.items():
        named = _CHANNEL.fullmatch(stem)
        if not named:
            raise DataError(f"{path}: has no number of a channel; nnU-Net names images {stem}_0000{path.suffix}")
        found[named[1]][int(named[2])] = path
    channels = range(max(map(len, found.values())))
    for case, files in found.items():
        if missing := [number for number in channels if number not in files]:
            number, path = next(iter(files.items()))
            absent = path.name.replace(f"{case}_{number:04}", f"{case}_{missing[0]:04}")
            raise DataError(
                f"{path.with_name(absent)}: no such file, though {path.name} is; cases have the same channels"
            )
    return {case: [files[number] for number in channels] for case, files in found.items()}


def _check_channels(cases: Mapping[str, Sequence[Path]], described: _Described) -> None:
    """Raise DataError where more channels are named than images have, each a file, or as of RGB all in an only one."""
    case, files = next(iter(cases.items()))
    named, there = len(described.channels), len(files)
    if named > there == 1:
        with open_image(files[0]) as source:
            there = source.info.channels
    if named > there:
        said = listed_names(described.channels)
        raise DataError(
            f"{described.named.file}: names {named} channels ({said}), but case {case} has {there}, {files[-1].name}; "
            "add a file for each, or name those that are there"
        )


def _marked(marking: Marking, described: _Described) -> Marking:
    """How labels are read, those that nobody annotated left out."""
    if described.ignore is None or marking.ignore in (None, described.ignore):
        return replace(marking, ignore=marking.ignore if described.ignore is None else described.ignore)
    raise UsageError(
        f"--ignore {marking.ignore}: {described.named.file} says {_IGNORE!r} of {described.ignore}; leave it out"
    )


# -- dataset.json ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Described:
    """What dataset.json says, as far as it is of use."""

    named: NamedLabels
    ignore: int | None
    ending: str
    """Of files of the data set; empty for any that we read."""
    channels: tuple[str, ...]
    """What they are called; empty where it says nothing."""


def _read(file: Path) -> _Described:
    """Read dataset.json. Raises DataError for what it lacks, in a line."""
    try:
        said = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(
            f'{file}: no such file; it says what labels mean: {{"labels": {{"background": 0, "cell": 1}}}}'
        ) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is no readable JSON ({reason(error)}); save it again, as UTF-8") from error
    labels = said.get("labels") if isinstance(said, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise DataError(f'{file}: has no labels; say {{"labels": {{"background": 0, "cell": 1}}}}')
    names, ignore = _numbered(file, labels)
    return _Described(NamedLabels(file, names), ignore, _ending(file, said), _channel_names(said))


def _numbered(file: Path, labels: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """The names of labels in the order of their numbers, and the number of those that nobody annotated."""
    if any(isinstance(number, list) for number in labels.values()):
        raise DataError(f"{file}: labels are regions of several numbers; give each number a name of its own")
    if not all(type(number) is int for number in labels.values()):
        raise DataError(f'{file}: labels are names with numbers, such as "background": 0, in version 2 of nnU-Net')
    ignore = next((number for name, number in labels.items() if name.casefold() == _IGNORE), None)
    numbered = {number: name for name, number in labels.items() if number != ignore}
    misplaced = next((number for name, number in labels.items() if name.casefold() == _BACKGROUND and number), 0)
    if misplaced:
        raise DataError(f"{file}: {_BACKGROUND} is label {misplaced}; number it 0, in the masks too, as nnU-Net has it")
    kept = sum(number != ignore for number in labels.values())
    if sorted(numbered) != list(range(kept)) or kept < 2:
        said = ", ".join(f"{number} {name}" for name, number in labels.items())
        raise DataError(f"{file}: labels are {said}; number two or more from 0, the background, without a gap")
    return tuple(numbered[number] for number in range(kept)), ignore


def _ending(file: Path, said: Mapping[str, Any]) -> str:
    ending = said.get("file_ending", "")
    readable = TIFF_SUFFIXES + RASTER_SUFFIXES
    if ending == "" or (isinstance(ending, str) and ending.lower().endswith(readable)):
        return ending
    raise DataError(f"{file}: file_ending {ending!r} is not read; save images and labels as .png or .tif")


def _channel_names(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What channels are called, where names are given to numbers from 0 on."""
    names = said.get("channel_names")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return ()
    return tuple(names[str(number)] for number in range(len(names)) if str(number) in names)
