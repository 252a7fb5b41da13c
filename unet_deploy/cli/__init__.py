"""The command line: each command parses, calls one function, and prints what it returns.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

import gc

from unet_deploy.cli import adopt, calibrate, engines, measure, scoring, segment, suggest, training, view  # noqa: F401  (in the order of --help)
from unet_deploy.cli.app import app
from unet_deploy.cli.show import escape_what_cannot_be_encoded
from unet_deploy.system.interrupt import ignore_interrupts


def main() -> None:
    """Entry point of the `unet-deploy` command."""
    escape_what_cannot_be_encoded()
    try:
        app()
    finally:
        gc.freeze()  # Python would look for what nothing refers to twice more as it ends, for a tenth of a second
        ignore_interrupts()  # all is said and done: while Python ends, Ctrl-C would change the exit code
