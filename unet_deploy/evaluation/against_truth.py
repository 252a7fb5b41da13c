"""How good masks are that somebody predicted: one against its truth, or a folder of them against annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.drawn import is_drawing
from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.drawn import numbered, paint_pairs
from unet_deploy.evaluation.evaluate import score_truth
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind, code_of_score, codes_of_two
from unet_deploy.evaluation.named import NamedLabels
from unet_deploy.evaluation.objects import objects_found, without_small
from unet_deploy.evaluation.pairs import Pair, find_pairs
from unet_deploy.evaluation.predictions import find_predictions
from unet_deploy.evaluation.regions import by_region
from unet_deploy.evaluation.scores import Evaluation, Score
from unet_deploy.evaluation.truths import (
    Truth,
    known_of,
    note_of_ignored,
    notes_of,
    read_mask,
    read_pair,
    truth_of,
    where_both,
    without,
)
from unet_deploy.images import is_zarr_folder
from unet_deploy.images.orientation import upright_sides
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.objects.rules import COMPONENTS, Rules
from unet_deploy.tiling import Sides


def score_masks(
    masks: Path,
    truth: Path,
    *,
    labels: Path | None = None,
    mask_kind: MaskKind = "auto",
    marking: Marking = AS_MARKED,
    objects: Rules = COMPONENTS,
    reading: Reading = AS_SAID,
) -> Evaluation:
    """Score a mask file as `score_files`, or against annotated images as `score_data` where that is what is given."""
    if labels or _is_data(truth) or (masks.is_dir() and not is_zarr_folder(masks)):
        pairs = find_pairs(truth, labels, marking)
        return score_data(masks, pairs, mask_kind=mask_kind, objects=objects, reading=reading)
    return score_files(masks, truth, mask_kind=mask_kind, marking=marking, objects=objects, reading=reading)


def _is_data(truth: Path) -> bool:
    """Whether a truth is no mask or drawing, but annotated images: a folder, or an OME-Zarr image with its labels."""
    return (truth / "labels").is_dir() if is_zarr_folder(truth) else truth.is_dir()


def score_files(
    mask: Path,
    truth: Path,
    *,
    mask_kind: MaskKind = "auto",
    marking: Marking = AS_MARKED,
    objects: Rules = COMPONENTS,
    reading: Reading = AS_SAID,
) -> Evaluation:
    """Score a mask file against a file of the truth, page by page, in memory.

    Both are read as the masks of a training are; the truth may be a drawing. Classes are scored one by one where both
    files hold classes, and the foreground elsewhere. Objects are as they are drawn or numbered, or else connected
    components. Pixels that are no data in either are left out, but for those of 0, the background, and so are pages of
    such pixels alone.
    mask_kind: what the numbers of both are. marking: how the truth is to be read.
    objects: what counts as one in the mask; numbered ones by `min_size` alone.
    Raises DataError when the two do not fit, or hold no labels.
    """
    read = _read_drawn if is_drawing(truth) else _read_both
    return _scored(read(mask, truth, mask_kind, marking, reading), objects, str(truth))


def score_data(
    masks: Path,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    objects: Rules = COMPONENTS,
    reading: Reading = AS_SAID,
) -> Evaluation:
    """Score predicted masks against annotated images, each as `score_files`.

    masks: as `find_predictions` takes them. pairs: as `find_pairs` gives them. Of images of which regions are annotated
    each region is scored by itself, and no mask of them is read whole. Where the data set names its classes, the
    numbers of all masks are these.
    Raises DataError as `find_predictions`, `by_region` and `score_files`.
    """
    found, pairs = find_predictions(masks, pairs), by_region(pairs)
    read = _read_all_drawn if all(is_drawing(pair.mask) for pair in pairs) else _read_all
    compared = read(pairs, [found.of[pair.image] for pair in pairs], mask_kind, reading)
    return _scored(replace(compared, notes=(found.note, *compared.notes)), objects, str(pairs[0].mask))


@dataclass(frozen=True)
class _Page:
    """A predicted mask, or a region of it, and what is true there."""

    name: str
    ours: Mask
    theirs: Mask


@dataclass(frozen=True)
class _Compared:
    """All that is compared, and what the numbers mean."""

    pages: list[_Page]
    ours: MaskCode
    theirs: MaskCode
    named: NamedLabels | None = None
    """What the classes are called, where the data set says it."""
    notes: tuple[str | None, ...] = ()
    """What else a person should know, in lines; None for nothing."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What is scored: the classes of both, or the foreground where either has none."""
        if not (self.ours.kind == self.theirs.kind == "classes" and len(self.ours.values) > 2):
            return "background", "foreground"
        if self.named and len(self.named.names) == len(self.ours.values):
            return self.named.names
        return "background", *(f"class {value}" for value in self.ours.values[1:])


# -- what is read ----------------------------------------------------------------------------------------------------


def _read_both(mask: Path, truth: Path, kind: MaskKind, marking: Marking, reading: Reading) -> _Compared:
    """Read the pages of two masks. Raises DataError where they do not fit."""
    with reading.open_labels(mask) as ours, reading.open_labels(truth) as theirs:
        shapes = [(s.info.pages, s.info.channels, *upright_sides(s.info)) for s in (ours, theirs)]
        if (shapes[0][0], *shapes[0][2:]) != (shapes[1][0], *shapes[1][2:]):
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise DataError(f"{mask}: is {texts[0]} (pages, channels, pixels), but {truth} is {texts[1]}")
        pages = range(ours.info.pages)
        masks = [read_mask(ours, page) for page in pages]
        truths = [without(read_mask(theirs, page), marking.ignore) for page in pages]
    note = note_of_ignored(marking.ignore, truths)
    return _Compared(_paged(mask, masks, truths), *codes_of_two(masks, truths, kind), notes=(note,))


