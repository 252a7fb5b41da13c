"""Drawings are found beside their images, and what they say is the truth of these."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError, UsageError
from unet_deploy.evaluation.pairs import check_no_data, find_data, find_pairs
from unet_deploy.evaluation.truths import read_truth_set

USUAL = ("background", "foreground")


def image(path, size=(40, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full(size, 90, np.uint8))
    return path


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def drawn(path, *shapes):
    """A file of QuPath, of classes and boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [box(*corners)]},
            "properties": {"objectType": "annotation", "classification": {"name": of}},
        }
        for of, *corners in shapes or [("cell", 2, 2, 12, 12)]
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def labelme(path):
    shapes = [{"label": "cell", "shape_type": "rectangle", "points": [[2, 2], [12, 12]]}]
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 40, "imageWidth": 60}))


def coco(path, *names):
    """A file of one cell on each image."""
    images = [{"id": at, "file_name": name, "height": 40, "width": 60} for at, name in enumerate(names)]
    cells = [
        {"id": at, "image_id": at, "category_id": 1, "segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]], "iscrowd": 0}
        for at in range(len(names))
    ]
    content = {"images": images, "annotations": cells, "categories": [{"id": 1, "name": "cell"}]}
    path.write_text(json.dumps(content))


def regions(path):
    """A zip that looks as the ROI Manager's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0001-0002.roi", b"Iout")


def found(data):
    return {pair.image.name: pair.mask.name for pair in find_pairs(data)}


@pytest.mark.parametrize(
    "name",
    ["a.geojson", "A.geojson", "a_RoiSet.zip", "a.zip", "a-rois.zip", "a.roi", "a.tif.geojson", "a annotations.json"],
)
def test_a_drawing_beside_its_image_is_found(tmp_path, name):
    image(tmp_path / "a.tif")
    regions(tmp_path / name) if name.endswith(".zip") else drawn(tmp_path / name)
    assert found(tmp_path) == found(tmp_path / "a.tif") == {"a.tif": name}


def test_drawings_may_lie_in_a_folder_of_their_own(tmp_path):
    image(tmp_path / "images" / "day1" / "a.tif")
    image(tmp_path / "images" / "b.tif")
    drawn(tmp_path / "annotations" / "day1" / "a.geojson")
    drawn(tmp_path / "images" / "b.geojson")
    assert [(pair.name, pair.mask.name) for pair in find_pairs(tmp_path)] == [
        ("b", "b.geojson"),
        ("day1/a", "a.geojson"),
    ]
    with pytest.raises(UsageError, match="lies in the input"):
        check_no_data([tmp_path / "annotations" / "weights.pt"], tmp_path, None)


@pytest.mark.parametrize("place", ["annotations.json", "images/instances.json", "annotations/instances_default.json"])
def test_one_file_may_be_of_all_images(tmp_path, place):
    for name in ("a.tif", "b.tif"):
        image(tmp_path / "images" / name)
    (tmp_path / "annotations").mkdir()
    coco(tmp_path / place, "a.png", "b.tif")
    pairs = find_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert [truth.objects.max() for truth in read_truth_set(pairs, ("background", "cell")).truths] == [1, 1]


def test_images_of_one_name_in_two_folders_need_an_entry_each(tmp_path):
    for folder in ("day1", "day2"):
        image(tmp_path / "images" / folder / "a.tif")
    coco(tmp_path / "all.json", "day1/a.tif")
    with pytest.raises(DataError, match="lists 1 images, but 2 of their names are here; list each with its folder"):
        find_pairs(tmp_path)
    coco(tmp_path / "all.json", "day1/a.tif", "day2/a.tif")
    assert [pair.name for pair in find_pairs(tmp_path)] == ["day1/a", "day2/a"]


def test_a_roi_set_without_a_name_is_of_the_only_image(tmp_path):
    image(tmp_path / "a.tif")
    regions(tmp_path / "RoiSet.zip")
    assert found(tmp_path) == found(tmp_path / "a.tif") == {"a.tif": "RoiSet.zip"}
    image(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"RoiSet\.zip: no image is named RoiSet"):
        find_pairs(tmp_path)


def test_what_our_own_runs_made_and_other_files_are_no_annotations(tmp_path):
    for name in ("a.tif", "a.mask.tif", "a.overlay.png"):
        image(tmp_path / name)
    drawn(tmp_path / "a.geojson")
    drawn(tmp_path / ".hidden.geojson")
    (tmp_path / "project.json").write_text('{"version": 3}')
    (tmp_path / "data.zip").write_bytes(b"")
    assert found(tmp_path) == {"a.tif": "a.geojson"}
    assert "QuPath" in find_data(tmp_path).layout


def two_for_one(root):
    labelme(root / "a.json")


def one_more_image(root):
    image(root / "b.tif")


def one_more_drawing(root):
    drawn(root / "old.geojson")


def listed_elsewhere(root):
    coco(root / "all.json", "a.tif", "z.tif")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (two_for_one, r"a\.json: is drawn on .*a\.tif, as .*a\.geojson is; keep one of them"),
        (one_more_image, r"b\.tif: has no annotation beside it, such as b\.geojson"),
        (one_more_drawing, r"old\.geojson: no image is named old\.\*; name it after its image"),
        (listed_elsewhere, r"all\.json: lists 2 images, but 1 of their names are here"),
    ],
)
def test_what_does_not_pair_up_is_refused_by_name(tmp_path, change, said):
    image(tmp_path / "a.tif")
    drawn(tmp_path / "a.geojson")
    change(tmp_path)
    with pytest.raises(DataError, match=said):
        find_pairs(tmp_path)


BROKEN = {
    "UTF-16": ("\ufeff{}".encode("utf-16-le"), r"is not in UTF-8 \(.*\); save it as UTF-8"),
    "UTF-16 without a mark": ("{}".encode("utf-16-le"), r"is not in UTF-8 \(.*\); save it as UTF-8"),
    "cut in half": (b'{"images": [{"id"', r"is no JSON \(.*\); export the annotations again"),
    "no annotations": (b'{"images": []}', "has no list of annotations, which COCO has"),
    "null": (b'{"images": [], "annotations": null}', "has no list of annotations, which COCO has"),
    "no images": (b'{"annotations": []}', "has no list of images, which COCO has"),
    "something else": (b'{"version": 3}', "holds no annotations of QuPath, LabelMe or COCO"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_of_all_images_that_cannot_be_used_is_named(tmp_path, case):
    content, said = BROKEN[case]
    image(tmp_path / "a.tif")
    (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"annotations\.json: {said}"):
        find_pairs(tmp_path)


def test_a_damaged_roi_set_is_named_and_called_so(tmp_path):
    image(tmp_path / "a.tif")
    (tmp_path / "RoiSet.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(DataError, match=r"RoiSet\.zip: is a damaged \.zip"):
        find_pairs(tmp_path)


def test_an_image_alone_says_what_it_needs(tmp_path):
    with pytest.raises(
        DataError, match=r"a\.tif: has no annotation beside it, .* or give its label stack with --masks"
    ):
        find_pairs(image(tmp_path / "a.tif"))


@pytest.fixture
def annotated(tmp_path):
    """An image of two cells that touch and a third kind, half of it annotated."""
    image(tmp_path / "a.tif")
    shapes = [("Nucleus", 2, 2, 12, 12), ("Nucleus", 12, 2, 20, 12), ("Debris", 20, 20, 36, 30)]
    drawn(tmp_path / "a.geojson", *shapes, ("Annotated", 0, 0, 30, 40))
    return tmp_path


def test_classes_are_those_of_their_names(annotated):
    truths = read_truth_set(find_pairs(annotated), ("background", "debris", "nucleus"))
    (truth,) = truths.truths
    assert (truth.labels[5, 5], truth.labels[25, 25], truth.objects.max()) == (2, 1, 3)
    assert truth.known.sum() == 30 * 40
    assert not truth.labels[:, 30:].any()
    assert truths.code.kind == "classes"


def test_without_names_all_is_foreground_and_that_is_said(annotated):
    truths = read_truth_set(find_pairs(annotated), USUAL)
    assert truths.truths[0].labels.max() == 1
    assert truths.notes == (
        "note: drawn are Debris, Nucleus: all of it is foreground, but with --classes to tell them apart",
    )


def test_names_that_hold_a_comma_are_told_apart(tmp_path):
    image(tmp_path / "a.tif")
    drawn(tmp_path / "a.geojson", ("Nucleus", 2, 2, 12, 12), ("Nucleus, large", 20, 2, 30, 12))
    (note,) = read_truth_set(find_pairs(tmp_path), USUAL).notes
    assert note.startswith('note: drawn are Nucleus, "Nucleus, large": all of it')
    with pytest.raises(DataError, match='but the classes are background, "a, b", nucleus; '):
        read_truth_set(find_pairs(tmp_path), ("background", "a, b", "nucleus"))


def test_an_image_named_from_its_own_folder_is_the_one_it_is_elsewhere(tmp_path, monkeypatch):
    image(tmp_path / "images" / "a.tif")
    drawn(tmp_path / "annotations" / "a.geojson")
    monkeypatch.chdir(tmp_path / "images")
    (pair,) = find_pairs(Path("a.tif"))
    assert pair.image == Path("a.tif")
    assert pair.mask == tmp_path / "annotations" / "a.geojson"


def test_of_one_image_a_file_that_may_be_its_drawing_and_is_broken_is_named(tmp_path):
    image(tmp_path / "a.tif")
    (tmp_path / "all.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"all\.json: is no JSON"):
        find_pairs(tmp_path / "a.tif")


def test_a_class_that_is_not_named_is_refused_with_what_there_is(annotated):
    with pytest.raises(
        DataError, match=r"a\.geojson: shape 3 at x 28, y 25 is of class 'Debris', but .*2 of class 'Nuc"
    ):
        read_truth_set(find_pairs(annotated), ("background", "nucleus"))


@pytest.mark.parametrize(("kind", "objects"), [("instances", 3), ("binary", 2)])
def test_the_kind_of_masks_may_say_that_names_do_not_count(annotated, kind, objects):
    truths = read_truth_set(find_pairs(annotated), ("background", "nucleus"), kind)
    assert (truths.truths[0].objects.max(), truths.truths[0].labels.max()) == (objects, 1)


def test_the_class_of_what_is_annotated_is_the_users(annotated):
    pairs = find_pairs(annotated, None, Marking(None, "debris"))
    (truth,) = read_truth_set(pairs, USUAL).truths
    assert truth.known.sum() == 16 * 10


@pytest.mark.parametrize(("named", "said"), [("Here", False), ("Heer", True), ("Annotated", False)])
def test_a_class_of_what_is_annotated_that_no_shape_has_is_said(tmp_path, named, said):
    image(tmp_path / "a.tif")
    drawn(tmp_path / "a.geojson", ("Here", 0, 0, 30, 40), ("cell", 2, 2, 12, 12))
    notes = read_truth_set(find_pairs(tmp_path, marking=Marking(annotated_class=named)), USUAL).notes
    assert any("no shape is of --annotated-class 'Heer'" in note for note in notes) == said


def test_a_class_of_what_is_annotated_has_a_name():
    with pytest.raises(UsageError, match="--annotated-class: is empty"):
        Marking(annotated_class=" ")


def test_what_is_drawn_as_background_is_not_said_to_be_foreground(tmp_path):
    image(tmp_path / "a.tif")
    drawn(tmp_path / "a.geojson", ("cell", 2, 2, 12, 12), ("Background", 4, 4, 8, 8))
    assert read_truth_set(find_pairs(tmp_path), USUAL).notes == ()


@pytest.mark.parametrize(("plane", "channels"), [(0, 1), (1, 1), (3, 1), (3, 3)])
def test_a_region_of_a_later_slice_of_a_stack_is_refused(tmp_path, plane, channels):
    """ImageJ counts planes of a stack without more axes at another place than slices of a hyperstack."""
    roifile = pytest.importorskip("roifile")
    pixels = np.full((channels, 40, 60), 90, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", imagej=True, metadata={"axes": "CYX"})
    region = roifile.ImagejRoi.frompoints(np.array(box(2, 2, 12, 12)), name="here")
    region.position = plane
    (tmp_path / "a.roi").write_bytes(region.tobytes())
    pairs = find_pairs(tmp_path)
    if plane <= channels:
        assert read_truth_set(pairs, USUAL).truths[0].labels.sum() == 100
        return
    with pytest.raises(DataError, match=r"a\.roi: region 'here' at x 7, y 7 lies on slice 3 of a stack"):
        read_truth_set(pairs, USUAL)


def test_images_that_are_stored_turned_are_drawn_on_as_they_are_shown(annotated):
    tifffile.imwrite(
        annotated / "a.tif", np.zeros((60, 40), np.uint8), extratags=[(274, "H", 1, 6, True)], photometric="minisblack"
    )
    (truth,) = read_truth_set(find_pairs(annotated), USUAL).truths
    assert truth.labels.shape == (40, 60)


def test_real_nuclei_drawn_as_shapes_are_the_masks_that_they_were(data, tmp_path):
    from unet_deploy.annotations.traced import traced

    pairs = find_pairs(data / "dsb2018")[:3]
    truths = read_truth_set(pairs, USUAL).truths
    for pair, truth in zip(pairs, truths, strict=True):
        shutil.copy(pair.image, tmp_path)
        features = [
            {
                "type": "Feature",
                "geometry": {
                    "type": "MultiPolygon",
                    "coordinates": [
                        [[*ring.tolist(), ring[0].tolist()] for ring in polygon]
                        for polygon in traced(truth.objects == number)
                    ],
                },
                "properties": {},
            }
            for number in range(1, truth.objects.max() + 1)
        ]
        (tmp_path / f"{pair.image.stem}.geojson").write_text(json.dumps(features))
    again = read_truth_set(find_pairs(tmp_path), USUAL).truths
    for truth, other in zip(truths, again, strict=True):
        np.testing.assert_array_equal(other.objects > 0, truth.objects > 0)
        assert other.objects.max() == truth.objects.max()
