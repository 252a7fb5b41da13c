"""Images and masks come in as people have them, and what is wrong with them is said in one line."""

import imagecodecs
import numpy as np
import pytest
import tifffile

from unet_deploy.errors import DataError
from unet_deploy.evaluation.pairs import find_pairs, read_image, read_pixels
from unet_deploy.evaluation.split import split
from unet_deploy.evaluation.truths import check_size, leave_out, read_truths

CLASSES = ("background", "cell")


def read(folder, **options):
    """The truths of a folder, once every mask fits its image."""
    pairs = find_pairs(folder)
    truths = read_truths(pairs, CLASSES, **options)
    for pair, truth in zip(pairs, truths, strict=True):
        check_size(pair, read_pixels(pair), truth)
    return truths


def test_pairs_are_sorted_stems(folder):
    assert [pair.name for pair in find_pairs(folder)] == [f"cell{at}" for at in range(6)]


def stacks(folder):
    """A volume of four pages and its labels, and labels of three pages."""
    rng = np.random.default_rng(0)
    volume, labels = rng.integers(0, 255, (4, 50, 60), dtype=np.uint8), np.zeros((4, 50, 60), np.uint8)
    labels[:, 10:20, 10:20] = 255
    for name, stack in (("volume", volume), ("labels", labels), ("short", labels[:3])):
        tifffile.imwrite(folder / f"{name}.tif", stack, photometric="minisblack")
    return volume


def test_two_stacks_pair_page_by_page(tmp_path):
    volume = stacks(tmp_path)
    pairs = find_pairs(tmp_path / "volume.tif", tmp_path / "labels.tif")
    assert [pair.name for pair in pairs] == [f"volume[{page}]" for page in range(4)]
    np.testing.assert_array_equal(read_pixels(pairs[2])[0], volume[2])
    assert read_truths(pairs, CLASSES)[2].labels.max() == 1
    with pytest.raises(DataError, match=r"volume\.tif has 4 pages, but .*short\.tif has 3"):
        find_pairs(tmp_path / "volume.tif", tmp_path / "short.tif")


def test_real_nuclei_are_read_as_instances(data):
    pairs = find_pairs(data / "dsb2018")
    assert len(pairs) == 557
    truths = read_truths(pairs[:20], CLASSES)
    assert max(truth.objects.max() for truth in truths) > 10
    assert len(split([pair.name for pair in pairs], "every:10")[1]) == 56


def test_the_real_em_stack_is_two_classes(data):
    pairs = find_pairs(data / "isbi2012" / "train-volume.tif", data / "isbi2012" / "train-labels.tif")
    truths = read_truths(pairs, ("membrane", "cell"))
    assert len(truths) == 30
    assert np.mean([(truth.labels == 0).mean() for truth in truths]) == pytest.approx(0.22, abs=0.01)


def test_instances_are_told_from_binary_and_class_masks(folder):
    truths = read(folder)
    assert truths[0].objects.max() > 3
    assert set(np.unique(truths[0].labels)) == {0, 1}
    for path in (folder / "masks").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8) * 255)
    assert set(np.unique(read(folder)[0].labels)) == {0, 1}
    for path in (folder / "masks").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8) + (np.arange(90) > 70))
    three = read_truths(find_pairs(folder), ("background", "cell", "right"))
    assert set(np.unique(three[0].labels)) == {0, 1, 2}


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (1, 2)])
def test_of_two_values_the_higher_is_the_foreground(folder, values):
    expected = [tifffile.imread(path) > 0 for path in sorted((folder / "masks").iterdir())]
    for path, mask in zip(sorted((folder / "masks").iterdir()), expected, strict=True):
        tifffile.imwrite(path, np.where(mask, values[1], values[0]).astype(np.uint8))
    for each, mask in zip(read(folder), expected, strict=True):
        np.testing.assert_array_equal(each.labels, mask)


def test_masks_said_to_be_binary_that_are_not_are_refused(folder):
    with pytest.raises(DataError, match=r"values in masks that should hold two; see --mask-kind"):
        read(folder, kind="binary")


def rewrite(path, pixels):
    tifffile.imwrite(path, pixels)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-50])


