"""How far a command is goes to stderr: a bar on a terminal, and elsewhere only what a log should keep."""

import io
import sys
import time
from types import SimpleNamespace

from unet_deploy.cli import progress as bars
from unet_deploy.cli.progress import compiling_bar, progress_bar, training_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_off_a_terminal_nothing_is_drawn(capsys):
    with progress_bar("slide.tif") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_is_drawn_from_the_first_step_on(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("slide.tif", "tiles"):
        pass
    assert terminal.getvalue() == ""
    with progress_bar("slide.tif", "tiles") as progress:
        progress(1, 2)
        progress(2, 2, "writing")
    assert "writing" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()


def test_off_a_terminal_compiling_says_what_begins_and_then_that_it_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(bars, "SILENCE", 0.05)
    with compiling_bar("compiling") as progress:
        progress(0, 1, "compiling nuclei by tensorrt 10.3 for NVIDIA T4: some minutes, once")
        progress(2, 7, "Building")
        time.sleep(0.3)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "compiling nuclei by tensorrt 10.3 for NVIDIA T4: some minutes, once"
    assert second.startswith("Building, step 2 of 7, ")


def test_what_need_not_be_compiled_says_nothing(capsys):
    with compiling_bar("compiling"):
        pass
    assert capsys.readouterr() == ("", "")


def test_no_bar_is_drawn_where_none_is_wanted(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("slide.tif", shown=False) as progress, training_bar("w.pt", shown=False) as training:
        progress(1, 2)
        training(SimpleNamespace(step=1, steps=2, left=1.0, loss=0.5, score=0.75, validations=1))
    assert terminal.getvalue() == ""


def test_off_a_terminal_training_says_a_line_at_each_validation(capsys):
    with training_bar("w.pt") as training:
        for step, score, seen in ((1, None, 0), (2, None, 0), (3, 0.75, 1), (4, 0.75, 1), (5, 0.75, 2)):
            training(SimpleNamespace(step=step, steps=5, left=90.0, loss=0.25, score=score, validations=seen))
    assert capsys.readouterr().err.splitlines() == [
        "step 3 of 5: loss 0.2500, validation Dice 0.7500, about 1.5 min left",
        "step 5 of 5: loss 0.2500, validation Dice 0.7500",
    ]
