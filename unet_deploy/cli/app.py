"""The application: what all commands share, and how what they raise becomes one line and an exit code.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import errno
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from unet_deploy._version import __version__
from unet_deploy.errors import UnetDeployError
from unet_deploy.system.interrupt import ignore_interrupts

INTERRUPTED, OUT_OF_RESOURCES = 130, 6


class _Commands(TyperGroup):
    """Turns what a command raises into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UnetDeployError as error:
            _fail(str(error), error.exit_code)
        except MemoryError:
            _fail("out of memory; take a smaller --tile-size", OUT_OF_RESOURCES)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _fail(
                    f"{error.filename or 'output'}: the disk is full; free some space and run again", OUT_OF_RESOURCES
                )
            _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
        except KeyboardInterrupt:
            ignore_interrupts()  # it ends now, however often it is asked to
            _fail("interrupted; no file was left half-written", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    from unet_deploy.cli.console import say

    say("error: " + " ".join(message.split()))
    raise typer.Exit(code)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A U-Net from weights to fast, trustworthy segmentation of images of any size.",
)

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model file, engine, or a shipped model's name.", show_default="nuclei"),
]
Device = Annotated[
    str, typer.Option("--device", "-d", help="auto, cpu, cuda or cuda:N. auto says so when it falls back to the CPU.")
]
RuntimeName = Annotated[str, typer.Option("--runtime", help="auto, onnxruntime, openvino, tensorrt or tensorrt_rtx.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, fp16, bf16 or int8.", show_default="fp32 on a CPU, fp16 on a GPU"),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory", help="Most that the process may hold: 2GiB.", show_default="a quarter of what is free"
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Tiles in one submission, on a GPU.")]
TileSize = Annotated[
    int | None,
    typer.Option("--tile-size", help="Largest side of the network's input, in pixels.", show_default="by memory"),
]
Tta = Annotated[bool, typer.Option("--tta", help="The mean over 8 orientations: better, and 8 times as long.")]
Channel = Annotated[int | None, typer.Option("--channel", help="Which channel of a multi-channel image, from 0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bar.")]


def _version(asked: bool) -> None:
    if asked:
        print(f"unet-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