def _read_drawn(mask: Path, truth: Path, kind: MaskKind, marking: Marking, reading: Reading) -> _Compared:
    """Read a mask of one page, and a drawing as numbered objects. Raises DataError where they do not fit."""
    with reading.open_labels(mask) as ours:
        if ours.info.pages > 1:
            raise DataError(f"{mask}: has {ours.info.pages} pages, but {truth} is drawn on one image; score each alone")
        masks, (drawn, unmarked) = [read_mask(ours)], numbered(truth, ours.info, mask, marking)
    code, note = code_of_score(masks, kind), note_of_ignored(marking.ignore, ())
    return _Compared(_paged(mask, masks, [drawn]), code, MaskCode("instances"), notes=(note, unmarked))


def _paged(mask: Path, masks: Sequence[Mask], truths: Sequence[Mask]) -> list[_Page]:
    return [_Page(f"{mask.name}[{page}]", *both) for page, both in enumerate(zip(masks, truths, strict=True))]


def _read_all(pairs: Sequence[Pair], files: Sequence[Path], kind: MaskKind, reading: Reading) -> _Compared:
    """Read predicted masks and the true ones. Raises DataError where two do not fit."""
    truths = [read_pair(pair, reading) for pair in pairs]
    sizes: list[Sides] = [(each.numbers.shape[0], each.numbers.shape[1]) for each in truths]
    masks = [_predicted(*each, reading) for each in zip(files, pairs, sizes, strict=True)]
    named = next((pair.named for pair in pairs if pair.named), None)
    by_name = kind == "auto" and named is not None and len(named.names) > 2
    codes = codes_of_two(masks, truths, "classes" if by_name else kind)
    note = None if named else note_of_ignored(pairs[0].marking.ignore, truths)
    return _Compared(_of_pairs(pairs, masks, truths), *codes, named, (note,))


def _read_all_drawn(pairs: Sequence[Pair], files: Sequence[Path], kind: MaskKind, reading: Reading) -> _Compared:
    """Read predicted masks where something is annotated, and all drawings as numbered objects."""
    drawn = paint_pairs(pairs, UNNAMED, "binary" if kind == "binary" else "instances")
    truths, masks = [], []
    for pair, file, painted in zip(pairs, files, drawn.painted, strict=True):
        size: Sides = pair.window.image if pair.window else (painted.objects.shape[0], painted.objects.shape[1])
        masks.append(_predicted(file, pair, size, reading))
        inside = pair.inside.slices if pair.inside else (slice(None), slice(None))
        known = None if painted.known is None else painted.known[inside]
        truths.append(Mask(str(pair.mask), painted.objects[inside], known))
    ours, note = code_of_score(masks, kind), note_of_ignored(pairs[0].marking.ignore, ())
    return _Compared(_of_pairs(pairs, masks, truths), ours, MaskCode("instances"), notes=(*drawn.notes, note))


def _of_pairs(pairs: Sequence[Pair], masks: Sequence[Mask], truths: Sequence[Mask]) -> list[_Page]:
    return [_Page(pair.name, *both) for pair, *both in zip(pairs, masks, truths, strict=True)]


def _predicted(file: Path, pair: Pair, size: Sides, reading: Reading) -> Mask:
    """Read what is scored of a predicted mask. size: of the image. Raises DataError for a mask of another size."""
    with reading.open_labels(file) as source:
        if source.info.pages != pair.pages:
            raise DataError(f"{file}: has {source.info.pages} pages, but {pair.image} has {pair.pages}")
        if (sides := upright_sides(source.info)) != size:
            texts = [" x ".join(map(str, each)) for each in (sides, size)]
            raise DataError(f"{file}: is {texts[0]} pixels, but its truth {pair.mask} is of {texts[1]}")
        return read_mask(source, pair.page, pair.window.region if pair.window else None)


# -- what it is worth ------------------------------------------------------------------------------------------------


def _scored(compared: _Compared, objects: Rules, truth: str) -> Evaluation:
    """Score all pages of which anything is known. Raises DataError where there are none. truth: its name."""
    found = [_score(page, compared, objects) for page in compared.pages]
    scores = tuple(filter(None, found))
    if not scores:
        raise DataError(f"{truth}: nothing of it is annotated, so that there is nothing to score")
    masks, truths = ([getattr(page, side) for page in compared.pages] for side in ("ours", "theirs"))
    notes = dict.fromkeys([*notes_of(masks, compared.ours), *notes_of(truths, compared.theirs), *compared.notes])
    return Evaluation(compared.classes, scores, notes=tuple(filter(None, notes)))


def _score(page: _Page, compared: _Compared, objects: Rules) -> Score | None:
    """Score a page; None where nobody can be wrong on it."""
    classes = len(compared.classes)
    known = where_both(known_of(page.ours, compared.ours), known_of(page.theirs, compared.theirs))
    if known is not None and not known.any():
        return None
    found = _seen(replace(page.ours, data=known), compared.ours, classes)
    there = _seen(replace(page.theirs, data=known), compared.theirs, classes)
    if compared.ours.kind == "instances":
        numbered_ones = without_small(found.objects, objects.min_size)
    else:
        numbered_ones = objects_found(found.labels, objects)
    return score_truth(page.name, replace(found, objects=numbered_ones), there, classes)


def _seen(mask: Mask, code: MaskCode, classes: int) -> Truth:
    """What a mask says, of the foreground alone where that is what is scored."""
    said = truth_of(mask, code, max(classes, len(code.values)))
    return said.foreground if classes == 2 else said
