"""Every layout of TIFF gives the same pixels as tifffile reading it whole, region by region."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_conformance import FileSourceConformance

from unet_deploy.errors import ImageError
from unet_deploy.images import nearest_level, open_image
from unet_deploy.images.tiff import TiffSource
from unet_deploy.tiling import Region

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 255, (83, 131), dtype=np.uint8)
RGB = RNG.integers(0, 255, (83, 131, 3), dtype=np.uint8)


class TestTiffSource(FileSourceConformance):
    def write(self, folder, pixels):
        metadata = {"axes": "ZCYX"}
        tifffile.imwrite(folder / "a.ome.tif", pixels, metadata=metadata, photometric="minisblack", rowsperstrip=7)
        return folder / "a.ome.tif"


LAYOUTS = {
    "one strip": (GREY, {"rowsperstrip": 83}),
    "strips": (GREY, {"rowsperstrip": 7}),
    "tiles": (GREY, {"tile": (32, 48)}),
    "bigtiff": (GREY, {"bigtiff": True, "tile": (16, 16)}),
    "big-endian": (GREY.astype(np.uint16) * 251, {"byteorder": ">"}),
    "big-endian tiles": (GREY.astype(np.float32), {"byteorder": ">", "tile": (32, 32)}),
    "lzw": (GREY, {"compression": "lzw", "rowsperstrip": 5}),
    "deflate with predictor": (GREY.astype(np.uint16), {"compression": "zlib", "predictor": 2, "tile": (32, 32)}),
    "float predictor": (GREY.astype(np.float32), {"compression": "zlib", "predictor": 3}),
    "zstd": (GREY, {"compression": "zstd", "tile": (64, 64)}),
    "packbits": (GREY, {"compression": "packbits", "rowsperstrip": 9}),
    "jpeg tiles": (GREY, {"compression": "jpeg", "tile": (64, 64)}),
    "jpeg colour": (RGB, {"compression": "jpeg", "tile": (64, 64), "photometric": "rgb"}),
    "rgb": (RGB, {"photometric": "rgb"}),
    "rgb planar": (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "rgb planar tiles": (
        np.moveaxis(RGB, -1, 0),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": "zlib"},
    ),
    "uint32": (GREY.astype(np.uint32) << 20, {"rowsperstrip": 11}),
    "int16": (GREY.astype(np.int16) - 100, {}),
    "float64": (GREY.astype(np.float64) / 7, {"tile": (32, 32)}),
    "bilevel": (GREY > 100, {"photometric": "minisblack"}),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    paths = {}
    for name, (pixels, options) in LAYOUTS.items():
        paths[name] = folder / f"{name}.tif"
        writer = {key: options[key] for key in ("bigtiff", "byteorder") if key in options}
        with tifffile.TiffWriter(paths[name], **writer) as tiff:
            tiff.write(pixels, metadata=None, **{key: v for key, v in options.items() if key not in writer})
    return paths


def planes(path: Path, pixels: np.ndarray) -> np.ndarray:
    """What the file holds, by tifffile, as (C, H, W)."""
    whole = tifffile.imread(path)
    if whole.ndim == 2:
        return whole[None].astype(np.uint8) if whole.dtype == bool else whole[None]
    return whole if whole.shape[0] == 3 else np.moveaxis(whole, -1, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(y=st.integers(-120, 90), x=st.integers(-150, 140), height=st.integers(1, 200), width=st.integers(1, 220))
def test_any_region_is_a_crop_of_the_mirrored_whole(written, layout, y, x, height, width):
    path = written[layout]
    whole = planes(path, LAYOUTS[layout][0])
    pad = 400
    mirrored = np.pad(whole, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    with TiffSource(path) as source:
        seen = source.read(0, Region(y, x, height, width))
    np.testing.assert_array_equal(seen, mirrored[:, y + pad : y + pad + height, x + pad : x + pad + width])
    assert seen.dtype == whole.dtype.newbyteorder("=")


def whole_page(path: Path, page: int = 0, **options) -> np.ndarray:
    with open_image(path, **options) as source:
        return source.crop(page, Region(0, 0, source.info.height, source.info.width))


def test_pages_are_separate_and_in_order(tmp_path):
    stack = RNG.integers(0, 255, (5, 40, 50), dtype=np.uint8)
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as tiff:
        for page in stack:
            tiff.write(page, metadata=None, compression="zlib")
    with open_image(path) as source:
        assert (source.info.pages, source.info.channels) == (5, 1)
    for page in range(5):
        np.testing.assert_array_equal(whole_page(path, page)[0], stack[page])


def test_ome_channels_are_channels_and_z_makes_pages(tmp_path):
    stack = RNG.integers(0, 60_000, (4, 2, 30, 40), dtype=np.uint16)
    path = tmp_path / "stack.ome.tif"
    metadata = {"axes": "ZCYX", "PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(path, stack, metadata=metadata, photometric="minisblack")
    with open_image(path) as source:
        info = source.info
    assert (info.pages, info.channels, info.height, info.width) == (4, 2, 30, 40)
    assert info.pixel_size_um == pytest.approx(0.325)
    np.testing.assert_array_equal(whole_page(path, 3), stack[3])
    np.testing.assert_array_equal(whole_page(path, 2, channel=1), stack[2, 1:])


def test_an_imagej_hyperstack_described_by_its_first_page_alone(tmp_path):
    stack = RNG.integers(0, 255, (3, 2, 30, 40), dtype=np.uint8)
    path = tmp_path / "hyper.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX", "unit": "um"}, resolution=(4, 4))
    with open_image(path) as source:
        assert (source.info.pages, source.info.channels) == (3, 2)
        assert source.info.pixel_size_um == pytest.approx(0.25)
    np.testing.assert_array_equal(whole_page(path, 1), stack[1])


def test_white_is_made_bright_where_the_file_says_it_is_zero(tmp_path):
    path = tmp_path / "white.tif"
    tifffile.imwrite(path, GREY, photometric="miniswhite")
    np.testing.assert_array_equal(whole_page(path)[0], 255 - GREY)


def test_a_grey_palette_gives_one_channel_of_greys(tmp_path):
    path = tmp_path / "palette.tif"
    ramp = (np.arange(256, dtype=np.uint16)[::-1] * 257)[None].repeat(3, axis=0)
    tifffile.imwrite(path, GREY, photometric="palette", colormap=ramp)
    np.testing.assert_array_equal(whole_page(path)[0], 255 - GREY)


def test_alpha_is_no_channel_and_that_is_said(tmp_path):
    path = tmp_path / "rgba.tif"
    rgba = np.dstack([RGB, RGB[..., :1]])
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"])
    with open_image(path) as source:
        assert source.info.channels == 3
        assert "alpha" in source.info.note
    np.testing.assert_array_equal(whole_page(path), np.moveaxis(RGB, -1, 0))


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"), [("CENTIMETER", 20_000, 0.5), ("INCH", 50_800, 0.5), ("INCH", 300, None)]
)
def test_pixel_size_comes_from_resolution_tags_unless_they_are_a_printers(tmp_path, unit, per_unit, expected):
    path = tmp_path / "sized.tif"
    tifffile.imwrite(path, GREY, resolution=(per_unit, per_unit), resolutionunit=unit)
    with open_image(path) as source:
        assert source.info.pixel_size_um == (expected and pytest.approx(expected))


def test_sparse_tiles_are_empty_not_an_error(tmp_path):
    path = tmp_path / "sparse.tif"
    tiles = iter([GREY[:16, :16].tobytes(), b"", b"", b""])
    tifffile.imwrite(path, tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression=None)
    seen = whole_page(path)[0]
    np.testing.assert_array_equal(seen[:16, :16], GREY[:16, :16])
    assert not seen[16:].any()


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("layout", ["one strip", "strips", "tiles", "lzw", "zstd", "jpeg tiles"])
def test_a_truncated_file_is_one_line_never_grey_pixels(written, layout, keep, tmp_path):
    data = written[layout].read_bytes()
    path = tmp_path / "cut.tif"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ImageError, match=r"cut\.tif: [^\n]+"):
        whole_page(path)


def test_a_strip_of_gigabytes_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(
        path, iter([b"\\0" * 100]), shape=(40_000, 40_000), dtype=np.uint8, rowsperstrip=40_000, compression="zlib"
    )
    with pytest.raises(ImageError, match=r"bomb\.tif: one strip or tile decodes to 1\.6 GB; save it as a tiled TIFF"):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0", b"II*\0\x08\0\0\0\0\0"])
def test_what_is_no_tiff_is_one_line(tmp_path, content):
    path = tmp_path / "no.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"no\.tif: [^\n]+"):
        open_image(path)


def test_a_region_of_a_huge_plain_file_costs_the_region_alone(tmp_path):
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, shape=(60_000, 60_000), dtype=np.uint8, bigtiff=True)
    script = (
        "import sys; from pathlib import Path; from unet_deploy.images import open_image;"
        "from unet_deploy.tiling import Region; from unet_deploy.system.machine import peak_memory;"
        "s = open_image(Path(sys.argv[1])); a = peak_memory();"
        "[s.read(0, Region(y, 59_000, 1212, 1212)) for y in range(0, 60_000, 3000)];"
        "print(peak_memory() - a)"
    )
    grown = int(subprocess.check_output([sys.executable, "-c", script, str(path)]))
    assert grown < 50e6


CORPUS = Path(__file__).parents[3] / "shared" / "data" / "tiff_corpus"
ODD = sorted(CORPUS.rglob("*.tif*")) if CORPUS.is_dir() else []


@pytest.mark.skipif(not ODD, reason="the corpus of odd TIFFs is not beside this checkout")
def test_every_odd_tiff_is_read_as_tifffile_reads_it_or_refused_in_one_line():
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, before[1]))
    try:
        outcomes = [check_odd(path) for path in ODD]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert outcomes.count(True) >= 150  # of 182; more where imagecodecs knows the fax codecs


def check_odd(path: Path) -> bool:
    """Whether it was read; fails on anything but pixels or one line."""
    try:
        source = open_image(path)
    except ImageError as error:
        return refused(path, error)
    with source:
        info = source.info
        tall, wide = min(info.height, 3000), min(info.width, 3000)
        try:
            seen = source.crop(info.pages - 1, Region(0, 0, tall, wide))
        except ImageError as error:
            return refused(path, error)
        corner = source.crop(info.pages - 1, Region(tall // 2, wide // 3, tall - tall // 2, wide - wide // 3))
    np.testing.assert_array_equal(corner, seen[:, tall // 2 :, wide // 3 :])
    with tifffile.TiffFile(path) as file:
        page = file.series[0].keyframe
        plain = page.photometric in (1, 2) and info.pages == 1 and len(file.series[0].shape) <= 3
        plain = plain and 1 not in page.extrasamples  # colours that are divided by alpha
        if plain and info.height * info.width < 3000 * 3000:
            whole = file.series[0].asarray()
            whole = whole[None] if whole.ndim == 2 else whole
            if whole.shape[1:] != (info.height, info.width):
                whole = np.moveaxis(whole, -1, 0)
            np.testing.assert_array_equal(seen, whole[: info.channels, :tall, :wide])
    return True


def refused(path: Path, error: ImageError) -> bool:
    lines = str(error).splitlines()
    if len(lines) != 1 or not lines[0].startswith(str(path)):
        pytest.fail(f"not one line that names the file: {error}")
    return False


def test_a_level_of_a_pyramid_is_an_image_of_its_own(tmp_path):
    path = tmp_path / "pyramid.ome.tif"
    full = np.arange(900 * 700, dtype=np.uint16).reshape(900, 700)
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(full, tile=(128, 128), subifds=2, metadata={"axes": "YX", **size})
        tiff.write(full[::2, ::2], tile=(128, 128), subfiletype=1)
        tiff.write(full[::4, ::4], tile=(128, 128), subfiletype=1)
    for level in range(3):
        with TiffSource(path, level=level) as source:
            assert source.info.levels == ((900, 700), (450, 350), (225, 175))
            assert source.info.pixel_size_um == pytest.approx(0.25 * 2**level)
            region = Region(10, 20, 100, 90)
            expected = full[:: 2**level, :: 2**level][region.slices]
            np.testing.assert_array_equal(source.crop(0, region)[0], expected)
            for wanted, found in ((0.2, 0), (0.3, 0), (0.45, 1), (5.0, 2)):
                if level == 0:
                    assert nearest_level(source.info, wanted) == found
    with pytest.raises(ImageError, match="has no level 3; it has 3"):
        TiffSource(path, level=3)
    with TiffSource(path) as source, pytest.raises(ImageError, match=r"pixel size of the model is not known"):
        nearest_level(source.info, None)


def test_the_profile_of_colours_and_the_place_on_earth_go_to_the_mask(tmp_path):
    from unet_deploy.masks import MaskForm, open_mask

    geo = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True)]
    geo.append((34735, 3, 4, (1, 1, 0, 0), True))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((300, 300), np.uint8), iccprofile=b"profile", extratags=geo)
    with TiffSource(tmp_path / "a.tif") as source:
        info = source.info
    with open_mask(tmp_path / "m.tif", MaskForm(info)) as sink:
        sink.write(0, Region(0, 0, 300, 300), np.zeros((1, 300, 300), np.uint8))
        sink.commit()
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tags = file.pages[0].tags
        assert tags[34675].value == b"profile"
        assert [tuple(tags[code].value) for code in (33550, 33922, 34735)] == [each[3] for each in geo]


def test_strips_of_a_later_page_may_lie_in_another_order(tmp_path):
    path, pixels = tmp_path / "a.tif", RNG.integers(0, 255, (3, 64, 50), dtype=np.uint8)
    tifffile.imwrite(path, pixels, rowsperstrip=16, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        offsets, places = file.pages[1].dataoffsets, file.pages[1].aspage().tags[273].valueoffset
    with path.open("r+b") as file:
        for offset, strip in zip(reversed(offsets), pixels[1].reshape(4, 16, 50), strict=True):
            file.seek(offset)
            file.write(strip.tobytes())
        file.seek(places)
        file.write(np.array(offsets[::-1], "<u4").tobytes())
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    with open_image(path) as source:
        got = np.concatenate([source.read(page, source.info.region) for page in range(3)])
    np.testing.assert_array_equal(got, pixels)
