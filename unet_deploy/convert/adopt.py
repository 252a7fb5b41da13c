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

from unet_deploy.convert.external import (
    Activation,
    Network,
    Wrapping,
    find_activation,
    least_side,
    measure_padded,
    measure_valid,
    read_network,
    whole_tile_operators,
    wrap,
)
from unet_deploy.errors import ModelError, UsageError, VerificationError
from unet_deploy.images import open_image
from unet_deploy.images.grey import measure_page
from unet_deploy.measure.verify import verify_tiled
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.ports import save
from unet_deploy.runtimes import Answer, Runtime
from unet_deploy.runtimes.agreement import TOLERANCE, Agreement
from unet_deploy.runtimes.onnxruntime import OnnxRuntime, measure_bytes_per_pixel
from unet_deploy.segmentation.run import check_fits
from unet_deploy.system.files import check_free, replacing
from unet_deploy.tiling import Region, legal_side

Padding = Literal["same", "valid"]

DEEPEST = 512
"""Largest margin in pixels: with a larger one a tile would be nearly all margin."""

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
        if self.stride < 1 or not all(self.std) or not self.normalization.scale:
            raise UsageError("--stride, --scale and --std: cannot be 0")
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
class Reach:
    """How far a tile's edge is felt. Index d stands for all pixels at least d from the edge."""

    worst: np.ndarray
    """(depth,) float: largest difference of a probability from where there was no edge."""
    labels: np.ndarray
    """(depth,) int: labels that differ, ties left out."""

    def seamless(self, stride: int, tolerance: float = TOLERANCE) -> int | None:
        """The least margin without a larger difference, in multiples of the stride."""
        return _first(self.worst[: DEEPEST + 1 : stride] <= tolerance, stride)

    def agreeing(self, stride: int) -> int | None:
        """The least margin without another label, in multiples of the stride."""
        return _first(self.labels[: DEEPEST + 1 : stride] == 0, stride)


def _first(holds: np.ndarray, stride: int) -> int | None:
    return int(holds.argmax()) * stride if holds.any() else None


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
    check_free(output, overwrite=overwrite)
    network = read_network(model, channels=options.channels, head=options.head)
    geometry = (measure_padded if options.padding == "same" else measure_valid)(network, options.stride)
    activation = find_activation(network, geometry.planes, options.activation)
    wrapping = Wrapping(geometry.planes, activation, options.normalization, *_by_channel(options, network.channels))
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
    with _picture(image, card) as seen, replacing(output, overwrite=overwrite) as beside:
        save(wrap(network, wrapping), card, beside)
        finding = _look(beside, seen, network, options)
        for margin in finding.margins(allow_seams=allow_seams):
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
        seams = {SEAMS: _apart(agreement)}
        card = replace(card, metrics=seams, bytes_per_pixel=measure_bytes_per_pixel(beside))
        save(proto, card, beside)
    return AdoptReport(card, agreement, finding.reach, finding.whole_tile)


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


# -- seams -------------------------------------------------------------------------------------------------------


