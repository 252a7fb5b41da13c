"""A network that another toolkit exported becomes a model file, with its seams measured.

Such networks pad their convolutions: the answer is as large as the input, and wrong near a tile's edge, where the
network sees zeros instead of the image. How far the edge is felt is measured, and that much is cut off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_deploy.convert.answer import Activation, find_activation
from unet_deploy.convert.external import (
    Added,
    MeasuredGeometry,
    Network,
    Wrapping,
    least_side,
    measure_padded,
    measure_valid,
    read_network,
    wrap,
)
from unet_deploy.convert.seams import DEEPEST, Reach, SeamFinding, apart, look_for_seams
from unet_deploy.errors import UsageError, VerificationError
from unet_deploy.images import check_fits, open_image
from unet_deploy.images.grey import measure_page
from unet_deploy.masks.apart import check_apart
from unet_deploy.measure.verify import verify_tiled
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.onnx_file import save
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.onnxruntime import OnnxRuntime, measure_bytes_per_pixel
from unet_deploy.system.files import check_ends, check_free, replacing
from unet_deploy.tiling import Region

Padding = Literal["same", "valid"]

SEAMS = "worst seam, in probability"
"""What the card of an adopted model says of its seams."""


@dataclass(frozen=True)
class AdoptOptions:
    """What a person says of a network because its file does not. Raises UsageError where it contradicts itself."""

    padding: Padding = "same"
    """same: the answer is as large as the input; valid: it lacks a margin, which running the network shows."""
    stride: int = 32
    """Input sides grow by multiples of it; those of a padded network are multiples of it."""
    margin: int | None = None
    """Pixels a side to cut off a padded network's answer; by default the fewest that leave no seams."""
    channels: int | None = None
    """By default what the file says."""
    classes: tuple[str, ...] | None = None
    normalization: Normalization = field(default_factory=Normalization)
    mean: tuple[float, ...] = (0.0,)
    """Taken off normalised grey values: one number, or one for each channel."""
    std: tuple[float, ...] = (1.0,)
    """What they are then divided by."""
    activation: Activation = "auto"
    head: str | None = None
    """Which output, where the file has several."""

    def __post_init__(self) -> None:
        if self.stride < 1 or not all(self.std) or not np.isfinite([*self.mean, *self.std]).all():
            raise UsageError("--stride and --std: cannot be 0, nor --mean and --std NaN or infinite")
        if self.margin is None:
            return
        if self.padding == "valid":
            raise UsageError("--margin: is measured where there is no padding; leave it out")
        if not 0 <= self.margin <= DEEPEST:
            raise UsageError(f"--margin {self.margin}: take 0 to {DEEPEST} pixels, or leave it out to have it measured")
        if self.margin % self.stride:
            below = self.margin // self.stride * self.stride
            raise UsageError(
                f"--margin {self.margin}: is no multiple of --stride {self.stride}, so tiles would pool other pixels "
                f"together than the whole image does; take {below} or {below + self.stride}"
            )


@dataclass(frozen=True)
class AdoptReport:
    """What was made, and what was measured."""

    card: ModelCard
    agreement: Agreement
    """The tiled answer beside the one in one pass."""
    reach: Reach | None
    """Of a padded network."""
    whole_tile: tuple[str, ...]
    """Operators that look at a whole tile at once."""
    activation: Added
    """What was put behind the network to make probabilities of its answer."""


