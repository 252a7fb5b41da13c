"""The examples in the documentation of modules are run, and say what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "unet_deploy",
    "unet_deploy.errors",
    "unet_deploy.images.cache",
    "unet_deploy.images.grey",
    "unet_deploy.masks.blocks",
    "unet_deploy.model.contract",
    "unet_deploy.model.nodes",
    "unet_deploy.objects",
    "unet_deploy.objects.outlines",
    "unet_deploy.objects.runs",
    "unet_deploy.segmentation.options",
    "unet_deploy.segmentation.outputs",
    "unet_deploy.segmentation.run",
    "unet_deploy.system.colours",
    "unet_deploy.system.extras",
    "unet_deploy.tiling",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_say_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert attempted
    assert not failed
