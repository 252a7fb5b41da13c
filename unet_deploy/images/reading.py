"""How a person wants images to be read, beyond what their files say: one value for all commands that read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unet_deploy.images import SILENCE, ImageSource, open_image
from unet_deploy.images.channels import Channel
from unet_deploy.images.samples import Palette


@dataclass(frozen=True)
class Reading:
    """How images are read."""

    channel: Channel | None = None
    """Which channel of several, by its number from 0 or its name in the file; None for all."""
    palette: Palette = "auto"
    """What numbers with a table of colours are: a scale that they are shown by, or the colours of a picture."""
    nodata: float | None = None
    """The value of pixels that are no data, NaN among them; None for what the file says."""
    timeout: float = SILENCE
    """Seconds that a server may be silent before it is asked again."""

    def open(self, path: Path, *, level: int = 0) -> ImageSource:
        """Open an image. level: of its pyramid, 0 the finest. Raises as `open_image`."""
        source = open_image(path, channel=self.channel, level=level, meaning=self.palette, timeout=self.timeout)
        source.asked_nodata = self.nodata
        return source

    def open_labels(self, path: Path) -> ImageSource:
        """Open a mask, whose stored numbers are labels in one channel. Raises as `open_image`."""
        source = open_image(path, meaning="labels", timeout=self.timeout)
        source.asked_nodata = self.nodata
        return source


AS_SAID = Reading()
"""As the files say."""