def adopt(
    model: Path,
    output: Path,
    options: AdoptOptions,
    *,
    image: Path | None = None,
    allow_seams: bool = False,
    overwrite: bool = False,
    **about: Any,
) -> AdoptReport:
    """Write a network that another toolkit exported as a model file, with its card (docs/model-file.md).

    image: what seams are measured on, by default noise. about: fields of the card that only people read.
    Raises ModelError for what cannot be adopted, UsageError for options that do not fit it, ImageError, and
    VerificationError where tiles leave seams that are not allowed; nothing is written then.
    """
    check_ends(output, "models", (".onnx",))
    check_apart([output], [model, *([image] if image else [])])
    check_free(output, overwrite=overwrite)
    network = read_network(model, channels=options.channels, head=options.head)
    geometry = (measure_padded if options.padding == "same" else measure_valid)(network, options.stride)
    mean, std = _by_channel(options, network.channels)
    card = ModelCard(
        channels=network.channels,
        classes=_classes(network, geometry.planes, options.classes),
        margin=geometry.lacks,
        stride=options.stride,
        base=geometry.side,
        normalization=options.normalization,
        precision="int8" if network.quantized else "fp32",
        **{"name": output.stem, **about},
    )
    tile = _real_tile(image, card, geometry, mean, std) if image else None
    activation = find_activation(network, geometry, options.activation, tile)
    wrapping = Wrapping(geometry.planes, activation, options.normalization, mean, std)
    with _picture(image, card) as seen, replacing(output, overwrite=overwrite) as beside:
        save(wrap(network, wrapping), card, beside)
        finding = look_for_seams(beside, seen, network, options.stride, padded=options.padding == "same")
        for margin in _margins(finding, options.margin, allow_seams=allow_seams):
            card = replace(card, margin=margin, base=least_side(network, geometry, margin, options.stride))
            proto = wrap(network, wrapping, crop=margin - geometry.lacks)
            save(proto, card, beside)
            with OnnxRuntime(beside, probabilities=True) as runtime:
                agreement = verify_tiled(runtime, seen).agreement
            if finding.holds(agreement, margin):
                break
        else:
            if not allow_seams:
                raise VerificationError(finding.refusal(agreement, margin))
        seams = {SEAMS: apart(agreement)}
        card = replace(card, metrics=seams, bytes_per_pixel=measure_bytes_per_pixel(beside))
        save(proto, card, beside)
    return AdoptReport(card, agreement, finding.reach, finding.whole_tile, activation)


def _margins(finding: SeamFinding, wanted: int | None, *, allow_seams: bool) -> list[int]:
    """The margins to try, in pixels: the one that was asked for, or those that may leave no seams."""
    return finding.margins(allow_seams=allow_seams) if wanted is None else [wanted]


def _by_channel(options: AdoptOptions, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for option, values in (("--mean", options.mean), ("--std", options.std)):
        if len(values) not in (1, channels):
            raise UsageError(f"{option}: {len(values)} numbers for {channels} channels; give one, or one for each")
    return options.mean, options.std


def _classes(network: Network, planes: int, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    count = max(2, planes)
    if wanted and len(wanted) != count:
        raise UsageError(f"--classes: {len(wanted)} names, but {network.path} tells {count} classes apart")
    numbered = ("foreground",) if count == 2 else tuple(f"class {index}" for index in range(1, count))
    return wanted or ("background", *numbered)


def _real_tile(
    image: Path, card: ModelCard, geometry: MeasuredGeometry, mean: tuple[float, ...], std: tuple[float, ...]
) -> np.ndarray:
    """The middle of an image, (C, side, side) float32, as the network will see it."""
    with open_image(image) as source:
        check_fits(source.info, card)
        grey, side = measure_page(source, 0, card.normalization), geometry.side
        corner = (max(0, (source.info.height - side) // 2), max(0, (source.info.width - side) // 2))
        pixels = source.read(0, Region(*corner, side, side)).astype(np.float32)
    offset, scale, off, by = (
        np.reshape(each, (-1, 1, 1)).astype(np.float32) for each in (grey.offset, grey.scale, mean, std)
    )
    return ((pixels - offset) * scale - off) / by


@contextmanager
def _picture(image: Path | None, card: ModelCard) -> Iterator[Path]:
    """An image to measure on: the one that was given, or noise."""
    if image:
        yield image
        return
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "noise.tif"
        _write_noise(card, path)
        yield path


def _write_noise(card: ModelCard, path: Path) -> None:
    """Noise at several scales, stronger towards one side: (C, 768, 768) float32.

    Normalised it is 0 to 1, or -2 to 2 where an offset says that the grey values are standardised.
    """
    from scipy import ndimage
    from tifffile import imwrite

    side, scales, grey = 768, (1, 3, 9, 27), card.normalization
    raw = np.random.default_rng(0).standard_normal((len(scales), card.channels, side, side))
    fields = [ndimage.gaussian_filter(each, (0, sigma, sigma)) * sigma for each, sigma in zip(raw, scales, strict=True)]
    field = np.linspace(0.2, 1.8, side) * sum(fields) / np.std(sum(fields))
    noise = np.clip(0.5 + 0.2 * field, 0, 1)
    if grey.method == "fixed":
        noise = (4 * noise - 2 if grey.offset else noise) / grey.scale + grey.offset
    imwrite(path, noise.astype(np.float32), photometric="minisblack", metadata={"axes": "CYX"})
