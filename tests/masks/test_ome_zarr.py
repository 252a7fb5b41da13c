"""What OME-Zarr says of masks, by readers that are not ours, and of the image that labels lie in."""

import itertools
import os

import numpy as np
import pytest
from sink_conformance import image, regions

zarr = pytest.importorskip("zarr")
from sample_zarr import noise, write_image  # noqa: E402

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
