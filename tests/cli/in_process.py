"""Run the command line in the process of the test, which is quicker than a process of its own."""

import pytest

from unet_deploy.cli import app


def run(*words):
    """Run a command and return its exit code; what it prints is for pytest's `capsys`."""
    with pytest.raises(SystemExit) as left:
        app([str(word) for word in words])
    return left.value.code


def refusal(capsys, *words, code=2):
    """The one line that a command is refused with."""
    assert run(*words) == code
    shown, said = capsys.readouterr()
    assert shown == ""
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    return line
