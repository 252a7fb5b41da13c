"""A name in any script is said on consoles and in pipes of any encoding."""

import os

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy

NAME = "κύτταρο 细胞.tif"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932", "utf-8"])
def test_what_an_encoding_lacks_is_an_escape(tmp_path, encoding):
    tifffile.imwrite(tmp_path / NAME, np.zeros((20, 30), np.uint8))
    spoken = {"env": {**os.environ, "PYTHONIOENCODING": encoding}, "encoding": encoding}
    table = unet_deploy("info", tmp_path / NAME, **spoken)[0]
    assert NAME.encode(encoding, "backslashreplace").decode(encoding) in table
    assert "no such" in error("info", tmp_path / f"no {NAME}", code=3, **spoken)
