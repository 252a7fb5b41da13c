"""Zarr images: what holds for every source, and every layout, codec and address read alike."""

import doctest
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_server import serving

zarr = pytest.importorskip("zarr")
import numcodecs  # noqa: E402
from sample_zarr import noise, write_image  # noqa: E402
from source_conformance import FileSourceConformance  # noqa: E402

from unet_deploy.errors import ImageError  # noqa: E402
from unet_deploy.images import axes, open_image  # noqa: E402
from unet_deploy.images.zarr_image import ZarrSource  # noqa: E402
from unet_deploy.tiling import Region  # noqa: E402


class TestZarrSource(FileSourceConformance):
    version = "0.5"

    def write(self, folder, pixels):
        return write_image(folder / "i.zarr", pixels, "zcyx", version=self.version, chunks=(1, 1, 16, 20))


class TestZarrSourceOfVersion04(TestZarrSource):
    version = "0.4"


def pages_of(pixels, axes):
    """(pages, C, H, W), computed another way than the source does."""
    for axis in "czt":
        if axis not in axes:
            pixels, axes = pixels[None], axis + axes
    lead = [axis for axis in axes if axis in "tz"]
    moved = np.einsum(f"{axes}->{''.join(lead)}cyx", pixels)
    return moved.reshape(-1, *moved.shape[2:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "czyx", "tcyx", "tzyx", "zcyx", "tczyx", "yxc", "xyzct"])
def test_axes_of_any_order_are_pages_and_channels(tmp_path, version, axes):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 40, "x": 50}
    pixels = noise(*(sizes[axis] for axis in axes), dtype=np.uint16)
    path = write_image(
        tmp_path / "i.zarr",
        pixels,
        axes,
        version=version,
        chunks=tuple(min(3, n) for n in pixels.shape) if len(axes) < 3 else (*(2 for _ in axes[:-2]), 16, 16),
    )
    truth = pages_of(pixels, axes)
    with ZarrSource(path) as source:
        info = source.info
        assert (info.pages, info.channels, info.height, info.width) == truth.shape
        assert (info.dtype, info.pixel_size_um, info.name) == (np.uint16, 0.5, str(path))
        for page in range(info.pages):
            for region in (Region(0, 0, 40, 50), Region(7, 15, 20, 35), Region(39, 49, 1, 1)):
                found = source.crop(page, region)
                np.testing.assert_array_equal(found, truth[(page, slice(None), *region.slices)])
    if "c" in axes:
        with ZarrSource(path, channel=2) as source:
            np.testing.assert_array_equal(source.crop(0, Region(3, 4, 5, 6)), truth[0, 2:3, 3:8, 4:10])


@settings(max_examples=30)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 30), st.data(), st.sampled_from("bufi")
)
def test_any_region_of_any_chunks_is_the_pixels(tmp_path_factory, height, width, tall, wide, data, kind):
    dtype = {"b": "?", "u": ">u2", "f": "<f4", "i": ">i4"}[kind]
    pixels = noise(2, height, width).astype(dtype)
    path = tmp_path_factory.mktemp("any") / "a.zarr"
    options = {"zarr_format": 2} if dtype[0] == ">" else {}
    zarr.create_array(str(path), data=pixels, chunks=(1, tall, wide), **options)
    with ZarrSource(path) as source:
        assert source.info.dtype == (np.uint8 if kind == "b" else np.dtype(dtype).newbyteorder("="))
        for _ in range(4):
            y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
            region = Region(y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x)))
            found = source.crop(0, region)
            assert found.dtype == source.info.dtype
            np.testing.assert_array_equal(found, pixels[(slice(None), *region.slices)])


def test_a_sharded_image_is_read_chunk_by_chunk(tmp_path):
    pixels = noise(3, 200, 300)
    path = write_image(tmp_path / "i.zarr", pixels, "cyx", chunks=(1, 32, 32), shards=(3, 128, 128))
    with ZarrSource(path) as source:
        np.testing.assert_array_equal(source.crop(0, Region(90, 90, 80, 200)), pixels[:, 90:170, 90:290])
    shard = path / "0" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-3])
    with ZarrSource(path) as source:
        np.testing.assert_array_equal(source.crop(0, Region(128, 128, 64, 64)), pixels[:, 128:192, 128:192])
        with pytest.raises(ImageError, match="chunk 0/c/0/0/0, from y 96, x 96 on, cannot be read"):
            source.crop(0, Region(100, 100, 10, 10))
        shard.write_bytes(b"")
        with pytest.raises(ImageError, match="cut short"):
            source.crop(0, Region(100, 100, 10, 10))


