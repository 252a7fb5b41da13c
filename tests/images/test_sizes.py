"""What a file says of its sizes: rows, columns, slices and time points each for itself, and which source wins."""

import doctest

import numpy as np
import pytest
import tifffile

from unet_deploy.images import open_image, sizes
from unet_deploy.images.sizes import LevelPlace, PixelSizes
from unet_deploy.measure.inspection import describe
from unet_deploy.measure.words import image_rows

GREY = np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8)
STACK = np.random.default_rng(1).integers(0, 255, (2, 3, 30, 40), dtype=np.uint8)
"""Two time points of three slices."""


def info(path):
    with open_image(path) as source:
        return source.info


def near(seen, **expected):
    """Compare what is known, to the precision of a resolution tag."""
    for name in ("y_um", "x_um", "z_um", "t_s"):
        value = expected.get(name)
        assert getattr(seen, name) == (value and pytest.approx(value, rel=1e-5)), name


def test_examples_are_true():
    assert doctest.testmod(sizes).failed == 0


@pytest.mark.parametrize(
    ("unit", "per_x"),
    [("micron", 4), ("\\u00B5m", 4), ("um", 4), ("nm", 4e-3), ("mm", 4e3), ("cm", 4e4), ("m", 4e6), ("inch", 101_600)],
)
@pytest.mark.parametrize("resolutionunit", [1, 2, 3])
def test_imagej_s_unit_goes_before_the_tag_s(tmp_path, unit, per_x, resolutionunit):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        GREY,
        metadata=None,
        description=f"ImageJ=1.53t\nunit={unit}\n",
        resolution=(per_x, per_x / 2),
        resolutionunit=resolutionunit,
    )
    seen = info(path)
    near(seen.sizes, y_um=0.5, x_um=0.25)
    assert seen.note == ""


def test_imagej_s_axes_may_have_units_of_their_own(tmp_path):
    path = tmp_path / "a.tif"
    words = "ImageJ=1.53t\nimages=6\nslices=3\nframes=2\nhyperstack=true\nunit=nm\nyunit=micron\nzunit=mm\n"
    tifffile.imwrite(
        path,
        STACK,
        metadata=None,
        description=words + "spacing=0.002\nfinterval=2\ntunit=min\n",
        resolution=(0.004, 2),
        photometric="minisblack",
    )
    near(info(path).sizes, y_um=0.5, x_um=0.25, z_um=2.0, t_s=120.0)


@pytest.mark.parametrize(("spacing", "z_um"), [("-2.0", 2.0), ("0", None)])
def test_a_spacing_is_what_imagej_takes_it_for(tmp_path, spacing, z_um):
    path = tmp_path / "a.tif"
    words = f"ImageJ=1.53t\nimages=3\nslices=3\nunit=micron\nspacing={spacing}\n"
    tifffile.imwrite(path, STACK[0], metadata=None, description=words, resolution=(4, 4), photometric="minisblack")
    near(info(path).sizes, y_um=0.25, x_um=0.25, z_um=z_um)
    assert info(path).note == ""


@pytest.mark.parametrize("unit", ["pixel", "pixels", ""])
def test_pixels_are_no_unit_and_need_no_note(tmp_path, unit):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, metadata=None, description=f"ImageJ=1.53t\nunit={unit}\n", resolution=(4, 4))
    assert (info(path).sizes, info(path).note) == (PixelSizes(), "")


def test_a_unit_that_nobody_knows_is_said(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, metadata=None, description="ImageJ=1.53t\nunit=furlong\n", resolution=(4, 4))
    assert info(path).sizes == PixelSizes()
    assert info(path).note == "sizes in 'furlong' are not used: that is no unit of length"


@pytest.mark.parametrize(("unit", "x", "y"), [("µm", 0.25, 0.5), ("nm", 250, 500), ("Å", 2500, 5000), ("thou", 1, 2)])
def test_ome_goes_before_the_resolution_and_its_sides_may_differ(tmp_path, unit, x, y):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": x, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": y, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(path, GREY, resolution=(72, 72), resolutionunit="inch", metadata=metadata)
    seen, um = info(path), 25.4 if unit == "thou" else 0.25
    near(seen.sizes, y_um=2 * um, x_um=um)
    assert seen.tags["resolution"] == pytest.approx((1e4 / um, 5e3 / um))
    assert seen.pixel_size_um == pytest.approx(um * 2**0.5)


def test_a_resolution_that_agrees_is_carried_as_it_is(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, GREY, resolution=(50_800, 50_800), resolutionunit="inch", metadata=metadata)
    assert info(path).tags == {"resolution": (50_800, 50_800), "resolutionunit": 2}


def test_slices_and_times_are_known_where_there_are_any(tmp_path):
    metadata = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2000}
    metadata |= {"PhysicalSizeZUnit": "nm", "TimeIncrement": 1.5, "TimeIncrementUnit": "min"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=metadata)
    seen = info(tmp_path / "a.ome.tif")
    near(seen.sizes, y_um=0.25, x_um=0.25, z_um=2.0, t_s=90.0)
    assert [(axis.name, axis.size, axis.distance) for axis in seen.stack] == [("t", 2, 90.0), ("z", 3, 2.0)]
    assert seen.steps(4) == (("t", 1), ("z", 1))
    tifffile.imwrite(tmp_path / "b.ome.tif", GREY, metadata={**metadata, "axes": "YX"})
    near(info(tmp_path / "b.ome.tif").sizes, y_um=0.25, x_um=0.25)


