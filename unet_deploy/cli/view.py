"""The command that shows an image and its masks in a browser."""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from unet_deploy.cli import show
from unet_deploy.cli.app import command
from unet_deploy.cli.options import ReadingOptions
from unet_deploy.errors import address

SERVER = "Server"
"""The theme of how the page is reached."""


@command("Look around")
def view(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|MASK|TABLE...", help="An image and masks of it, or masks alone; a table of their objects."
        ),
    ],
    image: Annotated[
        Path | None, typer.Option("--image", help="What the masks lie over; by itself, what they were made of.")
    ] = None,
    *,
    read: ReadingOptions,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open no browser.", rich_help_panel=SERVER)
    ] = False,
    host: Annotated[
        str, typer.Option(help="Whom to listen to: by default this machine alone.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Where to listen.", show_default="any that is free", rich_help_panel=SERVER
        ),
    ] = 0,
) -> None:
    """Look at an image and its masks in a browser, at any zoom, until Ctrl-C."""
    from unet_deploy.system.extras import importing

    with importing("starlette", "view"), importing("uvicorn", "view"):
        from unet_deploy.viewing.serve import serve
    from unet_deploy.viewing.named import sort_out
    from unet_deploy.viewing.scene import open_scene

    def ready(address: str) -> None:
        show.address_of_page(address)
        if not no_browser:  # a browser in a terminal keeps its caller
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    named = sort_out(files, image, read.reading())
    with open_scene(named) as scene:
        for over in named.over:
            if not over.is_said:
                show.note(f"note: {address(over.path)}: does not say what it is, and is shown as a mask")
        serve(scene, ready, host=host, port=port)
