"""How far a command is goes to stderr: a bar on a terminal, and elsewhere only what a log should keep."""

import io
import sys
from types import SimpleNamespace

from unet_deploy.cli.progress import progress_bar, training_bar


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
