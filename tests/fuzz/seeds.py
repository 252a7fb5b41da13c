"""Valid inputs of every kind, small: what the mutators begin with. Each function fills a folder of its own.

A seed is a folder with `in/`, which a command reads, and `out/`, to which it writes; a run that was broken off has left
something there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import tifffile
from cells import cells
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from PIL import Image

from unet_deploy.model.card import ModelCard, Normalization

SIDES = 64, 70


def picture(*, sides: tuple[int, int] = SIDES, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Cells and noise, (H, W)."""
    image = cells(np.random.default_rng(seed), max(sides))[0][: sides[0], : sides[1]]
    return (image * (1 if dtype == np.uint8 else 100)).astype(dtype)


def image_file(place: Path, **options: object) -> None:
    (place / "in").mkdir(parents=True)
    tifffile.imwrite(place / "in" / "image.tif", **{"data": picture(), **options})


# -- images ----------------------------------------------------------------------------------------------------------


def tiffs(place: Path) -> None:
    """Layouts, numbers, codecs and tags as instruments and programs write them."""
    grey, deep = picture(), picture(dtype=np.uint16)
    colour = np.stack([grey, 255 - grey, grey // 2], -1)
    tile = {"tile": (32, 32)}
    options: dict[str, dict] = {
        "strips": {"rowsperstrip": 16, "metadata": None},
        "tiled": {**tile, "photometric": "minisblack"},
        "bigtiff": {**tile, "bigtiff": True, "byteorder": ">"},
        "lzw": {"data": deep, "compression": "lzw", "predictor": True, "rowsperstrip": 8},
        "deflate": {**tile, "data": deep, "compression": "zlib", "predictor": 2},
        "zstd": {**tile, "data": grey.astype(np.float32), "compression": "zstd", "predictor": 3},
        "jpeg": {**tile, "data": colour, "compression": "jpeg", "photometric": "ycbcr"},
        "jpeg2000": {**tile, "compression": "jpeg2000"},
        "webp": {**tile, "data": colour, "compression": "webp", "photometric": "rgb"},
        "lerc": {**tile, "data": grey.astype(np.float32), "compression": "lerc"},
        "packbits": {"compression": "packbits"},
        "planar": {"data": colour.transpose(2, 0, 1), "photometric": "rgb", "planarconfig": "separate"},
        "imagej": {"data": np.stack([deep] * 3)[:, None], "imagej": True, "metadata": {"axes": "TCYX", "unit": "um"}},
        "palette": {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 200},
        "nodata": {"data": deep.astype(np.int16), "extratags": [(42113, 2, 6, "-9999", True)]},
        "bits": {"data": grey > 90, "photometric": "miniswhite"},
        "oriented": {"extratags": [(274, 3, 1, 6, True)], "resolution": (2e4, 1e4), "resolutionunit": 3},
    }
    for name, asked in options.items():
        image_file(place / name, **asked)
    (place / "pyramid" / "in").mkdir(parents=True)
    with tifffile.TiffWriter(place / "pyramid" / "in" / "image.tif", ome=True, bigtiff=True) as tiff:
        about = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5}
        tiff.write(np.stack([grey, 255 - grey]), subifds=1, metadata=about, tile=(32, 32))
        tiff.write(np.stack([grey, 255 - grey])[:, ::2, ::2], subfiletype=1, tile=(32, 32), metadata=None)


def pngs(place: Path) -> None:
    grey = Image.fromarray(picture())
    kinds = {
        "grey": grey,
        "deep": Image.fromarray(picture(dtype=np.uint16)),
        "palette": grey.convert("P"),
        "bits": grey.convert("1"),
        "alpha": Image.merge("RGBA", [grey] * 4),
    }
    for name, image in kinds.items():
        (place / name / "in").mkdir(parents=True)
        image.save(place / name / "in" / "image.png", dpi=(300, 300))


def jpegs(place: Path) -> None:
    grey = Image.fromarray(picture())
    exif = Image.Exif()
    exif[274], exif[282], exif[296] = 6, 300.0, 2
    colour = Image.merge("RGB", [grey] * 3)
    kinds = {
        "grey": (grey, {}),
        "progressive": (colour, {"progressive": True}),
        "oriented": (grey, {"exif": exif}),
        "cmyk": (colour.convert("CMYK"), {}),
        "restarts": (colour, {"restart_marker_blocks": 2}),
    }
    for name, (image, options) in kinds.items():
        (place / name / "in").mkdir(parents=True)
        image.save(place / name / "in" / "image.jpg", **options)


def zarrs(place: Path) -> None:
    """OME-Zarr of both versions, shards, several codecs, and arrays without metadata."""
    import numcodecs
    import zarr
    from sample_zarr import write_image
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    deep = np.stack([picture(dtype=np.uint16)] * 2)
    flat = {"chunks": (1, 32, 32)}
    options: dict[str, dict] = {
        "v2": {"version": "0.4", "compressors": numcodecs.Blosc()},
        "v2-zstd": {"version": "0.4", "compressors": numcodecs.Zstd()},
        "v3": {"compressors": ZstdCodec()},
        "v3-blosc": {"compressors": BloscCodec()},
        "v3-gzip": {"compressors": GzipCodec()},
        "sharded": {"shards": (1, 64, 64)},
    }
    for name, asked in options.items():
        (place / name / "in").mkdir(parents=True)
        write_image(place / name / "in" / "image.zarr", deep, "cyx", **flat, **asked)
    for version in (2, 3):
        (place / f"plain{version}" / "in").mkdir(parents=True)
        store = str(place / f"plain{version}" / "in" / "image.zarr")
        zarr.create_array(store, data=picture(), chunks=(32, 32), zarr_format=version)


# -- models ----------------------------------------------------------------------------------------------------------


def tiny(path: Path, channels: int = 1, normalization: Normalization | None = None) -> None:
    """A U-Net of one channel a level with random weights."""
    import torch

    from trainer.export import build
    from trainer.unet import UNet
    from unet_deploy.model.onnx_file import save

    torch.manual_seed(7)
    net = UNet(channels, 2, width=1, depth=1).eval()
    grey = normalization or Normalization()
    card = ModelCard("tiny", channels, ("background", "cell"), net.margin, net.stride, net.base, grey, 0.5)
    save(build(net, card), card, path)


def models(place: Path) -> None:
    for name, grey in {"percentile": Normalization(), "fixed": Normalization("fixed", 10, 1 / 200)}.items():
        image_file(place / name)
        tiny(place / name / "in" / "model.onnx", normalization=grey)
    image_file(place / "outside")
    tiny(place / "inside.onnx")
    proto = onnx.load(place / "inside.onnx")
    (place / "inside.onnx").unlink()
    _save_outside(proto, place / "outside" / "in" / "model.onnx")


def _save_outside(proto: onnx.ModelProto, path: Path) -> None:
    """Write a model whose weights lie in a file beside it."""
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.HasField("raw_data"):
            set_external_data(tensor, f"{path.stem}.bin")
    onnx.save(proto, path)


def cards(place: Path) -> None:
    """A card on its own, which `put_card` brings into its model once it is changed."""
    image_file(place / "card")
    tiny(place / "card" / "in" / "model.onnx")
    proto = onnx.load(place / "card" / "in" / "model.onnx")
    (place / "card" / "in" / "card.json").write_text(proto.metadata_props[0].value)


def put_card(seed: Path) -> None:
    """Write the text of card.json into the model beside it, whatever it is."""
    proto = onnx.load(seed / "in" / "model.onnx")
    proto.metadata_props[0].value = (seed / "in" / "card.json").read_bytes().decode(errors="replace")
    onnx.save(proto, seed / "in" / "model.onnx")


def networks(place: Path) -> None:
    """Networks as another toolkit exports them: no card, other ports; weights inside and beside."""
    for name, last in {"logits": None, "sigmoid": "Sigmoid"}.items():
        (place / name / "in").mkdir(parents=True)
        onnx.save(_network(last), place / name / "in" / "network.onnx")
    (place / "outside" / "in").mkdir(parents=True)
    _save_outside(_network(None), place / "outside" / "in" / "network.onnx")


def _network(last: str | None) -> onnx.ModelProto:
    """Convolution, pooling, upsampling, convolution: as large an answer as the input, one plane."""
    rng = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], **same),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["c", "w2"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["d", "w3"], ["e"], **same),
        helper.make_node(last or "Identity", ["e"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, 1, ["n", 1, f"h{name}", f"w{name}"]) for name in "xy"]
    constants = [weights("w1", 2, 1, 3, 3), weights("b1", 2), weights("w2", 2, 2, 2, 2), weights("w3", 1, 2, 3, 3)]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def engines(place: Path) -> None:
    """An engine's record beside bytes that are no engine: they may not be looked at before the record says so."""
    from unet_deploy.runtimes.tensorrt.options import BuildOptions, Profile
    from unet_deploy.runtimes.tensorrt.record import EngineRecord, record_path

    image_file(place / "engine")
    engine = place / "engine" / "in" / "model.engine"
    engine.write_bytes(b"not an engine" * 50)
    plan = sha256(engine.read_bytes()).hexdigest()
    card = ModelCard("cells", 1, ("background", "cell"), 20, 4, 44)
    options = BuildOptions(Profile((1, 44, 44), (2, 76, 92), (4, 108, 108)), targets=("sm86", "sm89"))
    record = EngineRecord(
        card, "model.onnx", "a" * 64, plan, "tensorrt", "10.3.0", "NVIDIA T4", ("7.5",), {"fp16": 2}, options
    )
    record_path(engine).write_text(record.to_json())


