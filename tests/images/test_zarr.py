"""Zarr in and out: every layout read alike, masks the same in whatever order and however often broken off."""

import http.server
import itertools
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

zarr = pytest.importorskip("zarr")
import numcodecs  # noqa: E402

from unet_deploy.errors import ImageError, UnetDeployError, UsageError  # noqa: E402
from unet_deploy.images import ImageInfo  # noqa: E402
from unet_deploy.images.zarr_image import ZarrSource  # noqa: E402
from unet_deploy.masks import Keep, MaskForm, chunks, part  # noqa: E402
from unet_deploy.masks.chunks import CHUNK, waiting_bytes  # noqa: E402
from unet_deploy.masks.part import read_key  # noqa: E402
from unet_deploy.masks.zarr import ZarrMaskSink  # noqa: E402
from unet_deploy.tiling import Region  # noqa: E402

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
KEY = {"image": [1, 2], "model": "abc"}
TALL, WIDE = CHUNK + 60, 2 * CHUNK + 90


def write_image(store, pixels, axes, *, version="0.5", unit="micrometer", scale=0.5, chunks=None, levels=2, **options):
    """An OME-Zarr image as others write it: with zarr and plain dictionaries."""
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scale * 2**level if a in "yx" else 1.0 for a in axes]}
            ],
        }
        for level in range(levels)
    ]
    named = [{"name": a, "type": KINDS[a]} | ({"unit": unit} if a in "yx" and unit else {}) for a in axes]
    multiscales = [{"name": "image", "axes": named, "datasets": datasets}]
    zarr_format = 2 if version == "0.4" else 3
    ome = {"version": "0.5", "multiscales": multiscales}
    if zarr_format == 2:
        multiscales[0]["version"] = "0.4"
        options.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    attributes = {"ome": ome} if zarr_format == 3 else {"multiscales": multiscales}
    group = zarr.create_group(str(store), zarr_format=zarr_format, attributes=attributes, overwrite=True)
    for level in range(levels):
        step = tuple(slice(None, None, 2**level if a in "yx" else 1) for a in axes)
        array = group.create_array(
            str(level), shape=pixels[step].shape, dtype=pixels.dtype, chunks=chunks or (16,) * pixels.ndim, **options
        )
        array[...] = pixels[step]
    return store


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(3).integers(1, 200, shape).astype(dtype)


def pages_of(pixels, axes):
    """(pages, C, H, W), computed another way than the source does."""
    for axis in "czt":
        if axis not in axes:
            pixels, axes = pixels[None], axis + axes
    lead = [axis for axis in axes if axis in "tz"]
    moved = np.einsum(f"{axes}->{''.join(lead)}cyx", pixels)
    return moved.reshape(-1, *moved.shape[2:])


# -- sources -------------------------------------------------------------------------------------------------


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
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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


# -- masks ---------------------------------------------------------------------------------------------------


def image(pages=1, height=600, width=700, pixel_size_um=0.25):
    return ImageInfo("image.tif", pages, 1, height, width, np.dtype("u1"), pixel_size_um)


def sink(
    path,
    info=None,
    planes=1,
    dtype=np.uint8,
    key=KEY,
    classes=("background", "nucleus"),
    region=None,
    resume=False,
    overwrite=False,
    **options,
):
    form = MaskForm(info or image(), planes, np.dtype(dtype), region, classes)
    return ZarrMaskSink(path, form, Keep(key, resume, overwrite), **options)


def regions(height, width, tall, wide):
    return [
        Region(y, x, min(tall, height - y), min(wide, width - x))
        for y in range(0, height, tall)
        for x in range(0, width, wide)
    ]


def fill(mask, truth, todo):
    for page, region in todo:
        mask.write(page, region, truth[(page, slice(None), *region.slices)])


def new_folder(parent, name):
    (parent / name).mkdir()
    return parent / name


def interrupt():
    raise KeyboardInterrupt


