"""What lies over an image: which file is what, masks of probabilities, and what two masks differ in."""

import doctest

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_deploy.errors import UsageError
from unet_deploy.images.likeness import likeness
from unet_deploy.images.reading import Reading
from unet_deploy.masks import MaskForm, open_mask
from unet_deploy.masks.origin import Origin
from unet_deploy.viewing import difference as differences
from unet_deploy.viewing import look
from unet_deploy.viewing.difference import Counting, difference
from unet_deploy.viewing.look import label_look_of
from unet_deploy.viewing.named import sort_out
from unet_deploy.viewing.scene import Place, open_scene

SIDE = 256
GREY = np.random.default_rng(0).integers(0, 4000, (SIDE, SIDE), dtype=np.uint16)
LABELS = (GREY // 1000).astype(np.uint8)


def test_examples_are_true():
    assert doctest.testmod(differences).failed + doctest.testmod(look).failed == 0


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", GREY)
    return tmp_path / "image.tif"


def over(image, name, planes, classes=("background", "a", "b", "c")):
    """A file over the image that says what it is of."""
    path = image.with_name(name)
    with Reading().open(image) as source:
        origin = Origin(image, Reading(), 0, likeness(source))
        form = MaskForm(source.info, len(planes), planes.dtype, classes=classes, origin=origin)
        with open_mask(path, form) as sink:
            sink.write(0, source.info.region, planes)
            sink.commit()
    return path


def tile(scene, number, look):
    """The only tile of the finest zoom of a file."""
    return imagecodecs.png_decode(scene.tile(number, Place(0, 8, 0, 0), look).data)


def test_a_mask_alone_brings_its_image_and_the_names_of_its_classes(image):
    mask = over(image, "mask.tif", LABELS[None])
    with open_scene(sort_out([mask])) as scene:
        assert [file.name for file in scene.files] == [str(image), str(mask)]
        assert scene.files[1].classes == ("background", "a", "b", "c")


def test_an_image_that_was_replaced_is_not_shown_below_its_mask_unless_it_is_named(image):
    mask = over(image, "mask.tif", LABELS[None])
    tifffile.imwrite(image, GREY[::-1])
    with pytest.raises(UsageError, match="not the image any more"):
        sort_out([mask])
    assert sort_out([mask], image).image == image


def test_a_mask_of_another_image_is_not_shown_over_one_unless_that_is_asked_for(image, tmp_path):
    mask, other, copy = over(image, "mask.tif", LABELS[None]), tmp_path / "other.tif", tmp_path / "copy.tif"
    tifffile.imwrite(other, GREY[::-1])
    tifffile.imwrite(copy, GREY)
    with pytest.raises(UsageError, match=r"was made of another image than .*other\.tif, of .*image\.tif"):
        sort_out([other, mask])
    assert sort_out([mask], other).image == other
    assert sort_out([copy, mask]).image == copy


def test_tables_are_told_by_their_names(image, tmp_path):
    named = sort_out([image, tmp_path / "cells.csv"])
    assert (named.image, named.over, named.table) == (image, (), tmp_path / "cells.csv")
    with pytest.raises(UsageError, match=r"b\.parquet: is the second table"):
        sort_out([image, tmp_path / "a.csv", tmp_path / "b.parquet"])
    with pytest.raises(UsageError, match="name an image or a mask to look at with"):
        sort_out([tmp_path / "a.csv"])


@pytest.mark.parametrize("name", ["p.tif", "p.ome.tif", "p.zarr"])
def test_probabilities_are_shown_as_the_mask_that_a_threshold_makes(image, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    foreground = (GREY / 4000).astype(np.float32)
    path = over(image, name, np.stack([1 - foreground, foreground]), ("background", "a"))
    with open_scene(sort_out([path])) as scene:
        for threshold in (0.5, 0.3):
            found = tile(scene, 1, f"fill@{threshold}")[..., 3] > 0
            sure = np.abs(foreground - threshold) > 1e-6
            np.testing.assert_array_equal(found[sure], (foreground > threshold)[sure])


def test_a_class_has_the_colour_that_was_chosen_or_is_not_drawn(image):
    with open_scene(sort_out([over(image, "mask.tif", LABELS[None])])) as scene:
        found = tile(scene, 1, "fill;0a0b0c;-")
    assert (found[LABELS == 1] == (10, 11, 12, 255)).all()
    assert not found[LABELS == 2].any()
    assert found[LABELS == 3].any()


@pytest.mark.parametrize(
    "text", ["", "fill@", "fill@1.0", "fill@0.0", "fill;", "fill;red", "fill" + ";-" * 17, "fill@nan"]
)
def test_what_is_no_way_to_draw_labels_is_refused(text):
    with pytest.raises(UsageError, match="labels are drawn as"):
        label_look_of(text)


@given(arrays(np.uint8, (6, 6), elements=st.integers(0, 3)), arrays(np.uint8, (6, 6), elements=st.integers(0, 3)))
def test_every_pixel_that_differs_is_in_one_kind_and_swapping_the_masks_swaps_the_kinds(first, second):
    kinds = difference(first, second, by_class=True)
    np.testing.assert_array_equal(kinds > 1, first != second)
    np.testing.assert_array_equal(np.array([0, 1, 3, 2, 4])[kinds], difference(second, first, by_class=True))


def test_counts_are_those_of_the_whole_page(image, monkeypatch):
    monkeypatch.setattr(differences, "_BLOCK", 100)
    other = np.roll(LABELS, 3, axis=0)
    paths = [over(image, "a.tif", LABELS[None]), over(image, "b.tif", other[None])]
    opened = [lambda path=path: Reading().open_labels(path) for path in paths]
    counting = Counting(*opened, 0, by_class=True)
    counting.wait()
    found = counting.counts
    expected = np.bincount(difference(LABELS, other, by_class=True).ravel(), minlength=5)[1:].tolist()
    assert [found.share, found.same, found.only_first, found.only_second, found.other] == [1.0, *expected]
    with open_scene(sort_out(paths)) as scene:
        assert scene.difference is not None
        shown = tile(scene, 3, "fill")[..., 3] > 0
    np.testing.assert_array_equal(shown, (LABELS > 0) | (other > 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
def test_an_object_is_found_by_its_number_only_where_the_table_has_it_there(image, dtype):
    labels = np.zeros((1, SIDE, SIDE), dtype)
    labels[0, 10:30, 10:30], labels[0, 100:120, 50:90] = 2, 1
    head = "id,centroid_y,centroid_x,bbox_y,bbox_x,bbox_height,bbox_width"
    table = image.with_name("cells.csv")
    table.write_text(f"{head}\n1,19.5,19.5,10,10,20,20\n2,109.5,69.5,100,50,20,40\n")
    with open_scene(sort_out([image, over(image, "mask.tif", labels), table])) as scene:
        assert scene.row_at(0, 15, 15) == 0
        assert scene.row_at(0, 110, 60) == 1
        assert scene.row_at(0, 200, 200) is None
