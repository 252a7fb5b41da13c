"""What several tests share: hypothesis without a clock, real data where it lies beside the checkout, small models."""

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from unet_deploy.zoo import find_model

# A shell that starts the suite in the background has Ctrl-C ignored, and some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def in_float32():
    """What tests compute in their own process is exact on every processor, as `command_line` sees to it in others."""
    with pytest.MonkeyPatch.context() as session:
        session.setattr("unet_deploy.system.machine.bf16_pays", lambda: False)
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images and odd TIFFs; without it the test is skipped."""
    if not DATA.is_dir():
        pytest.skip("real data is not beside this checkout")
    return DATA


@pytest.fixture(scope="session")
def nuclei() -> Path:
    """The shipped model."""
    return find_model("nuclei")


@pytest.fixture(scope="session")
def undecided(nuclei, tmp_path_factory) -> Path:
    """The shipped model with a card that decides nothing: it takes images as they are, and needs no onnx for it."""
    pytest.importorskip("onnx")
    from unet_deploy.evaluation.record import record_decision
    from unet_deploy.model.decision import UNDECIDED

    path = tmp_path_factory.mktemp("undecided") / "nuclei.onnx"
    record_decision(nuclei, path, UNDECIDED)
    return path


@pytest.fixture(scope="session")
def small_models(tmp_path_factory) -> dict[str, Path]:
    """Small U-Nets with random weights: the answer of such a network jumps wherever a seam could be."""
    pytest.importorskip("torch")
    import torch

    from trainer.export import build
    from trainer.unet import UNet
    from unet_deploy.model.card import ModelCard, Normalization
    from unet_deploy.model.onnx_file import save

    folder = tmp_path_factory.mktemp("models")
    shapes = {"one": (1, 2, 4, 2), "three": (1, 3, 4, 2), "colour": (3, 2, 4, 1), "deep": (1, 2, 4, 4)}
    shapes |= {f"least {channels}": (channels, 2, 1, 1) for channels in range(1, 6)}
    paths = {}
    for name, (channels, classes, width, depth) in shapes.items():
        torch.manual_seed(7)
        network = UNet(channels, classes, width=width, depth=depth).eval()
        names = tuple(f"class {index}" for index in range(classes))
        grey = Normalization("fixed", 128, 1 / 64) if name == "three" else Normalization()
        card = ModelCard(name, channels, names, network.margin, network.stride, network.base, grey)
        paths[name] = folder / f"{name}.onnx"
        save(build(network, card), card, paths[name])
    return paths


@pytest.fixture(scope="session")
def speckle() -> np.ndarray:
    """Noise at several scales, (500, 500) uint8: something to see wherever a network looks."""
    from scipy import ndimage

    rng = np.random.default_rng(8)
    field = sum(ndimage.gaussian_filter(rng.standard_normal((500, 500)), sigma) * sigma for sigma in (1, 3, 9))
    return np.clip(128 + 40 * field / field.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def nuclei_image() -> np.ndarray:
    """Drawn nuclei that the shipped model finds, (768, 768) uint8."""
    from unet_deploy.measure.sample import SampleSlide

    slide = SampleSlide(768, 768)
    rows = [[slide.block(row, column)[0] for column in range(slide.columns)] for row in range(slide.rows)]
    return (255 * np.clip(np.block(rows)[:768, :768], 0, 1)).astype(np.uint8)
