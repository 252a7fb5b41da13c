"""The command line: each command parses, calls one function, and prints what it returns.

Heavy modules are imported inside the commands, so that --help answers at once.
"""

from unet_deploy.cli import adopt, deploy, engines, measure, training  # noqa: F401  (they register their commands)
from unet_deploy.cli.app import app


def main() -> None:
    """Entry point of the `unet-deploy` command."""
    app()
