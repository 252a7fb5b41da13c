"""A folder in which Cellpose saved masks beside images is taken as it is, and what is wrong with it is one line."""

import numpy as np
import pytest
import tifffile
from cells import cells

from unet_deploy.errors import DataError, ImageError, UsageError
from unet_deploy.evaluation.pairs import check_no_data, find_data, find_pairs, read_pixels
from unet_deploy.evaluation.truths import read_truths

CLASSES = ("background", "cell")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".png":
        import PIL.Image

        PIL.Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)


def folder_of(root, *names):
    """Pictures of three cells by the names of files, masks where they are named so."""
    picture, objects = cells(np.random.default_rng(5), 60, 3)
    for name in names:
        is_mask = any(name.rsplit(".", 1)[0].endswith(end) for end in ("_masks", "_mask", "_labels", "_seg"))
        save(root / name, objects if is_mask else picture)
    return root


def found(root):
    return {pair.image.name: pair.mask.name for pair in find_pairs(root)}


@pytest.mark.parametrize(
    "mask",
    ["a_cp_masks.png", "a_cp_masks.tif", "a_masks.tif", "a_masks.png", "a_mask.png", "a_labels.tif", "A_masks.png"],
)
def test_a_mask_beside_its_image_is_found(tmp_path, mask):
    assert found(folder_of(tmp_path, "a.tif", mask, "b.png", "b_masks.tif")) == {"a.tif": mask, "b.png": "b_masks.tif"}


def test_masks_beside_images_number_objects(tmp_path):
    pairs = find_pairs(folder_of(tmp_path, "a.tif", "a_cp_masks.tif"))
    objects = tifffile.imread(tmp_path / "a_cp_masks.tif")
    np.testing.assert_array_equal(read_truths(pairs, CLASSES)[0].objects > 0, objects > 0)
    np.testing.assert_array_equal(read_pixels(pairs[0])[0], tifffile.imread(tmp_path / "a.tif"))


MADE = (
    *("a_flows.tif", "a_flows_0.tif", "a_cellprob.tif", "a_cp_output.png", "a_outlines_cp_masks.png"),
    *("a_flows_cp_masks.tif", "a_dP_cp_masks.tif", "a_cp_output_cp_masks.png", "a_seg.npy", "a_rois.zip"),
    *("a_cp_outlines.txt", "a.mask.tif", "a.overlay.png", ".a.png"),
)


def test_what_else_cellpose_and_runs_of_ours_make_is_no_image(tmp_path):
    folder_of(tmp_path, "a.tif", "a_cp_masks.png")
    for name in MADE:
        (tmp_path / name).write_bytes(b"")
    assert found(tmp_path) == {"a.tif": "a_cp_masks.png"}


def test_an_image_that_is_named_as_they_are_is_one(tmp_path):
    names = ("blood_flows.tif", "blood_flows_masks.tif", "face_mask.tif", "face_mask_masks.tif")
    assert found(folder_of(tmp_path, *names)) == dict([names[:2], names[2:]])


def test_images_and_masks_in_two_folders_come_first(tmp_path):
    folder_of(tmp_path, "images/a.tif", "masks/a_masks.tif", "stray_masks.tif")
    assert find_data(tmp_path).layout == "images/ and masks/"


def test_the_file_of_cellposes_window_is_read_where_it_holds_numbers(tmp_path):
    folder_of(tmp_path, "a.tif", "a_seg.npy")
    (truth,) = read_truths(find_pairs(tmp_path), CLASSES)
    np.testing.assert_array_equal(truth.labels > 0, np.load(tmp_path / "a_seg.npy") > 0)


def test_a_pickle_is_not_read(tmp_path):
    folder_of(tmp_path, "a.tif")
    np.save(tmp_path / "a_seg.npy", {"masks": np.ones((60, 60), np.uint16)}, allow_pickle=True)
    with pytest.raises(ImageError, match=r"a_seg\.npy: is a pickle inside.*File, Save masks as PNG/tif\)$"):
        read_truths(find_pairs(tmp_path), CLASSES)


@pytest.mark.parametrize("bytes_", [b"", b"\x93NUMPY", b"PK\x03\x04 zip", b"\x93NUMPY\x01\x00\x04\x00{(\x00 "])
def test_a_damaged_file_of_numbers_is_one_line(tmp_path, bytes_):
    folder_of(tmp_path, "a.tif")
    (tmp_path / "a_seg.npy").write_bytes(bytes_)
    with pytest.raises(
        ImageError, match=r"a_seg\.npy: is no readable NumPy file [^\n]*; save its masks as PNG or TIFF$"
    ):
        read_truths(find_pairs(tmp_path), CLASSES)


BAD = {
    "a.tif a_masks.tif b.tif": r"b\.tif: has no mask beside it, such as b_cp_masks\.png or b_masks\.tif; add it or",
    "a.tif a_masks.tif b_masks.tif": r"b_masks\.tif: its image is not beside it; add it or take the mask away",
    "a_masks.tif": r": no image beside its masks; put each image where its mask is",
    "a.tif a_masks.tif a_cp_masks.png": r"a_masks\.tif: is a mask of .*a\.tif, as .*a_cp_masks\.png is; keep one",
    "a.tif a_masks.tif a_masks.png": r"a_masks\.tif: a_masks\.png has the same stem; keep one of them",
    "a.tif a.png a_masks.png": r"a\.tif: a\.png has the same stem; keep one of them",
    "a.tif A.png a_masks.png": r"\.(png|tif): .*(a\.tif|A\.png) has the same name but for its case; rename one",
    "a.tif a_masks.jpg": r"a_masks\.jpg: JPEG changes label numbers; save masks as PNG or TIFF",
}


@pytest.mark.parametrize("names", BAD)
def test_what_has_no_pair_or_two_is_one_line(tmp_path, names):
    for name in names.split():
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=BAD[names]):
        find_pairs(tmp_path)


def test_a_folder_of_no_kind_is_told_what_is_understood(tmp_path):
    folder_of(tmp_path, "a.tif", "b.tif")
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"images/ and masks/, with .*, with masks beside images \(.*\), or an image"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("output", ["w.pt", "a.tif", "a_masks.tif", "more/w.pt"])
def test_nothing_is_written_among_images_with_masks_beside_them(tmp_path, output):
    folder_of(tmp_path, "a.tif", "a_masks.tif")
    with pytest.raises(UsageError, match=r"is what is to be read|lies in the input"):
        check_no_data([tmp_path / output], tmp_path, None)