def tree_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@settings(max_examples=20)
@given(
    st.integers(1, 1400),
    st.integers(1, 2300),
    st.integers(200, 1200),
    st.integers(200, 1200),
    st.integers(1, 2),
    st.sampled_from([(1, np.uint8), (2, np.float32), (1, np.uint32)]),
    st.sampled_from(["0.4", "0.5"]),
    st.randoms(use_true_random=False),
)
def test_any_order_of_any_regions_gives_the_same_pixels(
    tmp_path_factory, height, width, tall, wide, pages, kind, version, random
):
    planes, dtype = kind
    truth = np.random.default_rng(1).integers(0, 3, (pages, planes, height, width)).astype(dtype)
    path = tmp_path_factory.mktemp("order") / "mask.zarr"
    jobs = [(page, region) for page in range(pages) for region in regions(height, width, tall, wide)]
    random.shuffle(jobs)
    with sink(path, image(pages, height, width), planes, dtype, version=version) as mask:
        fill(mask, truth, jobs)
        assert not path.exists()
        assert all(mask.has(*job) for job in jobs)
        np.testing.assert_array_equal(mask.read(*jobs[0]), truth[(jobs[0][0], slice(None), *jobs[0][1].slices)])
        mask.commit()
    assert os.listdir(path.parent) == ["mask.zarr"]
    levels = len(list(path.glob("[0-9]")))
    assert levels == 1 + (max(height, width) > 1024) + (max(height, width) > 2048)
    for level in range(levels):
        with ZarrSource(path, level=level) as source:
            info = source.info
            assert (info.pages, info.channels, info.dtype) == (pages, planes, dtype)
            assert info.pixel_size_um == 0.25 * 2**level
            found = np.stack([source.crop(page, Region(0, 0, info.height, info.width)) for page in range(pages)])
            np.testing.assert_array_equal(found, truth[..., :: 2**level, :: 2**level])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("pages", [1, 2])
def test_an_independent_reader_finds_labels_with_their_colours(tmp_path, version, pages):
    pytest.importorskip("ome_zarr_models")
    from ome_zarr_models import v04, v05

    path = tmp_path / "mask.zarr"
    info = image(pages, height=TALL, width=900)
    with sink(path, info, version=version, classes=("background", "nucleus", "cell")) as mask:
        for page, region in itertools.product(range(pages), regions(TALL, 900, 800, 900)):
            mask.write(page, region, np.ones((1, region.height, region.width), np.uint8))
        mask.commit()
    group = zarr.open_group(str(path), mode="r")
    label = (v04 if version == "0.4" else v05).ImageLabel.from_zarr(group)
    ome = label.attributes if version == "0.4" else label.attributes.ome
    colours = {each.label_value: each.rgba for each in ome.image_label.colors}
    assert colours == {1: (230, 159, 0, 255), 2: (86, 180, 233, 255)}
    multiscales = ome.multiscales[0]
    assert [axis.name for axis in multiscales.axes] == list("zyx"[-2 - (pages > 1) :])
    assert multiscales.axes[-1].unit == "micrometer"
    assert [each.coordinateTransformations[0].scale[-1] for each in multiscales.datasets] == [0.25, 0.5]
    assert group["0"].chunks[-2:] == (1024, 900)
    assert group.metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_probabilities_are_an_image_with_a_channel_for_each_class(tmp_path, version):
    path = tmp_path / "p.zarr"
    with sink(path, planes=2, dtype=np.float32, version=version) as mask:
        mask.write(0, Region(0, 0, 600, 700), np.full((2, 600, 700), 0.5, np.float32))
        mask.commit()
    models = pytest.importorskip("ome_zarr_models")
    found = models.open_ome_zarr(zarr.open_group(str(path), mode="r"))
    assert type(found).__name__ == "Image"
    attributes = zarr.open_group(str(path), mode="r").attrs
    omero = attributes.get("ome", attributes)["omero"]
    assert [(channel["label"], channel["color"]) for channel in omero["channels"]] == [
        ("background", "808080"),
        ("nucleus", "E69F00"),
    ]
    with sink(path, planes=2, dtype=np.float32, version=version, overwrite=True) as mask:
        assert not mask.resumed


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_go_into_their_image_and_its_list(tmp_path, version):
    models = pytest.importorskip("ome_zarr_models")
    path = write_image(tmp_path / "i.zarr", noise(2, 3, 40, 50), "tcyx", version=version)
    before = tree_of(path)
    with ZarrSource(path) as source:
        info = source.info
    for output, name in ((path / "labels" / "nuclei", "nuclei"), (path, "segmentation"), (path / "labels", None)):
        if name is None:
            with pytest.raises(UsageError, match="labels/segmentation exists; pass --overwrite"):
                sink(output, info)
            continue
        with sink(output, info) as mask:
            assert mask.path == path / "labels" / name
            for page in range(2):
                mask.write(page, Region(0, 0, 40, 50), np.full((1, 40, 50), page + 1, np.uint8))
            mask.commit()
    labels = models.open_ome_zarr(zarr.open_group(str(path / "labels"), mode="r"))
    assert type(labels).__name__ == "Labels"
    attributes = zarr.open_group(str(path / "labels"), mode="r").attrs
    assert attributes.get("ome", attributes)["labels"] == ["nuclei", "segmentation"]
    assert sorted(os.listdir(path / "labels")) == sorted(
        ["nuclei", "segmentation", *([".zgroup", ".zattrs"] if version == "0.4" else ["zarr.json"])]
    )
    with ZarrSource(path / "labels" / "nuclei") as source:
        assert [axis.name for axis in source.axes] == ["t", "y", "x"]
        assert source.info.pixel_size_um == 0.5
        assert (source.crop(1, Region(0, 0, 40, 50)) == 2).all()
    after = tree_of(path)
    assert {name: after[name] for name in before} == before


