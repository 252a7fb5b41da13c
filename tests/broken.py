"""What breaks on purpose."""

import signal


def pull_the_plug(monkeypatch, runtime, call):
    """Let one submission to a runtime fail, by its number from 1."""
    submit, calls = runtime.submit, []

    def failing(tiles, greys):
        calls.append(1)
        if len(calls) == call:
            raise RuntimeError("pulled the plug")
        return submit(tiles, greys)

    monkeypatch.setattr(runtime, "submit", failing)


def press_ctrl_c():
    """Do what Python does when SIGINT comes: call its handler.

    The signal itself, sent to a process that has run some thousand tests of other libraries, now and then ended it
    without a trace; a test of the command sends it to a process of its own.
    """
    signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
