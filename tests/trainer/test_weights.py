"""What a training leaves on disk is read by later versions, and what it is not is said in a line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trainer.data import Annotated  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.export import export  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.run import start  # noqa: E402
from trainer.sets import AnnotatedSet  # noqa: E402
from trainer.settings import fingerprint_of  # noqa: E402
from trainer.weights import Files, load_checkpoint, load_weights, restore, save_checkpoint  # noqa: E402
from unet_deploy.errors import ModelError, UnetDeployError  # noqa: E402
from unet_deploy.evaluation.kinds import MaskCode  # noqa: E402
from unet_deploy.model.card import Normalization  # noqa: E402

EARLIER = Path(__file__).parent / "earlier"
"""Six steps of version 0.1 on round cells, of a network of width 4 and depth 1."""
RECIPE = replace(PRESETS["modern"], width=4, depth=1, tile=42, steps=6, warmup=2)


@pytest.mark.usefixtures("unmeasured")
def test_weights_of_an_earlier_version_become_a_model(tmp_path):
    pytest.importorskip("onnx")
    card = export(EARLIER / "weights.pt", tmp_path / "cells.onnx")
    assert (card.classes, card.pixel_size_um, card.trained_on) == (("background", "cell"), 0.5, "round cells")
    assert card.split == "last:0.1 held back: 1 of 6 images"
    assert card.metrics == {"mean Dice, validation": pytest.approx(0.34159836), "steps": 3}


def test_a_checkpoint_of_an_earlier_version_is_gone_on_with(tmp_path):
    path = EARLIER / "weights.checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    run = start(RECIPE, 1, 2, torch.device("cpu"))
    restore(path, load_checkpoint(path), run)
    assert (run.step, run.best_step, len(run.log)) == (6, 3, 2)
    assert all(torch.equal(run.model.state_dict()[name], value) for name, value in saved["model"].items())
    save_checkpoint(tmp_path / "again.pt", run, {})
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert again.keys() ^ saved.keys() == {"fingerprint", "settings", "best_weights", "prepared"}
    assert again["log"] == saved["log"]
    assert str(again["optimizer"]) == str(saved["optimizer"])


@pytest.mark.parametrize(
    ("preset", "fingerprint"),
    [
        ("modern", "b36b24feb3938f62f06a6bad7aff59091bfd02e66c772fc2f205712f05b868c8"),
        ("paper", "aa28b0b2e0d421bc2c52b9e91e97d2d9c14d136426cd65d82a9599b94299b435"),
    ],
)
def test_a_run_has_the_fingerprint_that_earlier_versions_gave_it(preset, fingerprint):
    pixels = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    labels = (pixels[0] > 5).astype(np.uint8)
    images = [Annotated(name, pixels / 8, labels, labels.astype(np.int32) * 3) for name in "ab"]
    description = ModelDescription(("background", "cell"), Normalization("fixed", 0, 1 / 255))
    data = AnnotatedSet(images, images[:1], images[1:], "last:1", MaskCode("binary", (0, 255)))
    assert fingerprint_of(PRESETS[preset], description, data) == fingerprint


def test_what_stands_beside_the_weights_is_named_after_them():
    files = Files(Path("out/cells.v2.pt"))
    assert files.checkpoint == Path("out/cells.v2.checkpoint.pt")
    assert [path.name for path in (files.log, files.curves, files.pictures)] == [
        "cells.v2.csv",
        "cells.v2.curves.png",
        "cells.v2.validation.png",
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not weights"])
def test_a_file_that_holds_no_weights_is_one_line(tmp_path, content):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.pt: is no weights file of this trainer"):
        load_weights(path)
    torch.save({"format": 1, "state": {}}, path)
    with pytest.raises(ModelError, match=r"w\.pt: holds no weights of this trainer"):
        load_weights(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", {"channels": 1, "classes": 2, "width": 1 << 40, "depth": 1, "dropout": 0.0}),
        ("architecture", {"channels": 1, "classes": 2, "width": 4, "depth": 1 << 40, "dropout": 0.0}),
        ("state", {"down.0.0.weight": "text"}),
        ("state", {"down.0.0.weight": torch.zeros(1).expand(1 << 40)}),
        ("about", {"classes": ["a", "b"], "normalization": {"sort": 1}}),
        ("about", {"classes": ["a", "b", "c"], "normalization": {}}),
        ("recipe", {"seed": "none"}),
        ("metrics", {"Dice": [1]}),
        ("examples", 0.5),
        ("examples", [torch.zeros(1, 39, 38)]),
        ("examples", [torch.zeros(2, 38, 38)]),
        ("examples", None),
    ],
)
def test_what_a_weights_file_claims_is_checked_before_it_is_used(tmp_path, field, value):
    saved = torch.load(EARLIER / "weights.pt", weights_only=True)
    torch.save({**saved, field: value}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights\.pt: [^\n]+$"):
        export(tmp_path / "weights.pt", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_scale_without_bounds_ends_in_an_error_alone(tmp_path, recwarn):
    saved = torch.load(EARLIER / "weights.pt", weights_only=True)
    saved["about"]["normalization"] |= {"method": "fixed", "scale": 1e-44}
    torch.save(saved, tmp_path / "weights.pt")
    with pytest.raises(UnetDeployError):
        export(tmp_path / "weights.pt", tmp_path / "model.onnx")
    assert not [each for each in recwarn.list if issubclass(each.category, RuntimeWarning)]


def test_a_weights_file_is_read_without_what_its_network_takes_in_memory_twice():
    """Its numbers are the file's own."""
    network, saved = load_weights(EARLIER / "weights.pt")
    assert network.head.weight.data_ptr() == saved["state"]["head.weight"].data_ptr()
