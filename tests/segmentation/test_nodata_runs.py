"""Pixels that are no data are class 0 in every output, and change nothing of what was found elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from broken import pull_the_plug

from unet_deploy.errors import ImageError, UsageError
from unet_deploy.evaluation.against_truth import score_files
from unet_deploy.images import open_labels
from unet_deploy.measure.sample import write_sample
from unet_deploy.segmentation.run import Options, Outputs, segment_file
from unet_deploy.tiling import Region
from unet_deploy.zoo import open_model

RIM = 100
"""Rows at the top that were never scanned."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A slide with nuclei, (300, 300) uint8, and where they are."""
    path = tmp_path_factory.mktemp("sample") / "s.tif"
    write_sample(path, 300, 300, truth=path.with_name("s.truth.tif"))
    return tifffile.imread(path), tifffile.imread(path.with_name("s.truth.tif")) > 0


def write(path, pixels, text=None):
    extra = [(42113, "s", 0, text, True)] if text else []
    tifffile.imwrite(path, pixels, metadata=None, extratags=extra)
    return path


def said(mask):
    """The value of no data that a mask says, as text; None where it says none."""
    with tifffile.TiffFile(mask) as file:
        tag = file.pages[0].tags.get(42113)
        return tag and tag.value


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize(
    ("dtype", "value", "text", "asked"),
    [
        (np.float32, -9999, "-9999", None),
        (np.float32, np.nan, "nan", None),
        (np.float32, np.nan, None, float("nan")),
        (np.int16, -9999, None, -9999.0),
        (np.uint16, 65535, "0", 65535.0),
    ],
)
def test_a_rim_without_data_changes_nothing_of_the_rest(tmp_path, sample, nuclei, dtype, value, text, asked):
    pixels, truth = sample
    pixels = pixels.astype(dtype)
    pixels[:RIM] = value
    outputs = Outputs.beside(
        tmp_path / "m.tif", probabilities=True, overlay=True, objects=tmp_path / "o.csv", instances=tmp_path / "i.tif"
    )
    image = write(tmp_path / "a.tif", pixels, text)
    segment_file(image, outputs, nuclei, Options(tile_size=252, nodata=asked), device="cpu")
    mask = tifffile.imread(outputs.mask)
    assert dice(mask[RIM:] > 0, truth[RIM:]) > 0.94
    assert not mask[:RIM].any()
    probabilities = tifffile.imread(outputs.probabilities)
    assert (probabilities[0, :RIM] == 1).all()
    assert (probabilities[1, :RIM] == 0).all()
    assert not tifffile.imread(outputs.instances)[:RIM].any()
    assert said(outputs.mask) == ("0" if text else None)
    assert said(outputs.probabilities) is None
    assert said(outputs.instances) is None


@pytest.mark.parametrize("roi", [None, Region(70, 90, 190, 170)], ids=["whole", "region"])
def test_a_run_that_was_broken_off_goes_on_to_the_same_files(tmp_path, sample, nuclei, monkeypatch, roi):
    pixels = sample[0].astype(np.float32)
    pixels[:RIM] = np.nan
    image = write(tmp_path / "a.tif", pixels, "nan")
    options = Options(tile_size=252, roi=roi)
    once = Outputs.beside(tmp_path / "once.tif", overlay=True, objects=tmp_path / "once.csv")
    again = Outputs.beside(tmp_path / "again.tif", overlay=True, objects=tmp_path / "again.csv")
    with open_model(nuclei, device="cpu", probabilities=True) as model:
        segment_file(image, once, model, options)
        with monkeypatch.context() as broken:
            pull_the_plug(broken, model, 2)
            with pytest.raises(RuntimeError, match="pulled the plug"):
                segment_file(image, again, model, options)
        segment_file(image, again, model, replace(options, resume=True))
    assert once.mask.read_bytes() == again.mask.read_bytes()
    assert once.overlay.read_bytes() == again.overlay.read_bytes()
    assert once.objects.read_bytes() == again.objects.read_bytes()


@pytest.mark.parametrize(("asked", "noted"), [(None, None), (7, 255)])
def test_of_no_data_is_spoken_where_an_image_can_have_some(tmp_path, sample, nuclei, asked, noted):
    image = write(tmp_path / "a.tif", sample[0].astype(np.uint8))
    options = Options(tile_size=252, nodata=asked, outside=255, roi=Region(70, 90, 190, 170))
    assert segment_file(image, tmp_path / "m.tif", nuclei, options, device="cpu").nodata == noted