def test_an_image_is_never_replaced_nor_given_what_it_has_no_room_for(tmp_path):
    path = write_image(tmp_path / "i.zarr", noise(40, 50), "yx")
    info = image(height=40, width=50)
    with pytest.raises(UsageError, match="labels only"):
        sink(path, info, planes=2, dtype=np.float32, overwrite=True)
    with pytest.raises(UsageError, match=r"its masks go to .*/i.zarr/labels/NAME"):
        sink(path / "0", info, overwrite=True)
    with pytest.raises(UsageError, match="of another size"):
        sink(path, image(), overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="mine: is no OME-Zarr mask, so it is not replaced"):
        sink(tmp_path / "mine", overwrite=True)
    assert not (path / "labels").exists()


def test_a_region_is_written_and_the_rest_is_zero(tmp_path):
    path, region = tmp_path / "m.zarr", Region(100, 50, 300, 1500)
    with sink(path, image(height=1100, width=2200), region=region) as mask:
        mask.write(0, region, np.full((1, 300, 1500), 2, np.uint8))
        mask.commit()
    truth = np.zeros((1100, 2200), np.uint8)
    truth[region.slices] = 2
    np.testing.assert_array_equal(zarr.open_array(str(path / "0"), mode="r")[:], truth)
    assert sorted(os.listdir(path / "0" / "c")) == ["0"]


def test_a_mask_with_a_hole_is_never_committed(tmp_path):
    with sink(tmp_path / "m.zarr", image(height=TALL)) as mask:
        mask.write(0, Region(0, 0, 300, 700), np.ones((1, 300, 700), np.uint8))
        with pytest.raises(RuntimeError, match="2 chunks were never written"):
            mask.commit()
    assert os.listdir(tmp_path) == []


