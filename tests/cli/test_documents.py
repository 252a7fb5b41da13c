"""Commands in README and documents are commands that there are, and those of a first image are run."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from command_line import unet_deploy
from in_process import run

from unet_deploy.cli import app

ROOT = Path(__file__).parents[2]
DOCS = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "commands.md"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS, ROOT / "engines/README.md"]
GROUP = typer.main.get_command(app)
LINE = re.compile(r"^ {0,4}(?:\S*/bin/)?unet-deploy (.*)$", re.MULTILINE)
MENTION = re.compile(r"`unet-deploy ([a-z][^`]*)`")


def commands_of(page, kind):
    """The words of every command of a page."""
    text = page.read_text().replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in kind.findall(text)]


def named(kind):
    found = [(page.name, words) for page in PAGES for words in commands_of(page, kind)]
    return [pytest.param(words, id=f"{page}: {' '.join(words)}"[:90]) for page, words in found]


@pytest.mark.parametrize("words", named(MENTION))
def test_a_mention_in_a_document_has_options_that_there_are(words):
    known = {name for each in GROUP.commands[words[0]].params for name in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("words", [each for each in named(LINE) if not each.values[0][0].startswith(("-", "COMMAND"))])
def test_a_command_in_a_document_can_be_read(words):
    GROUP.commands[words[0]].make_context(words[0], words[1:])


def test_the_first_image_is_as_its_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("mine.tif", (np.indices((200, 200)).sum(0) % 90).astype(np.uint8))
    left_out = {"huge.svs", "doctor"}
    done = [words for words in commands_of(ROOT / "docs" / "first-image.md", LINE) if not left_out & {*words}]
    assert len(done) >= 6
    for words in done:
        assert run(*words) == 0, (words, capsys.readouterr().err)
    assert {"mask.tif", "mask.overlay.png", "cells.csv", "mine.mask.objects.csv"} <= {
        path.name for path in tmp_path.iterdir()
    }


CHEAP = {"segment", "info", "verify", "export-triton"}
ELSEWHERE = {"mine.onnx", "cuda", "bf16", "--scheduler", "model.engine", "model.int8.onnx", "FILE", "images/"}
"""What takes a GPU, a cluster or a file that another command makes."""


def cheap():
    """Commands that a moment and small files are enough for, each once."""
    pages = [page for page in PAGES if page.name != "first-image.md"]
    found = {tuple(words): page.name for page in pages for words in commands_of(page, LINE)}
    able = {words: page for words, page in found.items() if words[0] in CHEAP and not ELSEWHERE & {*words}}
    return [pytest.param(words, id=f"{page}: {' '.join(words)}"[:90]) for words, page in able.items()]


@pytest.mark.parametrize("words", cheap())
def test_a_command_in_a_document_does_its_work(words, small_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = (np.indices((200, 200)).sum(0) % 90).astype(np.uint8)
    for name in ("big.tif", "huge.tif", "huge.svs", "image.tif", "real.tif", "slide.tif", "slide2.tif"):
        tifffile.imwrite(name, image)
    shutil.copy(small_models["one"], "model.onnx")
    if "--max-memory" in words:  # which counts all that this process holds by now
        unet_deploy(*words)
        return
    assert run(*words) == 0, capsys.readouterr().err
