"""The command line: each command parses, calls one function, and prints what it returns.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

import gc  # noqa: I001  (commands in the order of --help)
import os

from unet_deploy.cli import segment, suggest, training, scoring, calibrate, adopt, engines, measure, view  # noqa: F401
from unet_deploy.cli.app import app
from unet_deploy.cli.show import escape_what_cannot_be_encoded
from unet_deploy.system.interrupt import ignore_interrupts


def main() -> None:
    """Entry point of the `unet-deploy` command."""
    # Arrays live for a tile, and huge pages anew for each cost a run of 4096 x 4096 some 3 % of its time.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    escape_what_cannot_be_encoded()
    try:
        app()
    finally:
        gc.freeze()  # Python would look for what nothing refers to twice more as it ends, for a tenth of a second
        ignore_interrupts()  # all is said and done: while Python ends, Ctrl-C would change the exit code