def test_an_existing_mask_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "m.zarr"
    for value, overwrite in ((1, False), (2, True)):
        with sink(path, image(height=10, width=10), overwrite=overwrite) as mask:
            mask.write(0, Region(0, 0, 10, 10), np.full((1, 10, 10), value, np.uint8))
            assert path.exists() == overwrite
            mask.commit()
        with pytest.raises(UsageError, match="exists; pass --overwrite"):
            sink(path)
        with ZarrSource(path) as source:
            assert (source.crop(0, Region(0, 0, 10, 10)) == value).all()
    assert os.listdir(tmp_path) == ["m.zarr"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_run_broken_off_anywhere_resumes_to_the_same_bytes(tmp_path, version):
    truth = np.random.default_rng(1).integers(0, 2, (2, 1, TALL, WIDE)).astype(np.uint8)
    truth[:, :, :CHUNK, :CHUNK] = 0  # a chunk of zeros counts as finished too
    info = image(2, TALL, WIDE)
    jobs = [(page, region) for page in range(2) for region in regions(TALL, WIDE, 500, 700)]
    with sink(new_folder(tmp_path, "once") / "m.zarr", info, version=version) as mask:
        fill(mask, truth, jobs)
        mask.commit()
    path = new_folder(tmp_path, "often") / "m.zarr"
    done = 0
    for stop in (2, 11, 17, len(jobs)):
        with sink(path, info, version=version, resume=True) as mask:
            known = [job for job in jobs if mask.has(*job)]
            assert mask.resumed == (stop > 11)
            assert len(known) >= done
            done = len(known)
            for page, region in known:
                np.testing.assert_array_equal(mask.read(page, region), truth[(page, slice(None), *region.slices)])
            fill(mask, truth, [job for job in jobs[:stop] if job not in known])
            if stop == len(jobs):
                mask.commit()
    assert done > 3
    assert tree_of(path) == tree_of(tmp_path / "once" / "m.zarr")
    assert os.listdir(path.parent) == ["m.zarr"]


@pytest.mark.parametrize(("step", "after"), [("chunks.shrink", 1), ("part.settle", 0)])
def test_a_commit_broken_off_is_finished_by_a_resume(tmp_path, monkeypatch, step, after):
    info, truth = image(1, TALL, WIDE), noise(1, 1, TALL, WIDE)
    whole = [(0, Region(0, 0, TALL, WIDE))]
    with sink(new_folder(tmp_path, "once") / "m.zarr", info) as mask:
        fill(mask, truth, whole)
        mask.commit()
    path = new_folder(tmp_path, "twice") / "m.zarr"
    calls = itertools.count()
    module, step = {"chunks": chunks, "part": part}[step.split(".")[0]], step.split(".")[1]
    real = getattr(module, step)
    with sink(path, info) as mask, monkeypatch.context() as patch:
        patch.setattr(module, step, lambda *args: real(*args) if next(calls) < after else interrupt())
        fill(mask, truth, whole)
        with pytest.raises(KeyboardInterrupt):
            mask.commit()
    with sink(path, info, resume=True) as mask:
        assert mask.resumed
        mask.commit()
    assert tree_of(path) == tree_of(tmp_path / "once" / "m.zarr")
    assert os.listdir(path.parent) == ["m.zarr"]


KILLED = """
import sys, os, signal
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_zarr import *
truth = noise(1, 1, TALL, WIDE)
with sink(Path(sys.argv[1]), image(1, TALL, WIDE)) as mask:
    fill(mask, truth, [(0, region) for region in regions(TALL, WIDE, 700, 700)[:7]])
    (mask.tree / "0" / "c" / "0" / "0.abc.partial").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_what_a_resume_goes_on_from(tmp_path):
    path = tmp_path / "m.zarr"
    code = subprocess.run([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)], check=False).returncode
    assert code == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".m.zarr.part"]
    assert read_key(path)["model"] == "abc"
    info, truth = image(1, TALL, WIDE), noise(1, 1, TALL, WIDE)
    with pytest.raises(UsageError, match=r"m.zarr: an unfinished run is kept beside it; go on with --resume, or start"):
        sink(path, info)
    with pytest.raises(UsageError, match="the unfinished run had another model; resume with the same, or start anew"):
        sink(path, info, key=KEY | {"model": "other"}, resume=True)
    with pytest.raises(UsageError, match="had another format of the mask"):
        sink(path, info, version="0.4", resume=True)
    damaged = tmp_path / ".m.zarr.part" / "tree" / "0" / "c" / "0" / "1"
    damaged.write_bytes(bytes(damaged.stat().st_size))  # as a power cut leaves it
    with sink(path, info, resume=True) as mask:
        assert mask.resumed
        assert mask.has(0, Region(0, 0, CHUNK, CHUNK))
        assert not mask.has(0, Region(0, CHUNK, 1, 1))
        fill(mask, truth, [(0, region) for region in regions(TALL, WIDE, 700, 700)])
        mask.commit()
    with sink(new_folder(tmp_path, "other") / "m.zarr", info) as mask:
        fill(mask, truth, [(0, region) for region in regions(TALL, WIDE, TALL, WIDE)])
        mask.commit()
    assert tree_of(path) == tree_of(tmp_path / "other" / "m.zarr")


def test_another_key_starts_anew_and_two_runs_do_not_meet(tmp_path):
    path = tmp_path / "m.zarr"
    with sink(path) as mask:
        mask.write(0, Region(0, 0, 600, 700), np.ones((1, 600, 700), np.uint8))
        with pytest.raises(UsageError, match="another run is writing it"):
            sink(path, resume=True)
    for options in ({"key": KEY | {"model": "other"}}, {"overwrite": True}):
        with sink(path, **options) as mask:
            assert not mask.resumed
            assert not mask.has(0, Region(0, 0, 600, 700))
            mask.write(0, Region(0, 0, 600, 700), np.ones((1, 600, 700), np.uint8))
    with sink(path, overwrite=True):
        pass
    assert os.listdir(tmp_path) == []
    assert read_key(path) == {}


WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_zarr import *
from unet_deploy.masks.chunks import ChunkWriter
tree, column = Path(sys.argv[1]), int(sys.argv[2])
truth = noise(1, 1, TALL, WIDE)
parts = [Region(y, column, min(600, TALL - y), min(CHUNK, WIDE - column)) for y in range(0, TALL, 600)]
fill(ChunkWriter(tree, tree), truth, [(0, part) for part in parts])
"""


def test_several_processes_write_different_chunks_of_one_mask(tmp_path):
    path = tmp_path / "m.zarr"
    with sink(path, image(1, TALL, WIDE)) as mask:
        here = str(Path(__file__).parent)
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, str(mask.tree), str(column), here]) for column in (0, CHUNK)
        ]
        last = Region(0, 2 * CHUNK, TALL, WIDE - 2 * CHUNK)
        fill(mask, noise(1, 1, TALL, WIDE), [(0, last)])
        assert [worker.wait() for worker in workers] == [0, 0]
        assert mask.has(0, Region(0, 0, TALL, WIDE))
        mask.commit()
    np.testing.assert_array_equal(zarr.open_array(str(path / "0"), mode="r")[:], noise(TALL, WIDE))