def test_only_the_chunks_of_a_region_are_read_and_few_are_kept(tmp_path, monkeypatch):
    pixels = noise(160, 160)
    path = write_image(tmp_path / "i.zarr", pixels, "yx", chunks=(16, 16))
    read = []
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *rest, **options):
        read.append(key)
        return await get(self, key, *rest, **options)

    monkeypatch.setattr("unet_deploy.images.zarr_image.CACHE_BYTES", 4 * 256)
    with ZarrSource(path) as source:
        monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
        source.crop(0, Region(20, 20, 20, 20))
        assert sorted(read) == ["0/c/1/1", "0/c/1/2", "0/c/2/1", "0/c/2/2"]
        source.crop(0, Region(16, 16, 32, 32))
        assert len(read) == 4
        source.crop(0, Region(0, 0, 160, 160))
        assert sum(block.nbytes for block in source._cache.values()) <= source.cache_bytes == 4 * 256


def test_a_chunk_that_was_never_written_is_the_fill_value(tmp_path):
    path = write_image(tmp_path / "i.zarr", np.zeros((32, 32), np.uint8), "yx", fill_value=7)
    (path / "0" / "c" / "1" / "0").unlink()
    with ZarrSource(path) as source:
        out = source.crop(0, Region(0, 0, 32, 32))[0]
    assert (out[16:, :16] == 7).all()
    assert (out[:16] == 0).all()


CODECS = {
    "v2 blosc": {"version": "0.4", "compressors": numcodecs.Blosc("lz4")},
    "v2 zlib": {"version": "0.4", "compressors": numcodecs.Zlib()},
    "v2 raw": {"version": "0.4", "compressors": None},
    "v3 blosc": {"compressors": zarr.codecs.BloscCodec()},
    "v3 zstd": {"compressors": zarr.codecs.ZstdCodec()},
    "v3 gzip": {"compressors": zarr.codecs.GzipCodec()},
    "v3 raw": {"compressors": None},
}


