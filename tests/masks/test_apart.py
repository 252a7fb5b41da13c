"""No output is an input, whatever its name looks like, and no two outputs are one file."""

import os
from pathlib import Path

import pytest

from unet_deploy.errors import UsageError
from unet_deploy.masks import apart
from unet_deploy.masks.apart import check_apart


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    path.write_bytes(b"pixels")
    return path


def spellings(slide):
    """Other names of one file."""
    folder = slide.parent
    (folder / "link.tif").symlink_to(slide)
    os.link(slide, folder / "hard.tif")
    (folder / "linked").symlink_to(folder, target_is_directory=True)
    return [
        slide,
        folder / "link.tif",
        folder / "hard.tif",
        folder / "linked" / "slide.tif",
        folder / "none" / ".." / "slide.tif",
        Path(os.path.relpath(slide)),
    ]


def test_an_output_is_no_input_by_any_of_its_names(slide):
    for output in spellings(slide):
        for given in (slide, Path(f"file:{slide}"), output):
            with pytest.raises(UsageError, match="is what is to be read, and would be lost; give another name"):
                check_apart([output], [given])
    check_apart([slide.with_name("mask.tif")], [slide, Path("https:/somewhere/slide.tif")])


def test_two_outputs_are_no_one_file_whether_it_is_there_or_not(slide, tmp_path):
    (tmp_path / "later.tif").symlink_to(tmp_path / "mask.tif")
    pairs = [(slide, other) for other in spellings(slide)]
    pairs += [(tmp_path / "mask.tif", tmp_path / name) for name in ("later.tif", "linked/mask.tif")]
    for one, other in pairs:
        with pytest.raises(UsageError, match="would be written there too; give each output its own name"):
            check_apart([one, other])
    check_apart([tmp_path / "a.tif", tmp_path / "A.tif"] if not apart._ignores_case(tmp_path) else [])


def test_case_is_seen_through_where_the_file_system_does(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "_ignores_case", lambda folder: True)
    with pytest.raises(UsageError, match="is what is to be read"):
        check_apart([tmp_path / "SLIDE.tif"], [tmp_path / "slide.tif"])
    with pytest.raises(UsageError, match="would be written there too"):
        check_apart([tmp_path / "e\u0301.tif", tmp_path / "\u00c9.tif"])


def test_an_output_neither_holds_an_input_nor_lies_in_one_but_for_its_labels(tmp_path):
    image = tmp_path / "image.zarr"
    with pytest.raises(UsageError, match="holds the input"):
        check_apart([image], [image / "0"])
    for inside in ("cells.csv", "0/c/0/0", "labels"):
        with pytest.raises(UsageError, match="lies in the input"):
            check_apart([image / inside], [image])
    check_apart([image / "labels" / "cells", image / "labels" / "ids"], [image, image / "labels" / "hand"])
    with pytest.raises(UsageError, match=r"lies in .*image.zarr, which is written too"):
        check_apart([image / "cells.csv", image])


def test_a_circle_of_links_is_a_name_like_any_other(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    check_apart([tmp_path / "a"], [tmp_path / "c"])
