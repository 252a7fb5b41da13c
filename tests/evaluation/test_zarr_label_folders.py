"""OME-Zarr images are paired with the labels that lie in them."""

import json

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from sample_zarr import noise, write_image  # noqa: E402

from unet_deploy.errors import DataError, ImageError, UsageError  # noqa: E402
from unet_deploy.evaluation.pairs import check_no_data, find_data, find_pairs, read_pixels  # noqa: E402
from unet_deploy.evaluation.truths import check_size, read_truths  # noqa: E402

CLASSES = ("background", "cell")


def labelled(path, *names, version="0.5", axes="yx", shape=(40, 50), listed=True):
    """An image with labels of these names, each with one square cell."""
    write_image(path, noise(*shape), axes, version=version)
    for at, name in enumerate(names):
        cells = np.zeros(shape, np.uint16)
        cells[..., 4 + at : 20, 5:20] = 1
        write_image(path / "labels" / name, cells, axes, version=version)
    if listed and names:
        attributes = {"labels": list(names)}
        attributes = attributes if version == "0.4" else {"ome": {"version": "0.5", **attributes}}
        group = zarr.open_group(str(path / "labels"), mode="a", zarr_format=2 if version == "0.4" else 3)
        group.attrs.update(attributes)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [True, False])
def test_an_image_is_paired_with_its_labels(tmp_path, version, listed):
    path = labelled(tmp_path / "slide.ome.zarr", "cells", version=version, listed=listed)
    found = find_data(path)
    assert found.layout == "OME-Zarr images that hold labels/"
    assert [(pair.name, pair.image, pair.mask) for pair in found.pairs] == [("slide", path, path / "labels" / "cells")]
    (truth,) = read_truths(found.pairs, CLASSES)
    pixels = read_pixels(found.pairs[0])
    check_size(found.pairs[0], pixels, truth)
    np.testing.assert_array_equal(pixels[0], noise(40, 50))
    assert truth.labels.sum() == 16 * 15


def test_of_a_folder_each_image_is(tmp_path):
    for name in "ba":
        labelled(tmp_path / f"{name}.zarr", "cells")
    (tmp_path / "notes.txt").write_text("")
    assert [pair.name for pair in find_pairs(tmp_path)] == ["a", "b"]


def test_pages_pair_up(tmp_path):
    path = labelled(tmp_path / "stack.zarr", "cells", axes="zyx", shape=(3, 40, 50))
    pairs = find_pairs(path)
    assert [(pair.name, pair.page) for pair in pairs] == [("stack[0]", 0), ("stack[1]", 1), ("stack[2]", 2)]
    np.testing.assert_array_equal(read_pixels(pairs[2])[0], noise(3, 40, 50)[2])


def test_of_several_labels_one_is_to_be_named(tmp_path):
    path = labelled(tmp_path / "slide.zarr", "cells", "nuclei")
    with pytest.raises(
        DataError, match=r"slide\.zarr: has labels cells, nuclei; choose one with --masks cells, or take others"
    ):
        find_pairs(path)
    for masks in ("nuclei", path / "labels" / "nuclei"):
        (pair,) = find_pairs(path, type(path)(masks))
        assert pair.mask == path / "labels" / "nuclei"
    assert find_pairs(tmp_path, type(path)("cells"))[0].mask == path / "labels" / "cells"
    with pytest.raises(DataError, match=r"slide\.zarr: has no labels 'nerves'; it has cells, nuclei"):
        find_pairs(path, type(path)("nerves"))


def test_labels_of_another_number_of_pages_are_refused(tmp_path):
    path = labelled(tmp_path / "stack.zarr", axes="zyx", shape=(3, 40, 50))
    labelled(tmp_path / "other.zarr", "cells")
    (tmp_path / "other.zarr" / "labels").rename(path / "labels")
    with pytest.raises(DataError, match=r"stack\.zarr has 3 pages, but .*labels/cells has 1; they must pair up"):
        find_pairs(path)


def test_an_image_without_labels_is_refused(tmp_path):
    labelled(tmp_path / "a.zarr", "cells")
    labelled(tmp_path / "b.zarr")
    with pytest.raises(DataError, match=r"b\.zarr: has no mask in labels/; draw one there, or give a label stack"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["cells", "gone"], r"labels: labels 'gone' of its list are missing; copy it again"),
        (["../labels/cells"], r"labels '\.\./labels/cells' of its list are missing"),
        ("cells", r"labels: its list of labels is no list of names"),
        ([3], r"labels: its list of labels is no list of names"),
    ],
)
def test_a_list_of_labels_that_is_none_is_one_line(tmp_path, labels, said):
    path = labelled(tmp_path / "slide.zarr", "cells")
    file = path / "labels" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attributes": {"ome": {"labels": labels}}}))
    with pytest.raises(ImageError, match=said):
        find_pairs(path)


def test_broken_metadata_of_labels_are_one_line(tmp_path):
    path = labelled(tmp_path / "slide.zarr", "cells")
    (path / "labels" / "zarr.json").write_text("{")
    with pytest.raises(ImageError, match=r"labels: its Zarr metadata are not readable"):
        find_pairs(path)


def test_a_collection_of_images_says_which_to_give(tmp_path):
    zarr.create_group(str(tmp_path / "plate.zarr"), attributes={"ome": {"bioformats2raw.layout": 3}})
    labelled(tmp_path / "plate.zarr" / "0", "cells")
    with pytest.raises(ImageError, match=r"plate\.zarr: is a collection of images; give .*plate\.zarr/0"):
        find_pairs(tmp_path / "plate.zarr")


def test_nothing_is_written_into_an_image(tmp_path):
    path = labelled(tmp_path / "a.zarr", "cells")
    for output in ("labels/cells", "labels/cells/w.pt", "w.pt", "0/w.pt"):
        with pytest.raises(UsageError):
            check_no_data([path / output], tmp_path, None)
    check_no_data([tmp_path / "w.pt"], tmp_path, None)
