"""How a command opens a model: its options as the library says them, and what is shown meanwhile."""

from pathlib import Path
from typing import TYPE_CHECKING

from unet_deploy.cli import show
from unet_deploy.cli.options import TileOptions
from unet_deploy.cli.progress import compiling_bar
from unet_deploy.cli.seeing import SeeingOptions

if TYPE_CHECKING:
    from unet_deploy.model.contract import Pixels
    from unet_deploy.runtimes import Runtime
    from unet_deploy.segmentation.models import Models
    from unet_deploy.zoo import Request


def request_of(seeing: SeeingOptions, tiles: TileOptions, pixels: "Pixels", *, probabilities: bool) -> "Request":
    """How the model is to be run."""
    from unet_deploy.zoo import Request

    return Request(
        device=seeing.device,
        runtime=seeing.runtime,
        precision=seeing.precision,
        threshold=seeing.threshold,
        probabilities=probabilities,
        pixels=pixels,
        tile_size=tiles.tile_size,
        batch_size=tiles.batch_size,
    )


def models_at_any_scale(model: str | None, request: "Request", *, shown: bool) -> "Models":
    """The model at every scale; compiling it for a GPU is shown."""
    from unet_deploy.segmentation.models import Models
    from unet_deploy.zoo import open_model

    said = set[str]()

    def tell(line: str) -> None:
        what = ":".join(line.split(":")[:2])  # the reason may name a tile, which is another one at each scale
        if what not in said:
            said.add(what)
            show.note(line)

    def open_one(path: Path, request: "Request") -> "Runtime":
        with compiling_bar("compiling", shown=shown) as progress:
            return open_model(path, request, notify=tell, progress=progress)

    return Models(model, request, open_one)
