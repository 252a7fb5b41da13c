"""A call beside what its caller does: its answer, its failure, and its end when nobody wants it any more."""

import threading
import time

import pytest

from unet_deploy.system.beside import Unwanted, beside


def test_the_answer_comes_from_another_thread():
    with beside(lambda check: threading.current_thread()) as answer:
        assert answer() is not threading.main_thread()
        assert answer() is answer()


def test_what_the_call_raises_is_raised_where_the_answer_is_asked_for():
    def fails(check):
        raise OSError("no such file")

    with beside(fails) as answer, pytest.raises(OSError, match="no such file"):
        answer()
    with beside(fails):
        pass  # nobody asks


def test_a_block_that_fails_ends_the_call_and_waits_for_that():
    ended = []

    def looks_for_ever(check):
        try:
            while True:
                check()
                time.sleep(0.001)
        except Unwanted:
            ended.append(True)
            raise

    with pytest.raises(KeyError), beside(looks_for_ever):
        raise KeyError("what the block does")
    assert ended == [True]
