"""Finished blocks that wait: what is damaged is not believed, wherever in a record the damage is."""

import pytest

from unet_deploy.masks import Keep
from unet_deploy.masks.spool import Spool, spool_of

FIRST = Keep(key={"image": "a"})
LATER = Keep(key={"image": "a"}, resume=True)


@pytest.mark.parametrize("place", range(16 + 3))
def test_a_byte_that_changed_ends_what_is_believed(tmp_path, place):
    """Of the block's number, its length, its checksum and its bytes: another number would be another place."""
    spool = Spool(tmp_path / "mask.tif", 300, FIRST)
    for block in (4, 5):
        spool.add(block, b"abc")
    spool.close()
    file = spool_of(tmp_path / "mask.tif")
    data = bytearray(file.read_bytes())
    data[-(16 + 3) + place] ^= 1
    file.write_bytes(data)
    again = Spool(tmp_path / "mask.tif", 300, LATER)
    assert [block for block in range(300) if block in again] == [4]
    assert again.get(4) == b"abc"
    again.close(keep=False)
