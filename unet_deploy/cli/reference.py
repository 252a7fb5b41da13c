"""The reference of the command line, made of the commands themselves: `python -m unet_deploy.cli.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from unet_deploy.cli import show
from unet_deploy.cli.app import app

_HEAD = """# Every command and option

Made of the commands themselves by `make reference`; `unet-deploy COMMAND --help` says the same.
"""


def reference() -> str:
    """Return a Markdown page of every command with its arguments and options, in the order of --help."""
    group: Any = typer.main.get_command(app)
    commands = [each for each in group.commands.values() if not each.hidden]
    return "\n".join([_HEAD, *(line for each in commands for line in _command(each, typer.Context(group)))])


def _command(command: Any, above: typer.Context) -> Iterator[str]:
    context = type(above)(command, parent=above, info_name=f"unet-deploy {command.name}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## {command.name}\n\n{_one_line(command.help)}\n\n    unet-deploy {command.name} {usage}\n"
    rows = [each.get_help_record(context) for each in command.get_params(context) if each.name != "help"]
    if any(rows):
        yield "| option | what it is |\n|---|---|"
        yield from (f"| {_names(row[0])} | {_one_line(row[1]).replace('|', ' or ')} |" for row in rows if row)
        yield ""


def _names(shown: str) -> str:
    """The names of a parameter as code, without the bar that would end a cell."""
    return f"`{shown.replace('|', ' or ')}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    for line in reference().splitlines():
        show.answer(line)