@pytest.mark.parametrize("codec", CODECS)
def test_a_chunk_cut_short_anywhere_is_one_line(tmp_path, codec):
    version = CODECS[codec].get("version", "0.5")
    path = write_image(tmp_path / "i.zarr", noise(32, 48), "yx", **CODECS[codec])
    chunk = path / "0" / ("1/2" if version == "0.4" else "c/1/2")
    whole = chunk.read_bytes()
    for length in {0, 1, 7, 15, 17, len(whole) // 2, len(whole) - 1}:
        chunk.write_bytes(whole[:length])
        with ZarrSource(path) as source:
            assert source.crop(0, Region(0, 0, 32, 32)).shape == (1, 32, 32)
            with pytest.raises(ImageError, match=r"i.zarr: chunk 0/(c/)?1/2, from y 16, x 32 on, .*; copy or save"):
                source.crop(0, Region(0, 0, 32, 48))


@pytest.fixture
def serve(tmp_path):
    """Serves tmp_path over HTTP."""
    with serving(tmp_path) as address:
        yield address


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_behind_http_is_read(tmp_path, serve, version):
    pytest.importorskip("aiohttp")
    pixels = noise(3, 70, 80)
    write_image(tmp_path / "i.zarr", pixels, "cyx", version=version)
    url = f"{serve}/i.zarr"
    with ZarrSource(url) as source:
        assert source.info.name == url
        np.testing.assert_array_equal(source.read(0, Region(0, 0, 70, 80)), pixels)
    with pytest.raises(ImageError, match=f"{serve}/other.zarr: is no Zarr image"):
        ZarrSource(f"{serve}/other.zarr")
    with pytest.raises(ImageError, match=f"{url}: has no channel 3; it has 3"):
        ZarrSource(url, channel=3)


def test_an_image_behind_a_url_of_fsspec_is_read():
    pytest.importorskip("fsspec")
    pixels = noise(50, 60)
    url = write_image("memory://some/i.zarr", pixels, "yx")
    with ZarrSource(url) as source:
        np.testing.assert_array_equal(source.crop(0, Region(5, 6, 40, 41))[0], pixels[5:45, 6:47])


def test_a_server_that_is_not_there_and_an_unknown_url_are_one_line():
    for url in ("http://127.0.0.1:9/i.zarr", "nothing://i.zarr"):
        with pytest.raises(ImageError, match=url) as error:
            ZarrSource(url)
        assert "\n" not in str(error.value)


def test_a_level_of_the_pyramid_is_chosen(tmp_path):
    pixels = noise(64, 64)
    path = write_image(tmp_path / "i.zarr", pixels, "yx", scale=250.0, unit="nanometer")
    with ZarrSource(path, level=1) as source:
        np.testing.assert_array_equal(source.crop(0, Region(0, 0, 32, 32))[0], pixels[::2, ::2])
        assert source.info.pixel_size_um == 0.5
        assert source.info.levels == ((64, 64), (32, 32))
        assert source.info.tags == {"resolution": (2e4, 2e4), "resolutionunit": 3}
    with pytest.raises(ImageError, match="has no level 2; it has 2, counted from 0, the finest"):
        ZarrSource(path, level=2)


@pytest.mark.parametrize(("unit", "size"), [("millimeter", 500.0), ("µm", 0.5), ("parsec", None), (None, None)])
def test_a_pixel_is_as_large_as_its_unit_says(tmp_path, unit, size):
    path = write_image(tmp_path / "i.zarr", noise(20, 20), "yx", unit=unit)
    with ZarrSource(path) as source:
        assert source.info.pixel_size_um == size


def test_arrays_are_read_as_arrays_in_memory_are(tmp_path):
    for dims in (2, 3, 4):
        pixels = noise(*(2, 3, 20, 30)[4 - dims :])
        zarr.create_array(str(tmp_path / f"{dims}.zarr"), data=pixels)
        with ZarrSource(tmp_path / f"{dims}.zarr") as source:
            info = source.info
            assert (info.pages, info.channels, info.height, info.width) == (1,) * (4 - dims) + pixels.shape
            np.testing.assert_array_equal(
                source.crop(info.pages - 1, Region(1, 2, 18, 20))[-1], pixels.reshape(-1, 20, 30)[-1, 1:19, 2:22]
            )
    zarr.create_array(str(tmp_path / "1.zarr"), data=noise(9))
    with pytest.raises(ImageError, match=r"shape \(9,\); an array is \(H, W\)"):
        ZarrSource(tmp_path / "1.zarr")


def test_what_is_no_image_says_what_to_open(tmp_path):
    for zarr_format, wrap in ((2, lambda ome: ome), (3, lambda ome: {"ome": ome})):
        root = tmp_path / str(zarr_format)

        def group(name, ome, root=root, zarr_format=zarr_format, wrap=wrap):
            return zarr.create_group(str(root / name), zarr_format=zarr_format, attributes=wrap(ome))

        group("plate", {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}})
        group("plate/A/1", {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        group("many", {"bioformats2raw.layout": 3})
        group("many/0", {}), group("many/1", {})
        group("labels", {"labels": ["nuclei", "cells"]})
        group("bare", {}).create_array("pixels", data=noise(8, 8))
        group("empty", {})
        for name, what in {
            "plate": f"is a plate of 2 wells; give an image in it: {root}/plate/A/1/0, {root}/plate/A/1/1",
            "plate/A/1": f"is a well; give an image in it: {root}/plate/A/1/0",
            "many": f"is a collection of images; give an image in it: {root}/many/0, {root}/many/1",
            "labels": f"is a group of labels; give an image in it: {root}/labels/nuclei, {root}/labels/cells",
            "bare": f"is a Zarr group without OME-Zarr metadata; give an image in it: {root}/bare/pixels",
            "empty": "is a Zarr group without OME-Zarr metadata; give an image in it",
        }.items():
            with pytest.raises(ImageError) as error:
                ZarrSource(root / name)
            assert str(error.value).startswith(f"{root / name}: {what}")


def test_damaged_metadata_are_one_line(tmp_path):
    path = write_image(tmp_path / "i.zarr", noise(20, 20), "yx")
    whole = (path / "zarr.json").read_text()
    for damaged in (
        "{",
        whole.replace('"y"', '"q"'),
        whole.replace('"path": "0"', '"path": "7"'),
        whole.replace('"datasets"', '"data"'),
        whole.replace("0.5,", '"a",'),
    ):
        (path / "zarr.json").write_text(damaged)
        with pytest.raises(ImageError, match=r"i.zarr: (its|has) .*; ?") as error:
            ZarrSource(path)
        assert "\n" not in str(error.value)
    (path / "zarr.json").unlink()
    (tmp_path / "file").touch()
    for missing in (path, tmp_path / "no.zarr", tmp_path / "file"):
        with pytest.raises(ImageError, match=r"is no Zarr image|cannot be read"):
            ZarrSource(missing)
    zarr.create_array(str(tmp_path / "c.zarr"), data=np.ones((8, 8), np.complex64))
    with pytest.raises(ImageError, match="no grey values"):
        ZarrSource(tmp_path / "c.zarr")


@pytest.mark.parametrize("value", ["zarr.json", "0/zarr.json", "0/c/0/0"])
def test_a_pipe_inside_a_zarr_is_refused_before_it_is_waited_for(tmp_path, value):
    path = write_image(tmp_path / "i.zarr", noise(40, 50, dtype=np.uint8), "yx", version="0.5", chunks=(64, 64))
    (path / value).unlink()
    os.mkfifo(path / value)
    with pytest.raises(ImageError, match=r"i\.zarr: .*is no file"), ZarrSource(path) as source:
        source.crop(0, source.info.region)


@pytest.mark.parametrize("codec", ["blosc", "zstd"])
def test_a_chunk_that_claims_more_than_itself_is_refused_before_it_is_decoded(tmp_path, codec):
    compressor = zarr.codecs.BloscCodec() if codec == "blosc" else zarr.codecs.ZstdCodec()
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(64, 64), chunks=(64, 64), dtype=np.uint8, compressors=compressor
    )
    array[:] = noise(64, 64, dtype=np.uint8)
    chunk = tmp_path / "a.zarr" / "c" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    if codec == "blosc":
        content[4:8] = (1 << 30).to_bytes(4, "little")
    else:
        content[:] = bytes.fromhex("28b52ffd") + b"\xa0" + (1 << 31).to_bytes(4, "little") + content[9:]
    chunk.write_bytes(content)
    with (
        ZarrSource(tmp_path / "a.zarr") as source,
        pytest.raises(ImageError, match=r"claims to decode to [12]\d{3} MB"),
    ):
        source.crop(0, source.info.region)


def test_examples_of_axes_are_true():
    assert doctest.testmod(axes).failed == 0


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("names", [("y", "x", "band"), ("band", "y", "x"), ("time", "y", "band", "x")])
def test_an_array_that_names_its_axes_is_read_by_them(tmp_path, names, zarr_format):
    sizes = {"y": 20, "x": 30, "band": 3, "time": 2}
    pixels = np.random.default_rng(1).integers(0, 255, [sizes[name] for name in names]).astype(np.uint8)
    options = {"dimension_names": names} if zarr_format == 3 else {"attributes": {"_ARRAY_DIMENSIONS": list(names)}}
    zarr.create_array(str(tmp_path / "a.zarr"), data=pixels, zarr_format=zarr_format, **options)
    ordered = np.moveaxis(pixels, names.index("band"), -1)
    ordered = np.moveaxis(ordered, -1, -3).reshape(-1, 3, 20, 30)
    with open_image(tmp_path / "a.zarr") as source:
        assert (source.info.pages, source.info.channels) == (2 if "time" in names else 1, 3)
        for page, expected in enumerate(ordered):
            np.testing.assert_array_equal(source.crop(page, source.info.region), expected)


def test_a_zarr_of_both_formats_is_read_without_a_word(tmp_path, recwarn):
    """zarr's own warning names the store, with the password that its URL may hold."""
    pixels = noise(64, 48)
    write_image(tmp_path / "image.zarr", pixels, "yx")
    (tmp_path / "image.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    with open_image(tmp_path / "image.zarr") as source:
        np.testing.assert_array_equal(source.crop(0, source.info.region)[0], pixels)
    assert not [each for each in recwarn if "zarr" in str(each.category).lower()]
