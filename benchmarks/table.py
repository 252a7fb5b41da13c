"""Writes the tables of benchmarks/README.md from the newest results: `python benchmarks/table.py`."""

from __future__ import annotations

import json
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


def main() -> None:
    readme = HERE / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(before + BEGIN + "\n" + "\n".join(tables()) + "\n" + END + after)


if __name__ == "__main__":
    main()
