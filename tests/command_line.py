"""Run the command line as a person does; what computes, computes in float32 unless a test says otherwise."""

import subprocess
import sys

COMPUTING = ("segment", "suggest")
"""Commands that by themselves take bfloat16 where a processor has it: a test is to say the same on every machine."""


def command_words(*arguments):
    """A command in a process of its own. One that computes is told to do so exactly, where it is told nothing of it."""
    is_open = arguments[:1] and arguments[0] in COMPUTING and "--precision" not in arguments
    exact = ("--precision", "fp32") if is_open else ()
    return [sys.executable, "-m", "unet_deploy.cli", *map(str, (*arguments, *exact))]


def unet_deploy(*arguments, code=0, cwd=None, **options):
    """Run the command line; returns stdout and stderr."""
    done = subprocess.run(command_words(*arguments), capture_output=True, text=True, check=False, cwd=cwd, **options)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def error(*arguments, code, **options):
    """The one line that a command fails with."""
    lines = [line for line in unet_deploy(*arguments, code=code, **options)[1].splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]
