"""A package that is not installed is one line with the command that installs it."""

import pytest

from unet_deploy.errors import MissingPackageError
from unet_deploy.system.extras import importing, require


def test_a_missing_package_names_its_extra():
    with pytest.raises(MissingPackageError, match=r"^this needs nosuch; run: pip install 'unet-deploy\[extra\]'$"):
        require("nosuch", "extra")
    with pytest.raises(MissingPackageError, match="this needs nosuch"), importing("nosuch", "extra"):
        import nosuch  # noqa: F401


def test_a_package_that_cannot_be_loaded_says_why():
    with pytest.raises(MissingPackageError, match=r"numpy cannot be loaded \(too old\); run"), importing("numpy", "x"):
        raise ImportError("too\nold")


def test_a_package_that_is_there_is_let_through():
    require("numpy", "extra")
    with importing("numpy", "extra"):
        import numpy  # noqa: F401
