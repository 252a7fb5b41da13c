"""Run the command line as a person does."""

import subprocess
import sys


def unet_deploy(*arguments, code=0, cwd=None, **options):
    """Run the command line; returns stdout and stderr."""
    command = [sys.executable, "-m", "unet_deploy.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, **options)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def error(*arguments, code, **options):
    """The one line that a command fails with."""
    lines = [line for line in unet_deploy(*arguments, code=code, **options)[1].splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]