# -- data ------------------------------------------------------------------------------------------------------------


def folders(place: Path) -> None:
    """Folders of images: what `quantize` is given."""
    inner = place / "mixed" / "in" / "images"
    inner.mkdir(parents=True)
    tifffile.imwrite(inner / "a.tif", picture(), tile=(32, 32), compression="zlib")
    tifffile.imwrite(inner / "b.tif", picture(dtype=np.uint16, seed=1))
    Image.fromarray(picture(seed=2)).save(inner / "c.png")
    Image.fromarray(picture(seed=3)).save(inner / "d.jpg")


def annotated(place: Path) -> None:
    """Images and masks in folders: what `evaluate` and `train` read; its masks are what `score` reads."""
    root = place / "pairs" / "in"
    for kind in ("images", "masks"):
        (root / "data" / kind).mkdir(parents=True)
    for at, suffix in enumerate(("tif", "png", "tif")):
        image, objects = cells(np.random.default_rng(at), 64, 5)
        Image.fromarray(image).save(root / "data" / "images" / f"cell{at}.png")
        if suffix == "tif":
            tifffile.imwrite(root / "data" / "masks" / f"cell{at}.tif", objects, compression="zlib")
        else:
            Image.fromarray(objects.astype(np.uint8)).save(root / "data" / "masks" / f"cell{at}.png")
    tifffile.imwrite(root / "mask.tif", (objects > 0).astype(np.uint8), tile=(16, 16))
    tifffile.imwrite(root / "truth.tif", objects)


