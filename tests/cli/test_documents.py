"""Commands in README and documents are commands that there are, and those of a first image are run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from in_process import run

from unet_deploy.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "engines/README.md",
]
GROUP = typer.main.get_command(app)


def commands_of(page):
    """The words of every line of a page that is a command of ours, whole or between backquotes."""
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^ {0,4}(?:\S*/bin/)?unet-deploy (.*)$", text, re.MULTILINE)
    lines += re.findall(r"`unet-deploy ([a-z][^`]*)`", text)
    return [shlex.split(line, comments=True) for line in lines]


COMMANDS = [(page.name, words) for page in PAGES if page.name != "commands.md" for words in commands_of(page)]


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}"[:90] for page, words in COMMANDS]
)
def test_a_command_in_a_document_can_be_read(page, words):
    if words[0].startswith("-") or words[0].isupper():
        return
    try:
        GROUP.commands[words[0]].make_context(words[0], words[1:])
    except typer.TyperException as error:
        assert type(error).__name__ == "MissingParameter", error.format_message()  # a mention: `verify --tiled`


def test_the_first_image_is_as_its_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("mine.tif", (np.indices((200, 200)).sum(0) % 90).astype(np.uint8))
    (tmp_path / "images").mkdir()
    tifffile.imwrite("images/one.tif", np.zeros((100, 100), np.uint8))
    left_out = {"huge.svs", "doctor"}
    done = [words for words in commands_of(ROOT / "docs" / "first-image.md") if not left_out & {*words}]
    assert len(done) > 6
    for words in done:
        assert run(*words) == 0, (words, capsys.readouterr().err)
    assert {"mask.tif", "mask.overlay.png", "cells.csv", "mine.mask.objects.csv", "masks"} <= {
        path.name for path in tmp_path.iterdir()
    }
