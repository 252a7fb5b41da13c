"""The examples in docstrings and documents are run, and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import unet_deploy

ROOT = Path(__file__).parents[1]


def name_of(file):
    """The module that a file of the packages is."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = [file for package in ("unet_deploy", "trainer") for file in sorted((ROOT / package).rglob("*.py"))]
MODULES = [name_of(file) for file in FILES if ">>> " in file.read_text()]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert attempted
    assert not failed


PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if ">>> " in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_the_documents_give_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert attempted
    assert not failed


def test_the_page_on_python_names_all_that_is_public():
    page = (ROOT / "docs" / "api.md").read_text()
    assert not [name for name in unet_deploy.__all__ if name not in page and name != "__version__"]