def left_by_others(place: Path) -> None:
    """The same as other programs leave it: masks beside images, data sets of nnU-Net, labels in OME-Zarr images."""
    import zarr
    from sample_zarr import write_image

    beside, cases, labelled = (place / name / "in" / "data" for name in ("cellpose", "nnunet", "zarr"))
    for folder in (beside, cases / "imagesTr", cases / "labelsTr", labelled):
        folder.mkdir(parents=True)
    for at in range(3):
        image, objects = cells(np.random.default_rng(at), 64, 5)
        tifffile.imwrite(beside / f"{at}.tif", image)
        np.save(beside / f"{at}_seg.npy", objects)
        tifffile.imwrite(cases / "imagesTr" / f"{at}_0000.tif", image)
        tifffile.imwrite(cases / "labelsTr" / f"{at}.tif", (objects > 0).astype(np.uint8) + 2 * (objects == 1))
        write_image(labelled / f"{at}.zarr", image, "yx")
        write_image(labelled / f"{at}.zarr" / "labels" / "cells", objects, "yx")
        group = zarr.open_group(str(labelled / f"{at}.zarr" / "labels"), mode="a")
        group.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    named = {"background": 0, "cell": 1, "ignore": 3}
    said = {"channel_names": {"0": "DAPI"}, "labels": named, "numTraining": 3, "file_ending": ".tif"}
    (cases / "dataset.json").write_text(json.dumps(said))
    for name in ("geojson", "labelme", "coco", "roi"):
        (place / name / "in" / "data").mkdir(parents=True)
        _drawn(place / name / "in" / "data", name)


