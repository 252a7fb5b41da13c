"""What a model, an engine, an image and a comparison are, as names and values for people to read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from unet_deploy.annotations.classes import listed_names
from unet_deploy.errors import address
from unet_deploy.evaluation.kinds import MaskCode
from unet_deploy.images import ImageInfo
from unet_deploy.images.channels import numbered_names
from unet_deploy.masks.origin import Origin
from unet_deploy.measure.inspection import EngineFile, ImageFile
from unet_deploy.measure.verify import SeamCheck
from unet_deploy.model.card import ModelCard, Normalization
from unet_deploy.model.contract import LIMIT_PPM
from unet_deploy.model.decision import Decision
from unet_deploy.runtimes.agreement import TOLERANCE, Agreement
from unet_deploy.system.words import bytes_text

Rows = list[tuple[str, str]]
"""Names and values, for a table of two columns."""


def card_rows(card: ModelCard) -> Rows:
    """A model's card for people."""
    rows = [
        ("model", card.name),
        ("channels", str(card.channels)),
        ("classes", _classes(enumerate(card.classes))),
        ("margin", f"{card.margin} pixels a side"),
        ("input sides", f"{card.base} + k x {card.stride} pixels"),
        ("normalization", _normalization(card.normalization)),
        ("pixel size", f"{card.pixel_size_um:g} um" if card.pixel_size_um else "not recorded"),
        ("trained on", card.trained_on or "not recorded"),
        *_masks(card),
        *_decision(card.decision),
        *_limit(card),
        ("license", card.license or "not recorded"),
        *_parent(card),
        ("split", card.split or "not recorded"),
        ("seed", "not recorded" if card.seed is None else str(card.seed)),
        ("made by", card.command or "not recorded"),
    ]
    rows += [(name, f"{value:.4g}") for name, value in card.metrics.items()]
    rows.append(("evaluated on", card.evaluated_on or "not recorded"))
    return rows + [(name, f"{value:.4g}") for name, value in card.evaluation.items()]