BAD = {
    "no pair": (
        lambda root: (root / "masks" / "cell2.tif").unlink(),
        r"cell2\.tif: has no file named cell2\.\* in .*masks",
    ),
    "no image": (
        lambda root: (root / "images" / "cell2.tif").unlink(),
        r"cell2\.tif: has no file named cell2\.\* in .*images",
    ),
    "size": (
        lambda root: rewrite(root / "masks" / "cell1.tif", np.ones((5, 6), np.uint8)),
        r"masks/cell1\.tif: is 5 x 6 pixels, but its image .*images/cell1\.tif is 90 x 90",
    ),
    "float": (
        lambda root: rewrite(root / "masks" / "cell1.tif", np.ones((90, 90), np.float32)),
        r"cell1\.tif: mask pixels are float32; save label numbers as integers",
    ),
    "colour": (
        lambda root: rewrite(root / "masks" / "cell1.tif", np.full((90, 90, 3), (200, 0, 0), np.uint8)),
        r"cell1\.tif: a mask has one channel of label numbers, this has 3",
    ),
    "negative": (
        lambda root: rewrite(root / "masks" / "cell1.tif", np.full((90, 90), -1, np.int16)),
        r"cell1\.tif: label numbers below 0",
    ),
    "corrupt": (
        lambda root: (root / "images" / "cell3.tif").write_bytes(b"II*\\0 broken"),
        r"cell3\.tif: [^\n]*",
    ),
    "page": (
        lambda root: tifffile.imwrite(
            root / "masks" / "cell1.tif", np.ones((3, 90, 90), np.uint8), photometric="minisblack"
        ),
        r"masks/cell1\.tif: has 3 pages; save each as a file",
    ),
    "pages": (
        lambda root: tifffile.imwrite(
            root / "images" / "cell1.tif", np.ones((3, 90, 90), np.uint8), photometric="minisblack"
        ),
        r"images/cell1\.tif: has 3 pages; save each as a file",
    ),
    "jpeg": (
        lambda root: (root / "masks" / "cell1.tif").rename(root / "masks" / "cell1.jpg"),
        r"masks/cell1\.jpg: JPEG changes label numbers; save masks as PNG or TIFF",
    ),
    "truncated image": (
        lambda root: truncate(root / "images" / "cell3.tif"),
        r"images/cell3\.tif: the file ends before its pixels do; copy it again",
    ),
    "truncated mask": (
        lambda root: truncate(root / "masks" / "cell3.tif"),
        r"masks/cell3\.tif: the file ends before its pixels do; copy it again",
    ),
    "no picture": (
        lambda root: (root / "images" / "cell3.tif").write_text("notes on cell 3"),
        r"images/cell3\.tif: is not a readable TIFF",
    ),
    "folder": (
        lambda root: [
            (root / "images" / "cell9.tif").mkdir(),
            rewrite(root / "masks" / "cell9.tif", np.ones((90, 90), np.uint8)),
        ],
        r"images/cell9\.tif: cannot be read",
    ),
    "twice": (
        lambda root: (root / "images" / "cell1.png").write_bytes(imagecodecs.png_encode(np.ones((9, 9), np.uint8))),
        r"cell1\.tif: cell1\.png has the same stem",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_with_the_file(folder, case):
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(Exception, match=message) as raised:
        read(folder)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)


def test_a_folder_without_the_two_folders_says_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match="a folder with images/ and masks/"):
        find_pairs(tmp_path)


def test_what_is_no_image_by_its_name_may_lie_beside_the_images(folder):
    (folder / "images" / "notes.txt").write_text("taken on a Monday")
    (folder / "images" / "more").mkdir()
    assert len(find_pairs(folder)) == 6


def test_a_class_that_no_mask_has_is_for_training_to_refuse(folder):
    truths = read_truths(find_pairs(folder), (*CLASSES, "nerve"), "instances")
    assert not any((truth.labels == 2).any() for truth in truths)


def test_a_class_beyond_those_named_is_refused(folder):
    with pytest.raises(DataError, match="only 2 classes are named"):
        read(folder, kind="classes")


def shown_as(kind, path, labels):
    """Labels as programs save them: stored numbers with a table of colours or an inversion beside them."""
    table = np.random.default_rng(9).integers(0, 60_000, (3, 256)).astype(np.uint16)
    if kind == "an inverting table":
        tifffile.imwrite(path, labels, photometric="miniswhite", imagej=True)
    elif kind == "min-is-white":
        tifffile.imwrite(path, labels, photometric="miniswhite", metadata=None)
    else:
        tifffile.imwrite(path, labels, photometric="palette", colormap=table, metadata=None)


@pytest.mark.parametrize("kind", ["an inverting table", "min-is-white", "a palette"])
def test_masks_are_stored_numbers_however_they_are_shown(folder, kind):
    plain = read(folder)
    for pair in find_pairs(folder):
        shown_as(kind, pair.mask, tifffile.imread(pair.mask).astype(np.uint8))
    for ours, theirs in zip(read(folder), plain, strict=True):
        np.testing.assert_array_equal(ours.objects, theirs.objects)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("kind", ["an inverting table", "min-is-white", "a palette"])
def test_score_reads_the_same_numbers(folder, kind):
    from unet_deploy.evaluation.against_truth import score_files

    pair = find_pairs(folder)[0]
    labels = (tifffile.imread(pair.mask) > 0).astype(np.uint8) * 255
    shown_as(kind, folder / "shown.tif", labels)
    tifffile.imwrite(folder / "plain.tif", labels)
    for mask, truth in (("plain", "shown"), ("shown", "plain")):
        assert score_files(folder / f"{mask}.tif", folder / f"{truth}.tif").by_class[0].dice == 1


def test_png_masks_with_a_palette_are_class_numbers(folder):
    import PIL.Image

    for pair in find_pairs(folder):
        picture = PIL.Image.fromarray((tifffile.imread(pair.mask) > 0).astype(np.uint8), "P")
        picture.putpalette([0, 0, 0, 128, 0, 0])
        picture.save(pair.mask.with_suffix(".png"))
        pair.mask.unlink()
    assert all(0 < truth.labels.mean() < 1 for truth in read(folder))


def test_nobody_is_wrong_where_an_image_holds_no_data(folder):
    pair = find_pairs(folder)[0]
    pixels = tifffile.imread(pair.image).astype(np.float32)
    pixels[:40] = np.nan
    tifffile.imwrite(pair.image, pixels, extratags=[(42113, "s", 0, "nan", True)], metadata=None)
    image = read_image(pair)
    data = image.data_in(0, image.info.region, image.crop(0, image.info.region))
    assert not data[:40].any()
    truth = read_truths([pair], CLASSES)[0]
    left = leave_out(truth, data)
    assert not left.labels[:40].any()
    assert not left.objects[:40].any()
    np.testing.assert_array_equal(left.labels[40:], truth.labels[40:])
    assert leave_out(truth, None) is truth