def measure_reach(runtime: Runtime, image: Path, stride: int) -> Reach:
    """Compare the answer to a piece of an image with the answer to what is left when its left side is cut off.

    runtime: answers with probabilities, nothing of a padded network's answer cut off.
    """
    # An odd number of strides: a network that pools with twice the stride gives itself away.
    cut = ((_CUT // stride) // 2 * 2 + 1) * stride
    height = legal_side(DEEPEST, runtime.card)
    width = legal_side(DEEPEST + _TAIL, runtime.card) + cut
    with open_image(image) as source:
        check_fits(source.info, runtime.card)
        grey = measure_page(source, 0, runtime.card.normalization)
        middle = Region((source.info.height - height) // 2, (source.info.width - width) // 2, height, width)
        pixels = source.read(0, middle)
    whole, part = (_probabilities(runtime.submit([each], [grey])) for each in (pixels, pixels[:, :, cut:]))
    whole = whole[..., cut:]
    second, first = np.sort(whole, axis=0)[-2:]
    differ = (whole.argmax(0) != part.argmax(0)) & (first - second > TOLERANCE)
    apart = np.abs(whole - part).max(axis=(0, 1))
    return Reach(np.maximum.accumulate(apart[::-1])[::-1], differ.sum(axis=0)[::-1].cumsum()[::-1])


_CUT, _TAIL = 128, 128
"""Pixels that are cut off, at least, and that are looked at beyond the deepest margin."""


def _probabilities(answer: Answer) -> np.ndarray:
    """(K, h, w) float32 of a submission of one tile."""
    assert answer.probabilities is not None
    return answer.probabilities[0]


def _apart(agreement: Agreement) -> float:
    """The largest difference of a probability."""
    assert agreement.worst_probability is not None
    return agreement.worst_probability


@dataclass(frozen=True)
class _Finding:
    """What was seen of a network's seams before a margin was cut off."""

    network: Network
    options: AdoptOptions
    lacks: int
    reach: Reach | None
    whole_tile: tuple[str, ...]
    true_stride: int | None
    """A larger stride, with which there would be no seams."""

    def margins(self, *, allow_seams: bool) -> list[int]:
        """The margins to try, in pixels. Raises VerificationError where none is worth it."""
        if self.reach is None or self.options.margin is not None:
            return [self.lacks if self.options.margin is None else self.options.margin]
        stride = self.options.stride
        # Ten times less than may be: another image may feel the edge more, and a corner lacks more than a side.
        least = self.reach.seamless(stride, TOLERANCE / 10)
        least = self.reach.seamless(stride) if least is None else least
        if least is not None:
            return [margin for margin in range(least, least + 3 * stride, stride) if margin <= DEEPEST]
        agreeing = self.reach.agreeing(stride)
        if not allow_seams or agreeing is None:
            raise VerificationError(self._refusal(float(self.reach.worst[DEEPEST]), DEEPEST))
        return [agreeing]

    def holds(self, agreement: Agreement, margin: int) -> bool:
        return agreement.holds and (self.reach is None or bool(self.reach.worst[margin] <= TOLERANCE))

    def refusal(self, agreement: Agreement, margin: int) -> str:
        """What is wrong with a margin, and what to do, in one line."""
        worst = _apart(agreement)
        if self.reach is not None:
            worst = max(worst, float(self.reach.worst[margin]))
        return self._refusal(worst, margin)

    def _refusal(self, worst: float, margin: int) -> str:
        seams = f"{self.network.path}: with a margin of {margin} tiles leave seams, probabilities {worst:.2g} apart"
        return f"{seams}; {self._advice(margin)}"

    def _advice(self, margin: int) -> str:
        stride = self.options.stride
        least = agreeing = None
        if self.reach is not None:
            least, agreeing = self.reach.seamless(stride), self.reach.agreeing(stride)
        labels = "" if agreeing is None else f", and labels agree from {agreeing} on"
        if least is not None:
            return f"take --margin {least if least > margin else margin + stride}{labels}"
        if self.true_stride:
            return f"take --stride {self.true_stride}: with it there are none"
        why = (
            f"a tile's edge is felt beyond {DEEPEST} pixels" if self.reach else "its answer depends on the tile's place"
        )
        if self.whole_tile:
            why = f"no margin helps, as it looks at a whole tile at once ({', '.join(self.whole_tile)})"
        anyway = "--allow-seams" if self.reach is None else "--margin and --allow-seams"
        return f"{why}{labels}; to take it all the same pass {anyway}"


def _look(draft: Path, image: Path, network: Network, options: AdoptOptions) -> _Finding:
    """Measure seams of a network whose answer is not cropped. Raises ModelError where it gives no probabilities."""
    whole_tile, reach, true_stride = whole_tile_operators(network), None, None
    with OnnxRuntime(draft, probabilities=True) as runtime:
        _check_probabilities(runtime, image, network.path)
        if options.padding == "same":
            reach = measure_reach(runtime, image, options.stride)
            if reach.seamless(options.stride) is None:
                larger = (options.stride * factor for factor in (2, 4, 8))
                true_stride = next(
                    (each for each in larger if measure_reach(runtime, image, each).seamless(each) is not None), None
                )
        return _Finding(network, options, runtime.card.margin, reach, whole_tile, true_stride)


def _check_probabilities(runtime: Runtime, image: Path, model: Path) -> None:
    card = runtime.card
    with open_image(image) as source:
        check_fits(source.info, card)
        grey = measure_page(source, 0, card.normalization)
        answer = runtime.submit([source.read(0, Region(0, 0, card.base, card.base))], [grey])
    scores = _probabilities(answer)
    if not np.isfinite(scores).all():
        raise ModelError(f"{model}: answers NaN or infinity; check --normalization, --mean and --std")
    if scores.min() < -TOLERANCE or np.abs(scores.sum(axis=0) - 1).max() > _ONE:
        raise ModelError(f"{model}: its answer is no probabilities; leave --activation out, or say softmax or sigmoid")


_ONE = 1e-3
"""How far a sum of float32 probabilities may be from 1."""


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
