"""OME-Zarr images are paired with the labels that lie in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

zarr = pytest.importorskip("zarr")

from sample_zarr import noise, write_image  # noqa: E402

from unet_deploy.errors import DataError, ImageError, UsageError  # noqa: E402
from unet_deploy.evaluation.pairs import check_no_data, find_data, find_pairs, read_pixels  # noqa: E402
from unet_deploy.evaluation.regions import by_region  # noqa: E402
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
    with pytest.raises(DataError, match=r"b\.zarr: has no mask in labels/; draw one there, or in b\.geojson beside it"):
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


# -- drawn on --------------------------------------------------------------------------------------------------------


def drawn_on(path):
    """A cell that is drawn beside an image."""
    ring = [[2, 2], [12, 2], [12, 12], [2, 12], [2, 2]]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    drawing = path.with_suffix(".geojson")
    drawing.write_text(json.dumps([shape]))
    return drawing


@pytest.mark.parametrize("name", ["slide.zarr", "slide.ome.zarr"])
@pytest.mark.parametrize("given", ["image", "folder"])
def test_a_drawing_beside_an_image_is_found(tmp_path, name, given):
    path = write_image(tmp_path / name, noise(40, 50), "yx")
    drawing = drawn_on(path)
    (tmp_path / "slide.mask.zarr").mkdir()
    (tmp_path / "slide.mask.zarr" / "zarr.json").write_text("{}")
    found = find_data(path if given == "image" else tmp_path)
    assert found.layout.startswith("drawings beside images")
    assert [(pair.image, pair.mask) for pair in found.pairs] == [(path, drawing)]
    assert read_truths(found.pairs, CLASSES)[0].labels.sum() == 100


def test_images_of_both_kinds_are_drawn_on(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50))
    for path in (tmp_path / "a.tif", write_image(tmp_path / "b.zarr", noise(40, 50), "yx")):
        drawn_on(path)
    assert [pair.name for pair in find_pairs(tmp_path)] == ["a", "b"]


def test_drawings_in_a_folder_of_their_own_are_found(tmp_path):
    path = write_image(tmp_path / "images" / "day1" / "b.zarr", noise(40, 50), "yx")
    (tmp_path / "annotations" / "day1").mkdir(parents=True)
    drawn_on(tmp_path / "annotations" / "day1" / "b.zarr")
    assert [(pair.name, pair.image) for pair in find_pairs(tmp_path)] == [("day1/b", path)]


def test_of_labels_and_a_drawing_one_is_to_be_chosen(tmp_path):
    path = labelled(tmp_path / "a.zarr", "cells")
    drawn_on(path)
    for data in (path, tmp_path):
        with pytest.raises(DataError, match=r"a\.zarr: holds labels cells, and .*a\.geojson is drawn on it; choose"):
            find_pairs(data)
    assert find_pairs(path, Path("cells"))[0].mask == path / "labels" / "cells"


def test_a_region_that_is_annotated_is_read_alone(tmp_path):
    path = write_image(tmp_path / "a.zarr", noise(40, 50), "yx")
    ring = [[4, 2], [24, 2], [24, 22], [4, 22], [4, 2]]
    marked = {"type": "Polygon", "coordinates": [ring]}, {"classification": {"name": "Annotated"}}
    shape = {"type": "Feature", "geometry": marked[0], "properties": marked[1]}
    path.with_suffix(".geojson").write_text(json.dumps([shape]))
    (pair,) = by_region(find_pairs(path))
    np.testing.assert_array_equal(read_pixels(pair)[0][pair.inside.slices], noise(40, 50)[2:22, 4:24])
