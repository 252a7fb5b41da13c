"""Regions of ImageJ are read as Fiji shows them, from a .roi or the .zip of the ROI Manager."""

import zipfile

import numpy as np
import pytest
from drawn_masks import CLASSES, NAMES, SQUARE, box, classes_of, numbered_masks, partition
from hypothesis import given, settings

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.drawn import read_drawing
from unet_deploy.annotations.imagej import holds_regions, read_regions
from unet_deploy.annotations.paint import paint
from unet_deploy.annotations.traced import traced
from unet_deploy.errors import DataError

roifile = pytest.importorskip("roifile")


def region(*rings, name=None, group=0):
    """A polygon, or a composite of several lines, as ImageJ keeps it: integer corners, or a path of floats."""
    if len(rings) == 1:
        found = roifile.ImagejRoi.frompoints(np.array(rings[0]), name=name)
    else:
        found = roifile.ImagejRoi()
        path = [part for ring in rings for part in (*path_of(ring), 4.0)]
        found.roitype, found.name = roifile.ROI_TYPE.RECT, name
        found.multi_coordinates = np.array(path, np.float32)
        found.shape_roi_size, found.n_coordinates = len(path), 0
    found.group = group
    return found


def path_of(ring):
    """Move to the first point, and lines to the others."""
    return [part for at, (x, y) in enumerate(ring) for part in (float(at > 0), float(x), float(y))]


def written(path, *regions):
    """A file of regions."""
    if path.suffix == ".roi":
        regions[0].tofile(path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for number, each in enumerate(regions):
                archive.writestr(f"{number:04}-{each.name}.roi", each.tobytes())
    return path


def painted(path, classes=UNNAMED, size=(8, 10)):
    return paint(read_regions(path), size, classes)


@settings(max_examples=150)
@given(numbered_masks())
def test_mask_to_roi_set_to_mask_changes_nothing(tmp_path_factory, numbers):
    regions = [
        region(*(ring for polygon in traced(numbers == number) for ring in polygon), name=f"{NAMES[number]}-{number}")
        for number in np.unique(numbers[numbers > 0])
    ]
    if not regions:
        return
    path = written(tmp_path_factory.getbasetemp() / "RoiSet.zip", *regions)
    found = painted(path, CLASSES, numbers.shape)
    np.testing.assert_array_equal(found.labels, classes_of(numbers))
    assert partition(found.objects) == partition(numbers)


def oval(left, top, right, bottom, kind=roifile.ROI_TYPE.OVAL):
    """An oval, or another region that a rectangle tells."""
    found = roifile.ImagejRoi()
    found.roitype, found.left, found.top, found.right, found.bottom = kind, left, top, right, bottom
    return found


def test_ovals_and_rectangles_are_filled(tmp_path):
    y, x = np.mgrid[:8, :10] + 0.5
    found = painted(written(tmp_path / "a.roi", oval(1, 1, 7, 7)))
    np.testing.assert_array_equal(found.labels > 0, (x - 4) ** 2 + (y - 4) ** 2 < 9)
    found = painted(written(tmp_path / "b.roi", oval(2, 1, 5, 7, roifile.ROI_TYPE.RECT)))
    assert found.labels.sum() == 18


def test_freehand_lines_of_fractions_are_filled(tmp_path):
    found = roifile.ImagejRoi.frompoints(np.array(box(1.6, 1.4, 5.4, 3.6), np.float32))
    assert painted(written(tmp_path / "a.roi", found)).labels.sum() == 3 * 3


@pytest.mark.parametrize(("name", "group", "label"), [("debris-12", 0, 2), ("Debris", 0, 2), ("0001-0002", 2, 2)])
def test_a_class_is_the_group_or_what_the_name_begins_with(tmp_path, name, group, label):
    path = written(tmp_path / "RoiSet.zip", region(SQUARE, name=name, group=group))
    assert painted(path, CLASSES).labels.max() == label


def test_names_as_imagej_gives_them_are_no_classes(tmp_path):
    path = written(tmp_path / "RoiSet.zip", region(SQUARE, name="0004-0004"))
    assert painted(path, ("background", "nucleus")).labels.max() == 1
    with pytest.raises(DataError, match="'0004-0004' at x 4, y 4 is of no class"):
        painted(path, CLASSES)


@pytest.mark.parametrize("kind", ["POINT", "FREELINE", "POLYLINE", "ANGLE"])
def test_what_has_no_area_is_refused_by_name(tmp_path, kind):
    found = region(SQUARE, name="here")
    found.roitype = roifile.ROI_TYPE[kind]
    with pytest.raises(DataError, match=rf"a\.roi: region 'here': is a {kind.lower()}, which has no area"):
        painted(written(tmp_path / "a.roi", found))


def test_a_region_on_a_later_slice_is_refused(tmp_path):
    found = region(SQUARE)
    found.z_position = 3
    with pytest.raises(DataError, match="lies on slice 3"):
        painted(written(tmp_path / "a.roi", found))


def test_a_region_with_curves_is_refused_by_name(tmp_path):
    found = region(SQUARE, SQUARE, name="here")
    path = [0.0, 1, 1, 3, 2, 1, 3, 2, 4, 4, 4]
    found.multi_coordinates, found.shape_roi_size = np.array(path, np.float32), len(path)
    with pytest.raises(DataError, match=r"a\.roi: region 'here': has curves in it; draw it as a polygon"):
        painted(written(tmp_path / "a.roi", found))


@pytest.mark.parametrize("content", [b"", b"Iout", b"PK\3\4 nothing", b"Iout" + bytes(range(60)) * 2])
@pytest.mark.parametrize("suffix", [".roi", ".zip"])
def test_damaged_files_are_said_in_a_line(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\{suffix}"):
        painted(path)


def test_a_damaged_region_is_named_in_its_zip(tmp_path):
    path = written(tmp_path / "a.zip", region(SQUARE, name="nucleus-1"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("set/0007-cut.roi", b"Iout")
    with pytest.raises(DataError, match=r"a\.zip: set/0007-cut\.roi: cannot be read as a region of ImageJ .*save it"):
        painted(path)


def test_a_zip_that_is_cut_off_is_damaged(tmp_path):
    path = written(tmp_path / "a.zip", region(SQUARE, name="nucleus-1"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.zip: is a damaged \.zip"):
        read_drawing(path, tmp_path / "a.tif")


def test_a_region_whose_name_is_cut_off_is_damaged(tmp_path):
    path = written(tmp_path / "a.roi", region(SQUARE, name="nucleus-1"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="name exceeds data size"):
        painted(path)


def test_points_beyond_any_image_are_refused(tmp_path):
    found = oval(1, 1, 7, 7)
    found.options, found.version = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION, 228
    found.xd, found.yd, found.widthd, found.heightd = 1, 1, 1e30, 6
    with pytest.raises(DataError, match="beyond any image"):
        painted(written(tmp_path / "a.roi", found))


def test_a_zip_of_something_else_holds_no_regions(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "nothing")
    assert not holds_regions(tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"a\.zip: holds no regions .* unpack GeoJSON of QuPath"):
        read_drawing(tmp_path / "a.zip", tmp_path / "a.tif")