def test_an_image_without_any_data_is_all_background(tmp_path, nuclei):
    image = write(tmp_path / "a.tif", np.full((300, 300), np.nan, np.float32), "nan")
    report = segment_file(image, tmp_path / "m.tif", nuclei, Options(tile_size=252), device="cpu")
    assert not tifffile.imread(tmp_path / "m.tif").any()
    assert report.timing.skipped == len(report.plan)


def test_nan_that_nobody_spoke_of_is_an_error_with_the_remedy(tmp_path, nuclei):
    image = write(tmp_path / "a.tif", np.full((300, 300), np.nan, np.float32))
    with pytest.raises(ImageError, match=r"NaN.*--nodata nan"):
        segment_file(image, tmp_path / "m.tif", nuclei, device="cpu")
    assert not (tmp_path / "m.tif").exists()


# -- what stands in the mask -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_the_mask_has_what_was_asked_for_where_there_is_no_data(tmp_path, sample, nuclei, kind):
    pixels = sample[0].astype(np.int16)
    pixels[:RIM] = -9999
    image = write(tmp_path / "a.tif", pixels, "-9999")
    plain, marked = (
        Outputs.beside(tmp_path / f"{name}.{kind}", objects=tmp_path / f"{name}.csv", overlay=True)
        for name in ("plain", "marked")
    )
    options = Options(tile_size=252)
    segment_file(image, plain, nuclei, options, device="cpu")
    report = segment_file(image, marked, nuclei, replace(options, outside=255), device="cpu")
    with open_labels(plain.mask) as zero, open_labels(marked.mask) as other:
        whole = zero.info.region
        expected = zero.crop(0, whole)[0]
        expected[:RIM] = 255
        np.testing.assert_array_equal(other.crop(0, whole)[0], expected)
        assert (zero.info.nodata, other.info.nodata) == (0, 255)
    assert report.nodata == 255
    assert plain.objects.read_bytes() == marked.objects.read_bytes()
    assert plain.overlay.read_bytes() == marked.overlay.read_bytes()


def test_what_was_marked_as_outside_is_still_so_after_a_break(tmp_path, sample, nuclei, monkeypatch):
    pixels = sample[0].astype(np.float32)
    pixels[:RIM] = np.nan
    image = write(tmp_path / "a.tif", pixels, "nan")
    options = Options(tile_size=252, outside=1)
    once, again = (
        Outputs.beside(tmp_path / f"{name}.tif", overlay=True, objects=tmp_path / f"{name}.csv")
        for name in ("once", "again")
    )
    with open_model(nuclei, device="cpu", probabilities=True) as model:
        segment_file(image, once, model, options)
        with monkeypatch.context() as broken:
            pull_the_plug(broken, model, 2)
            with pytest.raises(RuntimeError, match="pulled the plug"):
                segment_file(image, again, model, options)
        segment_file(image, again, model, replace(options, resume=True))
    assert (tifffile.imread(once.mask)[:RIM] == 1).all()
    assert said(once.mask) is None  # the number is that of a class
    for left, right in zip(once, again, strict=True):
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.parametrize("value", [-1, 256])
def test_what_a_mask_cannot_hold_is_refused(value):
    with pytest.raises(UsageError, match=f"outside: a mask holds the numbers 0 to 255, not {value}"):
        Options(outside=value)


def test_pixels_that_a_mask_says_to_be_no_data_are_not_scored(tmp_path, sample, nuclei):
    pixels, truth = sample
    rim = pixels.astype(np.int16)
    rim[:RIM] = -9999
    image = write(tmp_path / "a.tif", rim, "-9999")
    tifffile.imwrite(tmp_path / "t.tif", truth.astype(np.uint8))
    tifffile.imwrite(tmp_path / "rest.tif", truth.astype(np.uint8) * (np.arange(300) >= RIM)[:, None])
    segment_file(image, tmp_path / "m.tif", nuclei, Options(outside=255), device="cpu")
    found, expected = (score_files(tmp_path / "m.tif", tmp_path / name) for name in ("t.tif", "rest.tif"))
    assert found.scores == expected.scores
