"""Which kinds of input are tried, what reads each, and how a result is known to be right: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import checks, seeds

_SEGMENT = (
    "segment {seed}/in/{image} -m {models}/tiny.onnx --runtime onnxruntime --no-progress --channel 0 -o {seed}/out/"
)
_MODEL = "segment {seed}/in/image.tif -m {seed}/in/model.onnx --no-progress -o {seed}/out/mask.tif --runtime "
_ADOPT = "adopt {seed}/in/network.onnx -o {seed}/out/model.onnx --stride 2"
_QUANTIZE = "quantize {models}/tiny.onnx --calibration {seed}/in/images -o {seed}/out/model.onnx --limit 1e6 "


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    make: fills a folder with seeds. targets: patterns of the files of a seed of which one is changed.
    commands: what is run on a mutant, one word after another; all of `every` and one of `some`.
    prepare: what is done with a mutant before commands see it.
    right: says what is wrong with what a command made that ended with exit 0, if anything.
    """

    name: str
    make: Callable[[Path], None]
    targets: tuple[str, ...]
    every: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    right: Callable[[Path], str] = checks.nothing
    prepare: Callable[[Path], None] = checks.leave
    share: int = 10
    """How many of a hundred or so mutants are of this kind."""


def _image(name: str, make: Callable[[Path], None], image: str, *targets: str, share: int = 10) -> Kind:
    segment = _SEGMENT.replace("{image}", image)
    return Kind(
        name,
        make,
        targets or (f"in/{image}",),
        every=(f"info {{seed}}/in/{image}",),
        some=(
            segment + "mask.tif",
            segment + "mask.tif --probabilities --overlay --objects csv --instances tif",
            segment + "mask.zarr --objects geojson --skip-background",
            segment + "mask.ome.tif --max-memory 1GB --level 0",
        ),
        right=checks.mask_of_image,
        share=share,
    )


KINDS: tuple[Kind, ...] = (
    _image("TIFF", seeds.tiffs, "image.tif", share=30),
    _image("PNG", seeds.pngs, "image.png"),
    _image("JPEG", seeds.jpegs, "image.jpg"),
    _image("Zarr metadata", seeds.zarrs, "image.zarr", "in/**/*.json", "in/**/.z*", share=12),
    _image("Zarr chunks", seeds.zarrs, "image.zarr", "in/**/[0-9]*", share=8),
    Kind(
        "ONNX models",
        seeds.models,
        ("in/model.onnx", "in/model.onnx", "in/model.bin"),
        every=("info {seed}/in/model.onnx",),
        some=(
            _MODEL + "onnxruntime",
            _MODEL + "openvino",
            "verify --tiled {seed}/in/model.onnx {seed}/in/image.tif",
            "export-triton {seed}/in/model.onnx -o {seed}/out/served",
            "quantize {seed}/in/model.onnx --calibration {seed}/in/image.tif -o {seed}/out/model.onnx --no-progress",
        ),
        right=checks.outputs_open,
        share=15,
    ),
    Kind(
        "model cards",
        seeds.cards,
        ("in/card.json",),
        every=("info {seed}/in/model.onnx",),
        some=(_MODEL + "onnxruntime", _MODEL + "onnxruntime --level auto"),
        right=checks.outputs_open,
        prepare=seeds.put_card,
    ),
    Kind(
        "networks to adopt",
        seeds.networks,
        ("in/network.onnx", "in/network.onnx", "in/network.bin"),
        some=(
            _ADOPT,
            _ADOPT + " --normalization fixed --activation sigmoid",
        ),
        right=checks.outputs_open,
    ),
    Kind(
        "engine records",
        seeds.engines,
        ("in/model.engine.json", "in/model.engine.json", "in/model.engine"),
        every=("info {seed}/in/model.engine",),
        some=(
            "segment {seed}/in/image.tif -m {seed}/in/model.engine -o {seed}/out/mask.tif --no-progress",
            "export-triton {seed}/in/model.engine -o {seed}/out/served",
        ),
        right=checks.nothing,
        share=8,
    ),
    Kind(
        "calibration folders",
        seeds.folders,
        ("in/images/*",),
        some=(_QUANTIZE + "--no-progress",),
        right=checks.outputs_open,
        share=4,
    ),
    Kind(
        "unfinished runs",
        seeds.unfinished,
        ("out/.*.spool", "out/.mask.zarr.part/**/*"),
        some=("{command}",),
        right=checks.same_as_whole,
        share=8,
    ),
    Kind(
        "masks and truths",
        seeds.annotated,
        ("in/mask.tif", "in/truth.tif", "in/data/*/*"),
        every=("score {seed}/in/mask.tif {seed}/in/truth.tif",),
        some=("evaluate {models}/tiny.onnx {seed}/in/data --metrics all --no-progress --plot {seed}/out/worst.png",),
        share=8,
    ),
    Kind(
        "training data",
        seeds.annotated,
        ("in/data/*/*",),
        some=(
            "train {seed}/in/data -o {seed}/out/weights.pt --steps 1 --width 1 --depth 1 --tile-size 18 --no-progress",
        ),
        share=3,
    ),
    Kind(
        "data sets of other programs",
        seeds.left_by_others,
        (
            "in/data/*.*json",
            "in/data/*.roi",
            "in/data/*.npy",
            "in/data/*/labels/zarr.json",
            "in/data/*/labels/cells/zarr.json",
        ),
        some=(
            "evaluate {models}/tiny.onnx {seed}/in/data --no-progress",
            "train {seed}/in/data --dry-run --steps 1 --width 1 --depth 1 --tile-size 18",
        ),
        share=3,
    ),
    Kind(
        "weights",
        seeds.weights,
        ("in/weights.pt",),
        some=("export {seed}/in/weights.pt -o {seed}/out/model.onnx",),
        right=checks.outputs_open,
        share=6,
    ),
)
