"""Run the command line in the process of the test, which is quicker than a process of its own."""

import sys
from unittest.mock import patch

import pytest

from unet_deploy.cli import app


def run(*words):
    """Run a command and return its exit code; what it prints is for pytest's `capsys`."""
    argv = ["unet-deploy", *map(str, words)]  # which files say that they were made by
    with patch.object(sys, "argv", argv), pytest.raises(SystemExit) as left:
        app()
    return left.value.code


def refusal(capsys, *words, code=2):
    """The one line that a command is refused with."""
    assert run(*words) == code
    shown, said = capsys.readouterr()
    assert shown == ""
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    return line
