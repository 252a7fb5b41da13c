"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "unet_deploy.errors",
    "unet_deploy.images.cache",
    "unet_deploy.images.grey",
    "unet_deploy.model.contract",
    "unet_deploy.model.nodes",
    "unet_deploy.objects",
    "unet_deploy.objects.outlines",
    "unet_deploy.objects.runs",
    "unet_deploy.system.colours",
    "unet_deploy.system.extras",
)


@pytest.mark.parametrize("name", MODULES)
def test_an_example_gives_what_it_says(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