def _classes(named: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{value} {name}" for value, name in named)


def _parent(card: ModelCard) -> Rows:
    """Which model it was made from, where it was made from one."""
    if card.parent is None:
        return []
    parent = card.parent
    words = parent.license or "licence not recorded", parent.trained_on or "data not recorded"
    return [("made from", f"{parent.name} (SHA-256 {parent.sha256[:12]}; {'; '.join(words)})")]


def _masks(card: ModelCard) -> Rows:
    """What the masks were that a model was trained on, where its card tells."""
    code = MaskCode.of_card(card)
    return [("masks", code.words)] if code else []


def _decision(decision: Decision) -> Rows:
    """How a model's answer becomes a mask and objects, where its card says more than any model's does."""
    rows = []
    if decision.diameter:
        known = (
            ""
            if decision.diameters is None
            else " ({:.3g} to {:.3g} are taken as they are)".format(*decision.diameters)
        )
        rows.append(("objects known best", f"{decision.diameter:.3g} px across{known}"))
    if decision.threshold != 0.5:
        rows.append(("threshold", f"{decision.threshold:g}"))
    kept = [f"of {decision.min_size:g} squared diameters and more"] if decision.min_size else []
    kept += ["holes filled"] if decision.fill_holes else []
    kept += [f"parted at necks {decision.split:g} diameters deep"] if decision.split else []
    kept += (
        [f"each part of {decision.min_part:g} squared diameters and more"]
        if decision.split and decision.min_part
        else []
    )
    kept += [f"sure to {decision.peak:g} somewhere"] if decision.peak else []
    if kept:
        rows.append(("objects", ", ".join(kept)))
    if decision.trusted_from:
        rows.append(("trusted", f"from a confidence of {decision.trusted_from:g} on"))
    return rows


def _limit(card: ModelCard) -> Rows:
    """How much less than float32 may change, where the card says it."""
    if card.limit_ppm == LIMIT_PPM:
        return []
    return [("in less than float32", f"{card.limit_ppm:g} labels in a million may differ")]


def _normalization(grey: Normalization) -> str:
    if grey.method == "fixed":
        return f"(grey - {grey.offset:g}) * {grey.scale:g}"
    return f"percentiles {grey.low:g} to {grey.high:g} of the whole page become 0 to 1"


def engine_rows(engine: EngineFile) -> Rows:
    """An engine's record for people."""
    record, limits, options = engine.record, engine.record.limits, engine.record.options
    sides = " to ".join(f"{high} x {wide}" for high, wide in dict.fromkeys((limits.least, limits.most)))
    layers = ", ".join(f"{count} {kind}" for kind, count in record.layers.items())
    unproved = "unverified: the first use on a GPU compares it with its model"
    return [
        ("engine", f"{engine.path.name}, {bytes_text(engine.size)}"),
        ("model", f"{record.card.name} ({record.model}), weights {record.weights_sha256[:12]}"),
        ("compiler", f"{record.compiler} {record.compiler_version}"),
        ("runs on", f"{record.gpu or 'any GPU'} of compute capability {', '.join(record.capabilities)}"),
        ("precision", f"{options.precision}; layers: {layers}"),
        ("tiles", f"{limits.batch} of {sides} pixels, {options.pixels}"),
        ("returns", "labels and probabilities" if options.probabilities else "labels"),
        ("accuracy", unproved if record.accuracy is None else str(record.accuracy)),
    ]


def image_rows(file: ImageFile) -> Rows:
    """What is known of an image or a mask, for people."""
    info = file.info
    decoded = info.pages * info.channels * info.height * info.width * info.dtype.itemsize
    pixels = f"{info.dtype}, {bytes_text(decoded)} decoded"
    is_mask = file.classes is not None or (file.origin is not None and info.dtype.kind == "u")
    rows = [
        ("mask" if is_mask else "image", info.name),
        ("pages", str(info.pages)),
        ("channels", _channels(info)),
        ("height x width", f"{info.height} x {info.width} pixels"),
        ("pixels", pixels if file.size is None else f"{pixels}, {bytes_text(file.size)} on disk"),
        ("pixel size", info.sizes.text() or "not recorded"),
    ]
    if info.on_map:
        area = info.on_map.pixel_m2
        rows.append(("map", info.on_map.name + (f", {area:.4g} square metres a pixel" if area else "")))
    if info.levels:
        rows.append(("levels", ", ".join(f"{height} x {width}" for height, width in info.levels)))
    if file.classes:
        rows.append(("classes", _classes(file.classes.items())))
    if file.origin:
        rows.append(("made of", _origin(file.origin)))
        if file.origin.classes and not file.classes:
            rows.append(("classes", listed_names(file.origin.classes)))
    return rows + ([("note", info.note)] if info.note else [])


def _origin(origin: Origin) -> str:
    channel = f", channel {origin.reading.channel}" if origin.reading.channel is not None else ""
    return f"{address(origin.image)}{channel}" + (f", level {origin.level}" if origin.level else "")


def _channels(info: ImageInfo) -> str:
    if info.channels == 1:
        return f"1 ({info.channel_names[0]})" if info.channel_names else "1"
    return numbered_names(info.channel_names) or str(info.channels)


def seam_rows(check: SeamCheck, image: Path) -> Rows:
    """How the tiled answer compares with the one in one pass."""
    seen, area, plan = check.agreement, check.region, check.plan
    return [
        ("compared", f"{area.height} x {area.width} pixels at ({area.y}, {area.x}) of {image}"),
        ("tiles", f"{len(plan)} of at most {plan.input_height} x {plan.input_width}, against one pass"),
        ("labels that differ", differing(seen)),
        ("worst probability", f"{seen.worst_probability:.2g} apart (limit {TOLERANCE:g})"),
    ]


def differing(seen: Agreement) -> str:
    """How many labels differ, and how many of them are ties."""
    return f"{seen.labels_differ} of {seen.pixels} ({seen.ties} of them ties)"
