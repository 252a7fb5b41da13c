"""A whole page, and how it becomes a file."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from unet_deploy._version import __version__
from unet_deploy.errors import UsageError
from unet_deploy.reporting.markup import Markup, element, joined
from unet_deploy.system.files import check_free, check_room, replacing

_MAKER = "unet-deploy"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing is fetched and nothing runs, whatever a name or a card says."""


def is_page_name(path: Path) -> bool:
    """Whether a name is that of a page."""
    return path.suffix.lower() in (".html", ".htm")


def check_page(path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Raise unless a page may be written under this name. resume: one that a run of ours wrote may be replaced.

    Raises UsageError and, where its folder cannot be written to, UnetDeployError.
    """
    if not is_page_name(path):
        raise UsageError(f"--report {path}: give a name that ends in .html")
    check_free(path, overwrite=overwrite or resume)
    check_room(path, 1)
    if resume and not overwrite and path.exists() and not _is_ours(path):
        raise UsageError(f"--report {path}: exists, and no run of ours wrote it; give another name, or --overwrite")


def page(title: str, *inside: str) -> str:
    """Return a page of its own: style and pictures are in it, and it runs nothing."""
    head = [
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="generator", content=f"{_MAKER} {__version__}"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name_="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))),
    ]
    body = element("main", element("h1", title), *inside, element("footer", f"Made by unet-deploy {__version__}."))
    return "<!doctype html>\n" + joined(element("html", element("head", *head), element("body", body), lang="en"))


def write_page(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a page, which appears when it is whole. Raises as `replacing`."""
    with replacing(path, overwrite=overwrite) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096).decode("utf-8", "replace")
    return re.search(rf'<meta name="generator" content="{_MAKER} [^"]*">', start) is not None
