"""LabelMe's shapes are read from the file beside an image."""

import base64
import io
import json

import numpy as np
import PIL.Image
import pytest
from drawn_masks import CLASSES, SQUARE

from unet_deploy.annotations.labelme import read_labelme
from unet_deploy.annotations.paint import paint
from unet_deploy.errors import DataError


def written(path, *shapes, size=(8, 10)):
    """A file of shapes, each a label, a kind, its points and what else is said."""
    said = [
        {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}} | more
        for label, kind, points, more in shapes
    ]
    path.write_text(json.dumps({"version": "5.5.0", "shapes": said, "imageHeight": size[0], "imageWidth": size[1]}))
    return path


def painted(path):
    return paint(read_labelme(path), (8, 10), CLASSES)


def encoded(mask):
    file = io.BytesIO()
    PIL.Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("kind", "points", "area"),
    [
        ("polygon", SQUARE, 16),
        ("rectangle", [[6, 6], [2, 3]], 12),
        ("rotation", SQUARE, 16),
        ("circle", [[4, 4], [4, 6]], 12),
    ],
)
def test_shapes_are_filled(tmp_path, kind, points, area):
    assert (painted(written(tmp_path / "a.json", ("nucleus", kind, points, {}))).labels == 1).sum() == area


def test_a_shape_without_a_label_is_of_no_class(tmp_path):
    for label in (None, ""):
        (shape,) = read_labelme(written(tmp_path / "a.json", (label, "polygon", SQUARE, {}))).shapes
        assert shape.of is None


def test_masks_are_taken_pixel_by_pixel(tmp_path):
    mask = np.random.default_rng(0).random((5, 6)) < 0.6
    shape = ("debris", "mask", [[2, 1], [7, 5]], {"mask": encoded(mask)})
    labels = painted(written(tmp_path / "a.json", shape)).labels
    np.testing.assert_array_equal(labels[1:6, 2:8] == 2, mask)
    assert (labels > 0).sum() == mask.sum()


def test_shapes_of_one_group_are_one_object(tmp_path):
    parts = [("nucleus", "rectangle", [[x, 1], [x + 2, 4]], {"group_id": 4}) for x in (1, 6)]
    other = ("debris", "rectangle", [[4, 5], [6, 7]], {"group_id": 4})
    assert painted(written(tmp_path / "a.json", *parts, other)).objects.max() == 2


REFUSED = {
    "is a linestrip, which has no area": ("nucleus", "linestrip", [[1, 1], [3, 3]], {}),
    "in place of 2": ("nucleus", "circle", [[1, 1]], {}),
    "its mask is no PNG": ("nucleus", "mask", [[1, 1], [3, 3]], {"mask": "AAAA"}),
    "not of the size": ("nucleus", "mask", [[1, 1], [3, 3]], {"mask": encoded(np.ones((2, 2), bool))}),
    "is damaged, or no LabelMe": ("nucleus", "mask", [[1, 1], [3, 3]], {}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_filled_is_refused_by_name(tmp_path, said):
    with pytest.raises(DataError, match=rf"a\.json: .*{said}"):
        painted(written(tmp_path / "a.json", REFUSED[said]))


def test_an_image_of_another_size_is_refused(tmp_path):
    with pytest.raises(DataError, match="was drawn on an image of 9 x 10 pixels, but its image is 8 x 10"):
        painted(written(tmp_path / "a.json", ("nucleus", "polygon", SQUARE, {}), size=(9, 10)))