def test_a_spacing_without_a_pixel_size_is_said_to_miss_in_plain_tiff(tmp_path):
    for size in ({}, {"PhysicalSizeX": 0.5}):
        tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], metadata={"axes": "ZYX", "PhysicalSizeZ": 2.0, **size})
        seen = info(tmp_path / "a.ome.tif")
        assert seen.sizes.z_um == 2.0
        assert ("masks in .ome.tif and .zarr have it, plain TIFF not" in seen.note) == (not size)


def test_pages_that_no_mask_counts_like_this_are_slices_in_a_row(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZTYX", "PhysicalSizeZ": 2.0})
    assert [(axis.name, axis.size, axis.distance) for axis in info(tmp_path / "a.ome.tif").stack] == [("z", 6, None)]
    assert "its slices are counted before its times" in info(tmp_path / "a.ome.tif").note


@pytest.mark.parametrize("claim", ["1e-9", "NaN", "abc"])
def test_distances_that_cannot_be_are_left_out_and_said(tmp_path, claim):
    path = tmp_path / "a.tif"
    words = f"ImageJ=1.53t\nimages=3\nslices=3\nunit=micron\nspacing={claim}\n"
    tifffile.imwrite(path, STACK[0], metadata=None, description=words, resolution=(4, 4), photometric="minisblack")
    near(info(path).sizes, y_um=0.25, x_um=0.25)
    assert "z spacing" in info(path).note


def test_a_level_shows_the_same_area(tmp_path):
    path = tmp_path / "a.ome.tif"
    full = np.zeros((601, 400), np.uint8)
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(full, tile=(64, 64), subifds=2, metadata=metadata, resolution=(4e4, 2e4), resolutionunit=3)
        for step in (2, 4):
            level = full[: 601 // step * step : step, ::step]
            file.write(level, tile=(64, 64), subfiletype=1, resolution=(4e4, 2e4), resolutionunit=3)
    for number, step in enumerate((1, 2, 4)):
        with open_image(path, level=number) as source:
            assert source.info.place == LevelPlace(number, step, step)
            near(source.info.sizes, y_um=0.5 * step, x_um=0.25 * step)
            assert source.info.tags["resolution"] == pytest.approx((4e4 / step, 2e4 / step))
            assert source.info.note.startswith("read at level" if number else "")


def test_info_says_all_that_is_known(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0, "TimeIncrement": 60}
    tifffile.imwrite(path, STACK, metadata=metadata)
    said = dict(image_rows(describe(path)))["pixel size"]
    assert said == "0.25 um wide, 0.5 um high; 2 um from slice to slice; 60 s from time to time"


def test_an_ome_zarr_of_one_time_is_a_stack_of_slices(tmp_path):
    zarr = pytest.importorskip("zarr")
    units = {"t": "minute", "c": None, "z": "nanometer", "y": "micrometer", "x": "micrometer"}
    axes = [{"name": name} | ({"unit": unit} if unit else {}) for name, unit in units.items()]
    steps = [{"type": "scale", "scale": [2, 1, 300, 0.5, 0.25]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    for times in (1, 2):
        group = zarr.create_group(str(tmp_path / f"{times}.zarr"), attributes={"ome": ome})
        group.create_array("0", data=np.zeros((times, 2, 3, 30, 40), np.uint8))
        seen = info(tmp_path / f"{times}.zarr")
        near(seen.sizes, y_um=0.5, x_um=0.25, z_um=0.3, t_s=120.0 if times > 1 else None)
        assert [axis.name for axis in seen.stack] == (["t", "z"] if times > 1 else ["z"])


@pytest.mark.parametrize("said", [None, [0.0, 0.0], [3.0, 4.0]])
def test_a_level_of_an_ome_zarr_lies_where_it_says_or_shows_the_same_area(tmp_path, said):
    zarr = pytest.importorskip("zarr")
    from unet_deploy.images.zarr_image import ZarrSource

    datasets = []
    for level in range(2):
        steps = [{"type": "scale", "scale": [0.5 * 2**level, 250 * 2**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    if said:
        datasets[1]["coordinateTransformations"].append({"type": "translation", "translation": said})
    axes = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "nanometer"}]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group = zarr.create_group(str(tmp_path / "a.zarr"), attributes={"ome": ome})
    for level in range(2):
        group.create_array(str(level), data=GREY[:: 2**level, :: 2**level])
    with ZarrSource(tmp_path / "a.zarr", level=1) as source:
        assert [axis.offset for axis in source.axes] == (said or [0.25, 125.0])
        assert source.info.sizes == PixelSizes(1.0, 0.5)
        assert source.info.place == LevelPlace(1, 2.0, 2.0)
