"""The application: how commands are registered, how their help is laid out, and how an error becomes one line.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from unet_deploy._version import __version__
from unet_deploy.cli.groups import spread
from unet_deploy.cli.show import note
from unet_deploy.errors import UnetDeployError
from unet_deploy.system.interrupt import ignore_interrupts

INTERRUPTED, OUT_OF_RESOURCES = 130, 6


# -- errors ----------------------------------------------------------------------------------------------------------


@contextmanager
def _errors_on_one_line(ctx: typer.Context) -> Iterator[None]:
    """Turn whatever a command line or a command raises into one line on stderr and an exit code."""
    try:
        yield
    except typer.TyperException as error:
        _fail(_reading(error, ctx.invoked_subcommand), error.exit_code)
    except UnetDeployError as error:
        _fail(str(error), error.exit_code)
    except MemoryError:
        _fail("out of memory; take a smaller --tile-size", OUT_OF_RESOURCES)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"{error.filename or 'output'}: the disk is full; free some space and run again", OUT_OF_RESOURCES)
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        ignore_interrupts()  # it ends now, however often it is asked to
        _fail("interrupted; no file was left half-written", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    note(f"error: {message}")
    raise typer.Exit(code)


def _reading(error: typer.TyperException, command: str | None) -> str:
    """What is wrong with a command line: the option and its value, or the command and where its help is."""
    reasons: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    option = getattr(getattr(error, "param", None), "opts", [""])[0]
    if reasons and option:
        value, said = reasons[0]["input"], str(reasons[0]["msg"]).removeprefix("Value error, ")
        _, is_choice, choices = said.partition(" is not one of ")
        if is_choice:
            said = f"there {'are' if ',' in choices else 'is'} " + choices.replace("'", "")
        return f"{option} {value}: {_in_a_sentence(said)}"
    said = _in_a_sentence(error.format_message())
    program = f"unet-deploy {command}" if command else "unet-deploy"
    return f"{command or program}: {said}{'' if said.endswith('?') else ';'} see: {program} --help"


def _in_a_sentence(said: str) -> str:
    said = " ".join(said.split())
    return said[:1].lower() + said[1:].rstrip(".")


# -- help ------------------------------------------------------------------------------------------------------------


class _Command(TyperCommand):
    """Shows its options in sections by theme; those without a theme stand last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if row := parameter.get_help_record(ctx):
                argument = parameter.param_type_name == "argument"
                theme = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(theme, []).append(row)
        _write_sections(formatter, sorted(sections.items(), key=lambda section: section[0] == "Options"))


class _Commands(TyperGroup):
    """Shows its commands in sections by theme, and turns what they raise into one line and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _errors_on_one_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _errors_on_one_line(ctx):
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [command for command in self.commands.values() if not command.hidden]
        width = formatter.width - 6 - max(len(str(command.name)) for command in shown)
        sections: dict[str, list[tuple[str, str]]] = {}
        for command in shown:
            theme = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(theme, []).append((str(command.name), command.get_short_help_str(width)))
        _write_sections(formatter, sections.items())


def _write_sections(formatter: Any, sections: Iterable[tuple[str, list[tuple[str, str]]]]) -> None:
    for theme, rows in sections:
        with formatter.section(theme):
            formatter.write_dl(rows)


# -- the application -------------------------------------------------------------------------------------------------


app = typer.Typer(
    cls=_Commands,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A U-Net from weights to fast, trustworthy segmentation of images of any size.",
)


def command(
    theme: str, *, name: str | None = None, hidden: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command of the application under a theme of its help; its groups of options are spread."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=_Command, hidden=hidden, rich_help_panel=theme)(spread(function))
        return function

    return register


def _version(asked: bool) -> None:
    if asked:
        print(f"unet-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)