def test_chunks_that_wait_hold_no_more_than_is_said(tmp_path):
    most = 0
    with sink(tmp_path / "m.zarr", image(1, 2100, 3000)) as mask:
        for region in regions(2100, 3000, 700, 900):
            mask.write(0, region, np.ones((1, region.height, region.width), np.uint8))
            most = max(most, mask._writer.waiting)
    assert CHUNK**2 < most <= waiting_bytes(3000, 1, np.dtype("u1"))


def test_a_folder_that_is_missing_or_closed_is_one_line(tmp_path):
    with pytest.raises(UnetDeployError, match="there is no folder"):
        sink(tmp_path / "no" / "m.zarr")
    with pytest.raises(UnetDeployError, match=r"/proc/m.zarr: cannot be written"):
        sink(Path("/proc/m.zarr"))


FULL_DISK = """
import resource, sys, signal
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_zarr import *
from unet_deploy.errors import ResourceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with sink(Path(sys.argv[1]), image(1, 1024, 1024)) as mask:
        mask.write(0, Region(0, 0, 1024, 1024), noise(1, 1024, 1024))
        mask.commit()
except ResourceError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = tmp_path / "m.zarr"
    here = str(Path(__file__).parent)
    said = subprocess.check_output([sys.executable, "-c", FULL_DISK, str(path), here], text=True)
    assert said == f"{path}: no space left on its disk; free some and run again\n"
    assert os.listdir(tmp_path) == []
