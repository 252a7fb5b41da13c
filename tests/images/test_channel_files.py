"""An image whose channels are files of their own is as one whose channels are in one."""

import numpy as np
import tifffile
from source_conformance import SourceConformance

from unet_deploy.images.channel_files import open_channels


class TestChannelFiles(SourceConformance):
    def write(self, folder, pixels):
        for channel, plane in enumerate(np.moveaxis(pixels, 1, 0)):
            tifffile.imwrite(
                folder / f"a_{channel:04}.ome.tif", plane, metadata={"axes": "ZYX"}, photometric="minisblack"
            )
        return folder

    def open(self, path):
        return open_channels(sorted(path.glob("*.tif")))


def test_a_pixel_is_there_where_it_is_in_all_channels(tmp_path):
    for channel, hole in enumerate((slice(0, 2), slice(5, 6))):
        pixels = np.full((8, 9), 40 + channel, np.float32)
        pixels[hole] = np.nan
        tags = [(42113, "s", 0, "nan", True)]
        tifffile.imwrite(tmp_path / f"{channel}.tif", pixels, extratags=tags, metadata=None)
    with open_channels(sorted(tmp_path.glob("*.tif"))) as source:
        region = source.info.region
        data = source.data_in(0, region, source.crop(0, region))
    assert data is not None
    assert data.all(axis=1).tolist() == [False, False, True, True, True, False, True, True]
