"""COCO's annotations are read for each image of a file, from polygons and from runs of pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_masks import CLASSES, SQUARE, classes_of, numbered_masks, partition
from hypothesis import given, settings

from unet_deploy.annotations.coco import lists, read_coco, runs_of
from unet_deploy.annotations.paint import paint
from unet_deploy.errors import DataError

FLAT = [part for point in SQUARE for part in point]


def runs(mask):
    """The runs of a mask down its columns, the first of pixels outside."""
    flat = np.concatenate([[False], mask.T.reshape(-1)])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], turns, [mask.size]])).tolist()


def text_of(counts):
    """Runs as text, as pycocotools writes them (rleToString)."""
    text = ""
    for at, count in enumerate(counts):
        value, more = count - (counts[at - 2] if at > 2 else 0), True
        while more:
            piece = value & 31
            value >>= 5
            more = value != (-1 if piece & 16 else 0)
            text += chr((piece | 32 if more else piece) + 48)
    return text


def written(path, *annotations, images=("a.png",), size=(8, 10)):
    """A file of annotations, each a category and what is drawn, of the first image."""
    content = {
        "images": [
            {"id": at, "file_name": name, "height": size[0], "width": size[1]} for at, name in enumerate(images)
        ],
        "categories": [{"id": 7, "name": "nucleus"}, {"id": 9, "name": "debris"}],
        "annotations": [
            {"id": at, "image_id": 0, "category_id": category, "segmentation": drawn, "iscrowd": 0} | dict(more)
            for at, (category, drawn, *more) in enumerate(annotations)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def painted(path, image="a.png", size=(8, 10)):
    return paint(read_coco(path, Path(image)), size, CLASSES)


@settings(max_examples=100)
@given(numbered_masks())
def test_mask_to_coco_to_mask_changes_nothing(tmp_path_factory, numbers):
    found = np.unique(numbers[numbers > 0])
    drawn = [
        (
            9 if classes_of(number) == 2 else 7,
            {"size": numbers.shape, "counts": counts if number % 2 else text_of(counts)},
        )
        for number in found
        for counts in [runs(numbers == number)]
    ]
    path = written(tmp_path_factory.getbasetemp() / "annotations.json", *drawn, size=numbers.shape)
    result = painted(path, size=numbers.shape)
    np.testing.assert_array_equal(result.labels, classes_of(numbers))
    assert partition(result.objects) == partition(numbers)


def test_long_runs_are_those_of_their_text():
    counts = np.random.default_rng(0).integers(0, 100_000, 50).tolist()
    assert runs_of(text_of(counts)) == counts


def test_the_parts_of_a_polygon_are_one_object_also_where_they_overlap(tmp_path):
    other = [4, 4, 9, 4, 9, 7, 4, 7]
    found = painted(written(tmp_path / "a.json", (7, [FLAT, other])))
    assert (found.objects.max(), found.labels.sum()) == (1, 16 + 15 - 4)


def test_an_only_line_may_stand_without_a_list_around(tmp_path):
    assert painted(written(tmp_path / "a.json", (7, FLAT))).labels.sum() == 16


def test_an_annotation_of_no_image_is_refused(tmp_path):
    path = written(tmp_path / "a.json", (7, [FLAT]), (7, [FLAT], ("image_id", "0")))
    with pytest.raises(DataError, match=r"a\.json: annotation 1 is of image '0', but no image of this id is listed"):
        painted(path)


def test_runs_say_the_size_of_an_image_that_has_none(tmp_path):
    path = written(tmp_path / "a.json", (7, {"size": [4, 5], "counts": [3, 17]}), size=(None, None))
    with pytest.raises(DataError, match="was drawn on an image of 4 x 5 pixels, but its image is 8 x 10"):
        painted(path)


def test_crowds_are_not_known(tmp_path):
    found = painted(written(tmp_path / "a.json", (7, [FLAT], ("iscrowd", 1))))
    assert (found.known.sum(), found.labels.max()) == (64, 0)


def test_an_image_without_annotations_is_background(tmp_path):
    assert painted(written(tmp_path / "a.json")).labels.max() == 0


def test_images_are_found_by_name_whatever_their_suffix(tmp_path):
    path = written(tmp_path / "a.json", images=("day1/cell.jpg", "day2/cell.jpg", "É.png"))
    assert lists(path, Path("x/E\u0301.tif"))
    assert not lists(path, Path("x/f.tif"))
    assert read_coco(path, Path("x/day2/cell.jpg")).shapes == ()
    with pytest.raises(DataError, match="several images of this name"):
        lists(path, Path("x/cell.tif"))


REFUSED = {
    "has a box but no outline": (7, []),
    "runs are not those": (7, {"size": [8, 10], "counts": [3, 4]}),
    "holds no pixel": (7, {"size": [8, 10], "counts": [80]}),
    "a line with an x and no y": (7, [[1, 2, 3]]),
    "is damaged, or no COCO": (7, 5),
    "has runs of 4 x 5 pixels, but its image is 8 x 10": (7, {"size": [4, 5], "counts": [3, 17]}),
    "is of category 8, but none of this id is listed": (8, [FLAT]),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_filled_is_refused_by_name(tmp_path, said):
    with pytest.raises(DataError, match=rf"a\.json.*: .*{said}"):
        painted(written(tmp_path / "a.json", REFUSED[said]))
