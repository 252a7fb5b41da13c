"""What OME-Zarr says of masks, by readers that are not ours, and of the image that labels lie in."""

import itertools
import os

import numpy as np
import pytest
from sink_conformance import image, regions

zarr = pytest.importorskip("zarr")
from sample_zarr import KINDS, noise, write_image  # noqa: E402

from unet_deploy.errors import UsageError  # noqa: E402
from unet_deploy.images.zarr_image import ZarrSource  # noqa: E402
from unet_deploy.masks import Keep, MaskForm  # noqa: E402
from unet_deploy.masks.zarr import ZarrMaskSink  # noqa: E402
from unet_deploy.tiling import Region  # noqa: E402

TALL = 1084


def sink(path, info=None, planes=1, dtype=np.uint8, classes=("background", "nucleus"), overwrite=False, **version):
    form = MaskForm(info or image(), planes, np.dtype(dtype), None, classes)
    return ZarrMaskSink(path, form, Keep(overwrite=overwrite), **version)


def tree_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


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


def write_pyramid(path, axes, shapes, version, translated=True):
    """An image of noise with levels of these shapes, placed as levels that show the same area are."""
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level, shape in enumerate(shapes):
        names = {} if version == "0.4" else {"dimension_names": list(axes)}
        group.create_array(str(level), data=noise(*shape), chunks=(64,) * len(shape), **names)
        steps = [round(finest / side, 3) for finest, side in zip(shapes[0], shape, strict=True)]
        placed = [{"type": "scale", "scale": [0.5 * step for step in steps]}]
        if translated:
            placed.append({"type": "translation", "translation": [(step - 1) / 4 for step in steps]})
        datasets.append({"path": str(level), "coordinateTransformations": placed})
    named = [{"name": axis, "type": KINDS[axis]} for axis in axes]
    multiscales = [
        {"name": "i", "axes": named, "datasets": datasets} | ({"version": "0.4"} if version == "0.4" else {})
    ]
    multiscales[0]["coordinateTransformations"] = [{"type": "scale", "scale": [2.0] * len(axes)}]
    ome = {"multiscales": multiscales}
    group.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **ome}})
    return path


PYRAMIDS = {
    "halves": ("yx", [(1300, 1101), (650, 550), (325, 275)]),
    "quarters": ("cyx", [(2, 1300, 1100), (2, 325, 275), (2, 82, 69)]),
    "columns alone": ("yx", [(300, 1200), (300, 400)]),
    "slices too": ("czyx", [(1, 5, 90, 80), (1, 3, 45, 40)]),
    "one": ("yx", [(1300, 1100)]),
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", PYRAMIDS)
@pytest.mark.parametrize("translated", [True, False])
def test_labels_have_the_levels_of_their_image(tmp_path, kind, version, translated):
    models = pytest.importorskip("ome_zarr_models")
    axes, shapes = PYRAMIDS[kind]
    path = write_pyramid(tmp_path / "i.zarr", axes, shapes, version, translated)
    assert type(models.open_ome_zarr(zarr.open_group(str(path), mode="r"))).__name__ == "Image"
    with ZarrSource(path, channel=0) as source:
        info, labels = (
            source.info,
            np.stack([source.crop(page, source.info.region) for page in range(source.info.pages)]),
        )
    with sink(path / "labels" / "cells", info) as mask:
        for page in range(info.pages):
            for region in regions(info.height, info.width, 700, 640):
                mask.write(page, region, labels[(page, slice(None), *region.slices)])
        mask.commit()
    assert type(models.open_ome_zarr(zarr.open_group(str(path), mode="r"))).__name__ == "Image"
    found = models.open_ome_zarr(zarr.open_group(str(path / "labels" / "cells"), mode="r"))
    assert type(found).__name__ == "ImageLabel"
    image, cells = (
        (attributes.get("ome", attributes))["multiscales"][0]
        for attributes in (zarr.open_group(str(each), mode="r").attrs for each in (path, path / "labels" / "cells"))
    )
    kept = [at for at, axis in enumerate(axes) if axis != "c"]

    def placed(steps):
        return [{"type": step["type"], step["type"]: [step[step["type"]][at] for at in kept]} for step in steps]

    assert placed(image["coordinateTransformations"]) == cells["coordinateTransformations"]
    finer = labels[:, 0].reshape([shapes[0][at] for at in kept])
    for level, (shape, dataset) in enumerate(zip(shapes, image["datasets"], strict=True)):
        array = zarr.open_array(str(path / "labels" / "cells" / str(level)), mode="r")
        assert array.shape == tuple(shape[at] for at in kept)
        assert cells["datasets"][level]["coordinateTransformations"] == placed(dataset["coordinateTransformations"])
        finer = finer[np.ix_(*map(under_centres, finer.shape, array.shape))]
        np.testing.assert_array_equal(array[...], finer)
    assert len(cells["datasets"]) == len(shapes)


def under_centres(finer, side):
    """The pixels whose centres are nearest to those of a coarser level, the earlier of two."""
    centres = (np.arange(side) + 0.5) * round(finer / side)
    return np.abs(np.arange(finer) + 0.5 - centres[:, None]).argmin(axis=1)


def test_labels_of_a_coarser_level_begin_with_it_and_say_where_it_lies(tmp_path):
    path = write_pyramid(tmp_path / "i.zarr", "yx", [(400, 300), (200, 150), (100, 75)], "0.5", translated=False)
    with ZarrSource(path, level=1) as source:
        info = source.info
    with sink(path, info) as mask:
        mask.write(0, Region(0, 0, 200, 150), np.ones((1, 200, 150), np.uint8))
        mask.commit()
    for level, step in enumerate((2, 4)):
        with ZarrSource(path / "labels" / "segmentation", level=level) as source:
            assert (source.info.height, source.info.width) == (400 // step, 300 // step)
            assert [(axis.scale, axis.offset) for axis in source.axes] == [(step, (step - 1) / 2)] * 2


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_xarray_knows_the_axes_of_a_mask(tmp_path, version):
    xarray = pytest.importorskip("xarray")
    with sink(tmp_path / "mask.zarr", image(2), version=version) as mask:
        for page in range(2):
            mask.write(page, Region(0, 0, 600, 700), np.full((1, 600, 700), page, np.uint8))
        mask.commit()
    opened = xarray.open_zarr(tmp_path / "mask.zarr", consolidated=False)
    assert opened["0"].dims == ("z", "y", "x")
    assert int(opened["0"].max()) == 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_arrays_of_a_mask_name_their_axes(tmp_path, version):
    with sink(tmp_path / "mask.zarr", version=version):
        tree = tmp_path / ".mask.zarr.part" / "tree"
        array = zarr.open_array(str(tree / "0"), mode="r")
        named = array.metadata.dimension_names if version == "0.5" else array.attrs["_ARRAY_DIMENSIONS"]
        assert list(named) == ["y", "x"]


def test_labels_of_no_image_are_refused_before_anything_is_made(tmp_path):
    zarr.create_group(str(tmp_path / "empty.zarr"))
    for name in ("nowhere.zarr", "empty.zarr", "plate.zarr/A/1"):
        for inside in ("labels/cells", "labels", "labels/more/cells"):
            with pytest.raises(UsageError, match=r"labels lie in their image, but .*zarr.* is no OME-Zarr image; give"):
                sink(tmp_path / name / inside)
    assert not (tmp_path / "nowhere.zarr").exists()
    (tmp_path / "labels").mkdir()  # of a data set, say
    with sink(tmp_path / "labels" / "a.zarr") as mask:
        assert mask.path.name == "a.zarr"


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
