"""The examples in the documentation of modules are run, and say what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "unet_deploy",
    "unet_deploy.segmentation.options",
    "unet_deploy.segmentation.outputs",
    "unet_deploy.segmentation.run",
    "unet_deploy.tiling",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_say_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert attempted
    assert not failed
