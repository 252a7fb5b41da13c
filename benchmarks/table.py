"""Writes the tables of benchmarks/README.md and docs/results.md from the results: `python benchmarks/table.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- tables: python benchmarks/table.py -->\n", "<!-- end of tables -->\n"


def newest(name: str) -> dict[str, Any] | None:
    """The figures of the newest result of a benchmark."""
    found = sorted((HERE / "results").glob(f"*-{name}.json"))
    return json.loads(found[-1].read_text())["figures"] if found else None


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [f"**{title}**\n", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def times(figures: dict[str, Any], name: str) -> str:
    return f"{figures[f'times_{name}']:.2f}"


def tables() -> Iterator[str]:
    for side in (4096, 8192):
        if found := newest(f"large-image-{side}"):
            ours = ("OpenVINO fp32", "OpenVINO bf16", "OpenVINO int8")
            yield table(
                f"{side} x {side}, shipped model, file to file (`large_image.py`): seconds, and how many times ours",
                ["", "s", "MPx/s", "peak MB", "labels unlike exact", *(f"/ {name}" for name in ours)],
                [
                    [name, f"{row['seconds']['median']:.2f}", f"{row['mpx_per_s']:.2f}", f"{row['peak_mb']:.0f}",
                     f"{row['labels_unlike_exact']:.1e}", *(times(row, each) for each in ours)]
                    for name, row in found["rows"].items()
                ],
            )  # fmt: skip
    yield from by_itself()
    if found := newest("latency-512"):
        shipped, full = found["shipped"], found["original width"]
        yield table(
            "512 x 512, pixels to labels (`latency_512.py`): milliseconds, and share of the processor's peak",
            ["", "shipped, ms", "of peak", "31 million parameters, ms", "of peak"],
            [
                [name, f"{shipped[name]['seconds'] * 1e3:.0f}", percent(shipped[name]["of_peak"]),
                 f"{full[name]['seconds'] * 1e3:.0f}", percent(full[name]["of_peak"])]
                for name in shipped
            ],
        )  # fmt: skip
    for side in (1024, 2048):
        if not (found := newest(f"roofline-{side}")):
            continue
        yield table(
            f"{side} x {side}, 31 million parameters (`roofline.py`)",
            ["", "s", "of peak", "peak, GFLOP/s", "work over no halo at all", "peak MB"],
            [
                [name, f"{row['seconds']:.1f}", percent(row["of_peak"]), f"{row['peak_gflops']:.0f}",
                 f"{row['redundant']:.2f}", f"{row['peak_mb']:.0f}"]
                for name, row in found.items()
            ],
        )  # fmt: skip
    if found := newest("training-16"):
        yield table(
            f"Training, width {found['width']}, {found['batch']} tiles of {found['tile']} a step (`training.py`)",
            ["", "tiles a second", "times the seconds of this trainer", "share of time waiting for data"],
            [
                [name, f"{row['images_per_s']:.2f}", f"{row['times_ours']['median']:.2f}",
                 f"{row['waiting_for_data']:.1%}"]
                for name, row in found["rows"].items()
            ],
        )  # fmt: skip
    if found := newest("winograd"):
        yield table(
            "One tile in exact float32 by Winograd convolutions, ncnn (`winograd.py`)",
            ["width, side", "ncnn, s", "ONNX Runtime, s", "times faster", "probability apart", "ncnn, MB",
             "ONNX Runtime, MB"],
            [
                [name, f"{row['ncnn_seconds']['median']:.3f}", f"{row['onnxruntime_seconds']['median']:.3f}",
                 f"{row['speedup']['median']:.2f}", f"{row['worst_probability']:.0e}", f"{row['ncnn_peak_mb']:.0f}",
                 f"{row['onnxruntime_peak_mb']:.0f}"]
                for name, row in found["rows"].items()
            ],
        )  # fmt: skip
    if found := newest("scaling"):
        yield table(
            f"From 1k to {max(map(int, found['rows'])) // 1024}k pixels a side, {found['precision']}, "
            f"--max-memory {found['ceiling']} (`scaling.py`)",
            ["side", "s", "MPx/s", "peak MB"],
            [
                [side, f"{row['seconds']:.1f}", f"{row['mpx_per_s']:.2f}", f"{row['peak_mb']:.0f}"]
                for side, row in found["rows"].items()
            ],
        )
    if found := newest("ceiling"):
        yield table(
            f"A ceiling of {found['ceiling_mb']:.0f} MB (--max-memory {found['ceiling']}), objects included, "
            f"{found['precision']} (`ceiling.py`)",
            ["side", "tissue", "objects", "peak MB", "foreseen"],
            [
                [side, percent(row["tissue"]), str(row["objects"]), f"{row['peak_mb']:.0f}", row["foreseen"]]
                for side, row in found["rows"].items()
            ],
        )  # fmt: skip
    if found := newest("outputs"):
        yield table(
            f"{found['side']} x {found['side']}, shipped model, file to file: what a run pays for its files "
            "(`outputs.py`)",
            ["", "s", "without, s", "times as long (least to most)", "goal"],
            [
                [name, *(f"{row[key]['median']:.3g}" for key in ("seconds", "peer_seconds")),
                 f"{row['times']['median']:.3f} ({row['times']['least']:.3f} to {row['times']['most']:.3f})",
                 f"{row['goal']:.2f}"]
                for name, row in found["rows"].items()
            ],
        )  # fmt: skip
    if found := newest("sliding-window"):
        yield table(
            "512 x 512 by the predecessor, a patch classifier for every pixel (`sliding_window.py`)",
            ["", "s", "us a pixel", "times the U-Net"],
            [
                [name, f"{row['seconds']['median']:.1f}", f"{row['us_a_pixel']:.1f}", f"{row['times_unet']:.3g}"]
                for name, row in found.items()
            ],
        )
    if found := newest("row-streaming"):
        yield table(
            f"{found['side']} x {found['side']} in PyTorch, rows kept at each level (`row_streaming.py`)",
            ["", "s", "work over no halo at all", "peak MB", "labels unlike whole"],
            [
                [name, f"{found[name]['seconds']:.1f}", f"{found[name]['redundant']:.3f}",
                 f"{found[name]['peak_mb']:.0f}", f"{found[name]['labels_unlike_whole']:.1e}"]
                for name in ("rows", "tiles", "whole")
            ],
        )  # fmt: skip


def by_itself() -> Iterator[str]:
    """What a run takes where nobody says a precision."""
    if not (found := newest("precision")):
        return
    rows = {
        "float32, over no option": "fp32 / again",
        "the same, where bfloat16 is proved first": "fp32 / first",
        "share of the proof, in that run": "proof / first",
        f"{found['images']} images of 256 x 256, over the runtime alone": "folder / runtime",
        "the same in float32": "folder / runtime, fp32",
    }
    yield table(
        f"{found['side']} x {found['side']}, shipped model, file to file, no option (`precision.py`): "
        f"{found['labels_differ_ppm']:.3g} labels in a million differ from float32's",
        ["seconds over seconds", "times (least to most)"],
        [[what, str_of(found[name])] for what, name in rows.items()],
    )


EM = ("V_rand", "V_info", "Rand error", "pixel error", "warping error", "Dice")
AXON = ("Dice of myelin, all pixels", "Dice of axon, all pixels", "object F1 at IoU 0.5", "SEG")
ANSWERS = (("once", "once"), ("tta", "mean of 8 orientations"))
ABLATED = ("V_rand", "V_info", "pixel error")


PETA, DAY = 1e15, 86_400


def scale() -> Iterator[str]:
    """What a worker does, and what a petabyte of 8-bit pixels would take by that."""
    if not (found := newest("cluster")):
        return
    rows = found["rows"]
    yield table(
        f"{found['side']} x {found['side']}, {found['precision']}, shipped model, {found['rounds']} rounds",
        ["", "s", "MPx/s", "s to start and to end"],
        [
            [name, str_of(row["seconds"]), f"{row['mpx_per_s']:.2f}", f"{row['start']:.1f}"]
            for name, row in rows.items()
        ],
    )
    worker = rows["two workers, a processor each"]["mpx_per_s"] / 2
    days, grey = (PETA / 1e6 / rate / DAY for rate in (worker, found["grey_mpx_per_s"]))
    yield table(
        "10^15 pixels of 8 bits, by these figures",
        ["", ""],
        [
            ["efficiency of the second worker", str_of(found["efficiency"])],
            ["computing, days of one processor", f"{days:,.0f}"],
            ["grey scales, where the model measures them, days of one processor", f"{grey:,.0f}"],
            ["processors to be done in 30 days", f"{(days + grey) / 30:,.0f}"],
            ["reading by all of them together, twice, MB/s", f"{2 * PETA / 1e6 / (30 * DAY):,.0f}"],
            ["mask", f"{PETA * found['mask_bytes_a_pixel'] / 1e12:,.0f} TB"],
            ["files", f"{PETA / found['side'] ** 2 * found['files']:,.0f}"],
        ],
    )


def str_of(spread: dict[str, float]) -> str:
    return f"{spread['median']:.3g} ({spread['least']:.3g} to {spread['most']:.3g})"


def best(figures: dict[str, float], name: str) -> str:
    """A measure that is the best over thresholds, with its threshold."""
    key = next(each for each in figures if each.startswith(f"{name}, best at"))
    return f"{figures[key]:.4f} ({key[-3:]})"


def f1_and_dice(figures: dict[str, float]) -> str:
    return f"{figures['object F1 at IoU 0.5']:.3f} / {figures['Dice of nucleus, mean of images']:.3f}"


def quality() -> Iterator[str]:
    for path in sorted((HERE / "results").glob("*-quality-isbi-*.json")):
        found = json.loads(path.read_text())["figures"]
        yield table(
            f"ISBI 2012, trained on slices 0 to 23, scored on 24 to 29; width {found['width']}, {found['steps']} steps",
            ["", *(f"{name} (threshold)" for name in EM)],
            [
                [f"{which}, {title}", *(best(row[key], name) for name in EM)]
                for which, row in found["rows"].items()
                for key, title in ANSWERS
            ],
        )
    if found := newest("mistakes"):
        shares = [percent(value) for name, value in found.items() if name.startswith("within")]
        names = ("splits and mergers, pixels a slice", "of these around bodies", "bodies")
        yield table(
            "What that of width 16 gets wrong (`mistakes.py`): wrong pixels by their distance to the drawn edge, "
            "splits and mergers, and the bodies inside cells that they do not wall off",
            ["pixel error", "within 1 pixel", "within 2", "within 3", "warping error", *names],
            [
                [
                    f"{found['pixel error']:.4f}",
                    *shares,
                    f"{found['warping error']:.4f}",
                    *(f"{found[n]:.0f}" for n in names),
                ]
            ],
        )
    for path in sorted((HERE / "results").glob("*-quality-folds-*.json")):
        found = json.loads(path.read_text())["figures"]
        names = ("soft Dice, mean of all classes", "Dice of cell, all pixels")
        scores = {name: [row["tta"][name] for row in found["rows"].values()] for name in names}
        yield table(
            f"ISBI 2012, five folds of six neighbouring slices; width {found['width']}, {found['steps']} steps each, "
            "mean of 8 orientations",
            ["", *found["rows"], "mean"],
            [[name, *(f"{v:.4f}" for v in row), f"{sum(row) / len(row):.4f}"] for name, row in scores.items()],
        )
    for path in sorted((HERE / "results").glob("*-ablations-*.json")):
        found = json.loads(path.read_text())["figures"]
        yield table(
            f"ISBI 2012, the recipe without one part at a time; width 16, {found['steps']} steps, one seed",
            ["", *(f"{name} (threshold)" for name in ABLATED), "merged objects", "training, s"],
            [
                [name, *(best(row, each) for each in ABLATED),
                 str(row["objects merged into others"]), f"{row['training seconds']:.0f}"]
                for name, row in found["rows"].items()
            ],
        )  # fmt: skip
    for path in sorted((HERE / "results").glob("*-border-weights-*.json")):
        found = json.loads(path.read_text())["figures"]
        names = ("objects merged into others", "object F1 at IoU 0.5", "Dice of nucleus, all pixels", "SEG")
        yield table(
            f"Nuclei, every tenth image held back; width 16, {found['steps']} steps, one seed",
            ["", *names],
            [
                [name, str(row[names[0]]), *(f"{row[each]:.4f}" for each in names[1:])]
                for name, row in found["rows"].items()
            ],
        )
    if path := max((HERE / "results").glob("*-elsewhere-*.json"), default=None):
        found = json.loads(path.read_text())["figures"]
        beside = next(iter(found["rows"].values()))["beside"]
        yield table(
            f"Nuclei of a data set that was held out whole; width {found['width']}, {found['steps']} steps on the "
            "others, one seed (`elsewhere.py`): F1 at IoU 0.5 / Dice, mean of images",
            ["held out", "as the network says", "at its scale", "as `segment` does", *beside],
            [
                [name, *(f1_and_dice(row[how]) for how in ("as it is", "at its scale", "decided")),
                 *(f1_and_dice(figures) for figures in row["beside"].values())]
                for name, row in found["rows"].items()
            ],
        )  # fmt: skip
    if found := newest("travel"):
        held = [*next(iter(found["rows"].values()))]
        yield table(
            f"The recipe for other laboratories, one thing changed at a time; width 16, {found['steps']} steps on "
            f"{' and '.join(found['trained on'])} (`travel.py`): F1 at IoU 0.5 / Dice, mean of images, by seed",
            ["", *held],
            [[name, *(", ".join(map(f1_and_dice, row[each])) for each in held)] for name, row in found["rows"].items()],
        )
    if found := newest("trust"):
        yield table(
            "Confidence, which a run knows, and true F1 at IoU 0.5, of models that never saw these sets (`trust.py`)",
            ["images", "number", "F1, mean", "Spearman", f"F1 under {found['bad']:g}", "warned of", "others warned of"],
            [[name, *trust_row(row)] for name, row in found["rows"].items()],
        )
    if paths := sorted((HERE / "results").glob("*-quality-axons-*.json")):
        yield table(
            "Axons in scanning EM, three classes, 8 images to train on and 2 held back; without border weights",
            ["", *AXON],
            [row for path in paths for row in axon_rows(json.loads(path.read_text())["figures"])],
        )
    if found := newest("agreement"):
        pairs, shares = found["with one another"], found["wrong in all"]
        yield table(
            "Dice of myelin between these networks, all pixels, mean of 8 orientations (`agreement.py`)",
            ["with the annotator", "with one another", "their mean with the annotator", "wrong pixels, wrong in all"],
            [
                [
                    ", ".join(f"{value:.4f}" for value in found["with the annotator"]),
                    f"{min(pairs):.3f} to {max(pairs):.3f}",
                    f"{found['their mean with the annotator']:.4f}",
                    f"{percent(min(shares))} to {percent(max(shares))}",
                ]
            ],
        )
    for path in sorted((HERE / "results").glob("*-axon-recipe-*.json")):
        found = json.loads(path.read_text())["figures"]
        yield table(
            f"The axon recipe, one thing changed at a time; width 16, {found['steps']} steps, once, one seed",
            ["", *AXON, "merged objects"],
            [
                [name, *(f"{row[each]:.4f}" for each in AXON), str(row["objects merged into others"])]
                for name, row in found["rows"].items()
            ],
        )


def trust_row(row: dict[str, Any]) -> list[str]:
    rank = "" if row["Spearman"] is None else f"{row['Spearman']:.2f}"
    counts = [str(row[each]) for each in ("bad", "bad, warned of", "good, warned of")]
    return [str(row["images"]), f"{row['F1, mean']:.2f}", rank, *counts]


def axon_rows(found: dict[str, Any]) -> Iterator[list[str]]:
    row = found["rows"]["two images"]
    deeper = re.search(r"--depth (\d)", row["command"])
    network = f"width {found['width']}, depth {deeper[1] if deeper else 4}, {found['steps']} steps"
    for key, title in ANSWERS:
        yield [f"{network}, {title}", *(f"{row[key][name]:.4f}" for name in AXON)]


def main() -> None:
    docs = HERE.parent / "docs"
    for page, found in ((HERE / "README.md", tables()), (docs / "results.md", quality()), (docs / "scale.md", scale())):
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(before + BEGIN + "\n" + "\n".join(found) + "\n" + END + after)


if __name__ == "__main__":
    main()
