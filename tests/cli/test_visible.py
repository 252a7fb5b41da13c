"""Text from outside never reaches a terminal raw: names of files, cards, tags and what servers say."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from in_process import run
from PIL import Image

import unet_deploy
from unet_deploy.cli import show
from unet_deploy.cli.text import columns, table
from unet_deploy.objects.files import inert, write_table
from unet_deploy.system.words import visible

NASTY = "a\x1b[31m\nb\t\r\x07\x7f\x9b2J\u202egpj\u2028c"
SHOWN = r"a\x1b[31m\nb\t\r\x07\x7f\x9b2J\u202egpj\u2028c"


def is_tame(text):
    return all(each == "\n" or each.isprintable() or each == " " for each in text)


@pytest.mark.parametrize("text", ["nuclei", "Zellkerne, 5 µm, Größe", "細胞核", "é̂", "a\u200db"])
def test_writing_of_any_language_stays_as_it_is(text):
    assert visible(text) == text


def test_what_a_terminal_obeys_is_an_escape_on_one_line():
    assert visible(NASTY) == SHOWN
    assert visible("name-\udc80") == r"name-\udc80"  # a byte of a file name that is no UTF-8
    assert is_tame(visible("".join(map(chr, range(0xA0)))))


def test_a_row_of_a_table_stays_one_line():
    assert table([("name", NASTY), (NASTY, "x")]).count("\n") == 1
    assert columns(["image", NASTY], [[NASTY, 0.5], ["b", 1.0]]).count("\n") == 2
    assert is_tame(table([(NASTY, NASTY)]) + columns([NASTY], [[NASTY]]))


@pytest.mark.parametrize("make", ["nothing", "junk", "image"])
def test_a_name_with_control_characters_is_one_tame_line(tmp_path, capsys, make):
    name = NASTY.replace("/", "")
    path = tmp_path / f"{name}.png"
    if make == "junk":
        path.write_bytes(b"junk")
    if make == "image":
        Image.fromarray(np.eye(120, dtype=np.uint8) * 200).save(path, "PNG")
    code = run("segment", path, "--model", "nuclei", "--no-progress", "--scale", "1")
    shown, said = capsys.readouterr()
    assert code == (0 if make == "image" else 3)
    assert is_tame(shown + said)
    assert SHOWN in shown + said
    assert len((shown + said).splitlines()) == (2 if make == "image" else 1)  # nothing was found, a line says
    assert run("segment", path, "--dry-run", "--overwrite") == code
    assert run("info", path) == code
    assert is_tame("".join(capsys.readouterr()))


def test_a_card_is_shown_tame(tmp_path, capsys, small_models):
    onnx = pytest.importorskip("onnx")
    text = Path(small_models["one"]).read_bytes()
    model = onnx.load_from_string(text)
    for entry in model.metadata_props:
        entry.value = entry.value.replace('"class 1"', r'"\u001b]0;owned\u0007\nclass"')
    onnx.save(model, tmp_path / "m.onnx")
    assert run("info", tmp_path / "m.onnx") in (0, 3)
    shown, said = capsys.readouterr()
    assert is_tame(shown + said)


def test_nothing_but_show_prints():
    """What is printed elsewhere would go round the one place that makes it tame."""
    package = Path(unet_deploy.__file__).parent
    printing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^ *print\(|typer\.echo|sys\.std(out|err)\.write", path.read_text(), re.MULTILINE)
    }
    assert printing <= {
        "cli/show.py",
        "cli/app.py",
        "runtimes/onnxruntime.py",
    }  # --version and --help; a child's script


def test_a_progress_bar_takes_a_name_as_it_is(monkeypatch, capsys):
    import sys

    from unet_deploy.cli.progress import progress_bar

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("[/red]\x1b]0;owned\x07.tif") as progress:
        progress(1, 2)
    said = capsys.readouterr().err
    assert "\x1b]0;" not in said
    assert r"[/red]\x1b]0;owned" in said.replace("\n", "")


def test_a_note_is_one_line(capsys):
    show.note("a\nb")
    show.answer("c\nd")
    assert capsys.readouterr() == ("c\\nd\n", "a\\nb\n")


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_name_that_a_spreadsheet_would_run_is_quoted(tmp_path, first):
    from unet_deploy.objects.records import row_type
    from unet_deploy.objects.table import ObjectTable

    name = f"{first}cmd|' /C calc'!A0"
    rows = np.zeros(2, row_type(1))
    rows["label"], rows["centroid_y"] = 1, -1.5
    write_table(tmp_path / "cells.csv", ObjectTable(rows, ("background", name)))
    with (tmp_path / "cells.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["class_name"] for row in found] == ["'" + name.replace("\r", "\\r").replace("\n", "\\n")] * 2
    assert found[0]["centroid_y"] == "-1.5"


def test_other_cells_stay_as_they_are():
    assert [inert(cell) for cell in ("nucleus", -3, -0.5, "5-HT", "")] == ["nucleus", -3, -0.5, "5-HT", ""]
