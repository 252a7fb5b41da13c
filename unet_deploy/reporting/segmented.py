"""The page of one image that was segmented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from unet_deploy.reporting.account import Account
from unet_deploy.reporting.charts import histogram, shares
from unet_deploy.reporting.crops import EACH, ShownPlace
from unet_deploy.reporting.found import Found, Spread
from unet_deploy.reporting.markup import Markup, element, joined, number
from unet_deploy.reporting.page import page
from unet_deploy.reporting.parts import (
    card_section,
    chip,
    class_keys,
    facts,
    grid,
    key_figures,
    legend,
    machine_rows,
    memory_row,
    note,
    section,
    segmented_by,
    warning,
)
from unet_deploy.reporting.pictures import inline, jpeg
from unet_deploy.reporting.settings import settings_rows
from unet_deploy.reporting.survey import FIELD
from unet_deploy.system.colours import class_colour
from unet_deploy.system.words import bytes_text, time_text
from unet_deploy.tiling import Region

OVERVIEW = 1024
"""Pixels a side of the overview, at most."""
_OVERVIEW_BYTES, _PLACE_BYTES = 1_200_000, 150_000
"""Of a picture, at most: with two of each place, all together are less than 4.1 MB in the page."""

_TALL = 512
"""Pixels of the screen that a place takes from top to bottom, at most."""

_UNITS = {"area_px": "pixels", "area_um2": "square micrometres"}

_QUARTILES = ("least", "quarter", "median", "three_quarters", "most")

_RULES = (
    f"The {EACH} fields of {FIELD} x {FIELD} pixels with the most objects; the {EACH} in which the model is least "
    "certain, where it tells; the largest object and the smallest. No pixel is left out, and all pictures lie between "
    "the same two grey values; a frame is around the object, or around a field at the edge."
)


def segmented_page(account: Account, places: Sequence[ShownPlace], problem: str = "") -> str:
    """Return the page of an image. problem: why no places are shown, where so it is."""
    return page(
        PurePath(account.image).name or account.image,
        segmented_by(account.card, f" with {account.report.runtime}."),
        _trust(account),
        _key_figures(account),
        _overview(account),
        _places(places, problem),
        _found(account.found),
        _done(account),
        _went(account),
        card_section(account.card),
    )


def _trust(account: Account) -> Markup:
    trust = account.report.trust
    if not trust.doubts and trust.confidence is None:
        return note("How sure the model is of this mask is not known. Look at it.")
    if not trust.doubts:
        return note("Nothing that a run can see by itself speaks against this mask. Look at it all the same.")
    said = (f"{doubt[0].upper()}{doubt[1:]}." for doubt in trust.doubts)
    return warning("Look before you trust this mask.", *said)


def confidence(account: Account) -> Markup:
    """Return how sure the model is, or that it is not known."""
    sure = account.report.trust.confidence
    return Markup("-") if sure is None else number("confidence", sure, f"{sure:.3f}")


def _key_figures(account: Account) -> Markup:
    report, found = account.report, account.found
    spread = Spread.of(found.columns[found.area])
    median = Markup("-")
    if spread:
        unit = "µm²" if found.area == "area_um2" else "px"
        median = number(f"{found.area}.median", spread.median, f"{spread.median:.4g} {unit}")
    return key_figures(
        [
            ("objects", number("objects", report.objects or 0)),
            ("of the image is foreground", number("foreground", found.foreground, f"{100 * found.foreground:.2f} %")),
            ("median area", median),
            ("confidence", confidence(account)),
            ("for reading, computing, writing", number("seconds", report.timing.wall, time_text(report.timing.wall))),
        ]
    )


def _overview(account: Account) -> Markup:
    step, info = account.factor, account.report.image
    what = "A pixel is one of the image" if step == 1 else f"A pixel is the mean of {step} x {step} of the image"
    which = " The first page is shown." if info.pages > 1 else ""
    first = " The first channel is shown." if info.channels not in (1, 3) else ""
    height, width = account.overview.shape[:2]
    data, title = jpeg(account.overview, _OVERVIEW_BYTES), "The image with its mask"
    picture = inline(data, title, width=width, height=height, class_="overview")
    words = f"{what}, between the 0.5th and the 99.7th percentile.{which}{first}"
    return section(title, element("figure", picture), legend(class_keys(account.card.classes)), note(words))


def _places(places: Sequence[ShownPlace], problem: str) -> Markup:
    shown = element("div", *map(_place, places), class_="places")
    nothing = [note(problem or "No object was found, and no doubt is known.")] if not places else []
    return section("At full resolution", note(_RULES), shown, *nothing)


def _place(shown: ShownPlace) -> Markup:
    place, region = shown.place, shown.place.region
    height, width = shown.image.shape[:2]
    mark = [_mark(place.box, region)] if place.box and shown.is_upright else []
    both = ((shown.image, "the image"), (shown.with_mask, "with the mask"))
    pictures = (
        element(
            "div",
            inline(jpeg(picture, _PLACE_BYTES), f"{place.why}: {said}", width=width, height=height),
            *mark,
            style=f"max-width:{_TALL * width / height:.0f}px",
        )
        for picture, said in both
    )
    where = f"--roi {region.y},{region.x},{region.height},{region.width}"
    page_of = f"page {place.page}, " if place.page else ""
    said = element("b", f"{place.why[0].upper()}{place.why[1:]}"), element("br"), place.note, element("br")
    caption = element("figcaption", *said, page_of, element("code", where))
    return element("figure", element("div", *pictures, class_="pair"), caption)


def _mark(box: Region, shown: Region) -> Markup:
    """A frame around an object in a picture, a little wider than its box."""
    inside = box.moved(-shown.y, -shown.x)
    wide, tall = shown.width / 100, shown.height / 100
    style = f"left:{inside.x / wide - 2:.2f}%;top:{inside.y / tall - 2:.2f}%;"
    style += f"width:{inside.width / wide + 4:.2f}%;height:{inside.height / tall + 4:.2f}%"
    return element("span", class_="mark", style=style)


def _found(found: Found) -> Markup:
    colours = [None, *map(class_colour, range(1, len(found.classes)))]
    bar = shares(list(zip(found.classes, found.shares, colours, strict=True)))
    unit = _UNITS[found.area]
    drawn = [histogram(found.columns[found.area], f"area of objects, {unit}")]
    drawn += [histogram(found.columns[name], _words(name)) for name in found.intensities[:4]]
    blank = [note(f"{found.without_data} pixels hold no data and are of no class.")] if found.without_data else []
    return section(
        "What came out",
        bar,
        grid(["class", "pixels", "share", "objects"], [_class_row(found, label) for label in range(len(colours))]),
        *blank,
        element("div", *(element("figure", chart) for chart in drawn), class_="charts"),
        grid(["of objects", "mean", "least", "25 %", "median", "75 %", "largest"], _spread_rows(found)),
    )


def _words(column: str) -> str:
    """What a column of intensities is called."""
    channel = column.removeprefix("mean_intensity").removeprefix("_")
    return f"mean intensity of objects{f', channel {channel}' if channel else ''}"


def _class_row(found: Found, label: int) -> list[str]:
    name, share = found.classes[label], found.shares[label]
    objects = number(f"objects.{name}", found.objects(label)) if label else Markup("-")
    return [
        joined(chip(class_colour(label)), name) if label else name,
        number(f"pixels.{name}", found.pixels[label]),
        number(f"share.{name}", share, f"{100 * share:.3f} %"),
        objects,
    ]


def _spread_rows(found: Found) -> list[list[str]]:
    rows: list[list[str]] = []
    for name, values in found.columns.items():
        if spread := Spread.of(values):
            figures = {each: getattr(spread, each) for each in ("mean", *_QUARTILES)}
            cells = (number(f"{name}.{each}", value, f"{value:.5g}") for each, value in figures.items())
            rows.append([element("code", name), *cells])
    return rows


def _done(account: Account) -> Markup:
    report, info = account.report, account.report.image
    rows: list[tuple[str, str]] = [
        ("image", account.image),
        ("pages x channels", f"{info.pages} x {info.channels}, {info.dtype}"),
        ("height x width", f"{info.height} x {info.width} pixels"),
        ("pixel size", info.sizes.text() or "not recorded"),
        *([("map", info.on_map.name)] if info.on_map else []),
        *([("note", info.note)] if info.note else []),
        ("segmented", joined(number("megapixels", report.megapixels, f"{report.megapixels:.4g}"), " megapixels")),
        *_of_this_image(account),
        *settings_rows(account.options, account.card),
        ("files", joined(*(joined(element("code", str(path)), element("br")) for path in report.outputs))),
        *([("places of objects", report.places)] if report.places else []),
    ]
    return section("What was done", facts(rows))


def _of_this_image(account: Account) -> list[tuple[str, str]]:
    """What of an image was segmented, and how it was taken."""
    info, scaled, region = account.report.image, account.report.scaled, account.region
    taken = joined(number("scale", scaled.scale, f"{scaled.scale:.4g}"), f": {scaled}")
    rows: list[tuple[str, str]] = [("scale", taken)]
    if len(info.levels) > 1:
        rows.append(("level", f"{account.level} of {len(info.levels)}, 0 the finest"))
    if region != info.region:
        where = f"{region.height} x {region.width} pixels at ({region.y}, {region.x})"
        rows.append(("region", f"{where}; the rest of the mask is 0"))
    if account.report.nodata is not None:
        rows.append(("no data", f"{account.report.nodata} in the mask"))
    return rows


def _went(account: Account) -> Markup:
    report, timing, spent = account.report, account.report.timing, account.spent
    tiles, largest = report.image.pages * len(report.plan), f"{report.plan.input_height} x {report.plan.input_width}"
    stages = (
        ("getting ready: model, image, scale", "ready", spent.before),
        ("reading", "read", timing.read),
        ("computing", "compute", timing.compute),
        ("writing, and looking for this page", "write", timing.write),
        ("finishing: objects, files", "finish", spent.after),
    )
    times = grid(
        ["stage", "time"],
        ([stage, number(f"seconds.{name}", value, f"{value:.3g} s")] for stage, name, value in stages),
    )
    proof = report.why or str(report.proved or "none in this run: computed as the model says, or proved before")
    rows: list[tuple[str, str]] = [
        ("runtime", report.runtime),
        ("precision proved", proof),
        ("speed", f"{report.megapixels / timing.wall:.3g} megapixels a second"),
        memory_row(account.peak),
        ("memory allowed", bytes_text(account.allowed) if account.allowed else "by what is free"),
        (
            "tiles",
            joined(number("tiles", tiles), f" of at most {largest} pixels"),
        ),
    ]
    if timing.resumed:
        rows.append(("of an earlier run", joined(number("tiles_resumed", timing.resumed), " tiles")))
    if timing.skipped:
        rows.append(("skipped as background", joined(number("tiles_skipped", timing.skipped), " tiles")))
    if report.too_large:
        large = number("objects_too_large_to_part", report.too_large)
        rows.append(("too large to be parted", joined(large, " objects, which stayed whole")))
    side = note("Reading, computing and writing go on side by side: they add up to more than the time of all.")
    return section("How it went", times, side, facts([*rows, *machine_rows()]))
