"""Errors: each has its exit code, and what a library says becomes one line."""

import pytest

from unet_deploy import errors
from unet_deploy.errors import UnetDeployError, reason

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UnetDeployError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_holds_every_error_and_its_exit_code(kind):
    line = next(line for line in errors.__doc__.splitlines() if kind.__name__ in line.split())
    assert str(kind.exit_code) in line.split()
    depth = kind.__mro__.index(UnetDeployError)
    assert line.index(kind.__name__) == 4 * (depth + 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 300), "x" * 197 + "..."),
        (
            RuntimeError("Exception from src/core.cpp:117:\nCheck 'ok' failed at x.cpp:3:\nno axis"),
            "no axis",
        ),
        (
            RuntimeError("/src/webgpu/context.cc:65 void Context::Open(const Config&) ok was false. No adapter"),
            "No adapter",
        ),
    ],
)
def test_a_reason_is_one_line_without_places_in_a_librarys_source(error, said):
    assert reason(error) == said
