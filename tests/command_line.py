"""Run the command line as a person does; what computes, computes in float32 unless a test says otherwise."""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper

COMPUTING = ("segment", "suggest")
"""Commands that by themselves take bfloat16 where a processor has it: a test is to say the same on every machine."""


def command_words(*arguments):
    """A command in a process of its own. One that computes is told to do so exactly, where it is told nothing of it."""
    return [sys.executable, "-m", "unet_deploy.cli", *_exact(arguments)]


def _exact(arguments):
    is_open = arguments[:1] and arguments[0] in COMPUTING and "--precision" not in arguments
    return list(map(str, (*arguments, *(("--precision", "fp32") if is_open else ()))))


def unet_deploy(*arguments, code=0, cwd=None, **options):
    """Run the command line; returns stdout and stderr.

    It runs in this process, which saves a second; in one of its own with options of `subprocess.run`, and under a
    ceiling of memory, which counts all that a process holds.
    """
    if options or "--max-memory" in arguments:
        done = subprocess.run(
            command_words(*arguments), capture_output=True, text=True, check=False, cwd=cwd, **options
        )
        returned, shown, told = done.returncode, done.stdout, done.stderr
    else:
        returned, shown, told = _here(_exact(arguments), cwd)
    assert returned == code, shown + told
    assert "Traceback" not in told
    return shown, told


def _here(words, cwd):
    from cli.in_process import run

    streams = [TextIOWrapper(BytesIO(), encoding="utf-8") for _ in range(2)]
    before = os.getcwd()
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        os.chdir(cwd or before)
        try:
            returned = run(*words)
        finally:
            os.chdir(before)
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return returned or 0, *texts


def error(*arguments, code, **options):
    """The one line that a command fails with."""
    lines = [line for line in unet_deploy(*arguments, code=code, **options)[1].splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]