def _drawn(folder: Path, kind: str) -> None:
    """An image with two shapes that were drawn on it, in a file of this kind."""
    tifffile.imwrite(folder / "a.tif", cells(np.random.default_rng(1), 64, 5)[0])
    ring, other = [[4, 4], [30, 4], [30, 30], [4, 30]], [[32.5, 8], [50, 12], [40.25, 33]]
    sides = {"imageHeight": 64, "imageWidth": 64}
    if kind == "geojson":
        shapes = [{"type": "Polygon", "coordinates": [[*each, each[0]]]} for each in (ring, other)]
        about = {"objectType": "annotation", "classification": {"name": "cell", "color": [1, 2, 3]}}
        features = [{"type": "Feature", "geometry": shape, "properties": about} for shape in shapes]
        (folder / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    elif kind == "labelme":
        shapes = [
            {"label": "cell", "points": each, "shape_type": "polygon", "group_id": None} for each in (ring, other)
        ]
        (folder / "a.json").write_text(json.dumps({"shapes": shapes, **sides}))
    elif kind == "coco":
        runs = {"size": [64, 64], "counts": [500, 8, 56, 8, 3524]}
        drawn = ([[*ring[0], *ring[1], *ring[2]]], runs)
        said = [{"id": at, "image_id": 3, "category_id": 1, "segmentation": each} for at, each in enumerate(drawn)]
        image = {"id": 3, "file_name": "a.tif", "height": 64, "width": 64}
        content = {"images": [image], "annotations": said, "categories": [{"id": 1, "name": "cell"}]}
        (folder / "annotations.json").write_text(json.dumps(content))
    else:
        corners = np.array(ring, np.int16) - 4
        head = struct.pack(">4shBxhhhhh", b"Iout", 228, 0, 4, 4, 30, 30, len(ring)).ljust(64, b"\0")
        (folder / "a.roi").write_bytes(head + corners.T.astype(">i2").tobytes())


def unfinished(place: Path) -> None:
    """Runs that were broken off in the middle, with the same image's whole mask beside them in `whole/`."""
    for name, mask, extra in (("tiff", "mask.tif", {}), ("objects", "mask.tif", _OBJECTS), ("zarr", "mask.zarr", {})):
        image_file(place / name, data=np.tile(picture(sides=(300, 350)), (2, 2)), tile=(256, 256))
        for folder in ("out", "whole", "models"):
            (place / name / folder).mkdir()
        tiny(place / name / "models" / "model.onnx")
        _break_off(place / name, mask, extra)
        words = [f"--{kind} {{seed}}/out/{file}" for kind, file in extra.items()]
        words += ["--tile-size 300 --runtime onnxruntime --no-progress --resume"]
        given = f"segment {{seed}}/in/image.tif -m {{seed}}/models/model.onnx -o {{seed}}/out/{mask} "
        (place / name / "command").write_text(given + " ".join(words))


_OBJECTS = {"objects": "cells.csv", "instances": "ids.tif"}


def _break_off(place: Path, mask: str, extra: dict[str, str]) -> None:
    from unet_deploy import open_model
    from unet_deploy.segmentation.run import Options, Outputs, segment_file

    def run(folder: str) -> None:
        given = {name: place / folder / file for name, file in extra.items()}
        outputs = Outputs.beside(place / folder / mask, **given)
        segment_file(place / "in" / "image.tif", outputs, runtime, Options(tile_size=300))

    with open_model(place / "models" / "model.onnx", device="cpu", runtime="onnxruntime") as runtime:
        run("whole")
        runtime.submit = _failing_after(7, runtime.submit)
        try:
            run("out")
        except RuntimeError:
            return
    raise AssertionError("the run was to be broken off")


def _failing_after(calls: int, submit: Callable) -> Callable:
    left = iter(range(calls))

    def failing(*given: object) -> object:
        if next(left, None) is None:
            raise RuntimeError("broken off")
        return submit(*given)

    return failing


def weights(place: Path) -> None:
    """What `train` leaves: weights and a checkpoint."""
    from cli.in_process import run

    annotated(place)
    folder = place / "pairs"
    words = ["train", folder / "in" / "data", "-o", folder / "in" / "weights.pt", "--steps", 1, "--width", 2]
    assert run(*words, "--depth", 1, "--no-progress", "--tile-size", 18) == 0
