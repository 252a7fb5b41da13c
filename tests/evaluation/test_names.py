"""Masks find their images by name, or the error names what would pair them."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import DataError
from unet_deploy.evaluation.names import key_of, pair_stems
from unet_deploy.evaluation.pairs import find_pairs

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zellé") for form in ("NFC", "NFD"))


def files(folder, stems):
    return {stem: Path(f"data/{folder}/{stem}.png") for stem in stems}


def paired(images, masks):
    return pair_stems(files("images", images), files("masks", masks))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a", "a"),
        ("Cell_01", "cell_01"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED.upper(), COMPOSED),
        *(("a", f"a_{ending}") for ending in ("mask", "masks", "label", "labels", "Mask", "cp_masks")),
        ("a", "a-mask"),
        ("day1/a", "Day1/a_mask"),
        ("a.ome", "a"),
        ("a.ome", "a_labels.ome"),
        ("a_mask", "a_mask"),
    ],
)
def test_a_mask_of_the_same_name_is_found(image, mask):
    assert paired([image, "other"], ["other", mask]) == {image: mask, "other": "other"}


@given(st.sets(st.text("abAB1_é/", min_size=1, max_size=5)))
def test_the_same_stems_pair_with_themselves(stems):
    assert paired(stems, stems) == {stem: stem for stem in stems}


@given(st.sets(st.text("abA1é", min_size=1, max_size=5)), st.sampled_from(["_mask", "_masks", "_label", "_labels"]))
def test_masks_with_an_ending_pair_or_are_refused_where_two_are_of_one(stems, ending):
    masks = [stem + ending for stem in stems]
    if len({key_of(stem) for stem in stems}) == len(stems):
        assert paired(stems, masks) == dict(zip(stems, masks, strict=True))
    else:
        with pytest.raises(DataError, match="may be of"):
            paired(stems, masks)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ("a", "a a_mask", r"masks/a_mask\.png: is a mask of data/images/a\.png, as data/masks/a\.png is; keep one"),
        ("a", "a_mask a_labels", r"masks/a_mask\.png: is a mask of .*a\.png, as .*a_labels\.png is"),
        ("a", "A a_mask", r"a_mask\.png: is a mask of .*images/a\.png, as .*A\.png is"),
        ("A a", "a_mask", r"a_mask\.png: may be of data/images/A\.png or data/images/a\.png; rename one"),
        ("a", "a_seg", r"a_seg\.png: has no file named a_seg\.\* in data/images; if it is of .*a\.png, name it a\.png"),
        ("day1/a", "a", r"masks/a\.png: has no .* in data/images; if it is of .*day1/a\.png, name it day1/a\.png"),
        ("a b", "a", r"images/b\.png: has no file named b\.\* in data/masks; add it or take this one away"),
        ("a", "a b", r"masks/b\.png: has no file named b\.\* in data/images; add it or take this one away"),
        ("a1", "a12", r"a12\.png: has no file named a12\.\* in data/images; add it or take this one away"),
    ],
)
def test_what_has_no_pair_or_two_is_named_with_what_would_pair_it(images, masks, message):
    with pytest.raises(DataError, match=message):
        paired(images.split(), masks.split())


def test_folders_within_folders_are_paired_and_hidden_files_left_out(tmp_path):
    for name in ("day1/a", "day2/a", "b"):
        for kind, ending in (("images", ""), ("masks", "_mask")):
            path = tmp_path / kind / f"{name}{ending}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.zeros((4, 5), np.uint8))
    (tmp_path / "masks" / ".cache").mkdir()
    for hidden in ("masks/.cache/x.png", "masks/._b.tif", "images/day1/.a.tif"):
        (tmp_path / hidden).write_bytes(b"")
    found = find_pairs(tmp_path)
    assert [pair.name for pair in found] == ["b", "day1/a", "day2/a"]
    assert [pair.mask.relative_to(tmp_path).as_posix() for pair in found][1] == "masks/day1/a_mask.tif"


def test_a_name_is_typed_in_one_form(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / f"{DECOMPOSED}.tif", np.zeros((4, 5), np.uint8))
    assert [pair.name for pair in find_pairs(tmp_path)] == [COMPOSED]
