"""How an answer becomes objects is chosen at the end of a training, by what was held back of it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from trainer import deciding  # noqa: E402
from trainer.data import Annotated  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.export import export  # noqa: E402
from trainer.recipe import PRESETS, first_decision  # noqa: E402
from trainer.sets import AnnotatedSet, DataSet  # noqa: E402
from trainer.told import Told  # noqa: E402
from trainer.train import train  # noqa: E402
from unet_deploy.evaluation.kinds import MaskCode  # noqa: E402
from unet_deploy.model.card import ModelCard  # noqa: E402
from unet_deploy.model.decision import UNDECIDED, Decision  # noqa: E402

TINY = replace(PRESETS["modern"], width=4, depth=1, tile=42, batch=1, steps=12, warmup=4, w0=0.0)


def field(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs, numbered, and what a network might say of them: sure of each, and of a hundred specks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:160, :160]
    objects = np.zeros(y.shape, np.int32)
    for number, (row, column) in enumerate(np.ndindex(4, 4), 1):
        objects[(y - 40 * row - 20) ** 2 + (x - 40 * column - 20) ** 2 < 14**2] = number
    speck = ndimage.binary_dilation(rng.random(y.shape) < 0.004)
    return objects, (objects > 0) | speck


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """So that small images are enough."""
    monkeypatch.setattr(deciding, "FEW", 1)


@pytest.fixture
def held_back(monkeypatch) -> AnnotatedSet:
    """Images whose grey values are the answer of the network, as logits."""
    images = []
    for seed in range(3):
        objects, answer = field(seed)
        logits = np.where(answer, 4, -4).astype(np.float32)[None]
        images.append(Annotated(f"{seed}", logits, (objects > 0).astype(np.uint8), objects))
    monkeypatch.setattr(deciding, "predict", lambda _, image, __: torch.from_numpy(np.stack([-image[0], image[0]])))
    return AnnotatedSet(images, images, images, "every:1", MaskCode("instances"))


def test_specks_are_no_objects_where_the_masks_have_none(held_back):
    found = deciding.decide(None, held_back, UNDECIDED, torch.device("cpu"))
    assert found.before < 0.4
    assert found.after > 0.95
    assert 0 < found.decision.min_size <= 0.16


def test_a_decision_that_says_nothing_of_objects_is_the_usual_one_where_masks_number_them(held_back):
    known = Decision(diameter=28, diameters=(20, 45), trusted_from=0.8)
    filled = deciding.usual(known, held_back)
    assert (filled.split, filled.diameter, filled.trusted_from) == (deciding.USUAL.split, 28, 0.8)
    assert deciding.usual(known, replace(held_back, code=MaskCode("binary"))) == known
    own = Decision(threshold=0.3)
    assert deciding.usual(own, held_back) == own


def test_what_is_known_of_diameters_and_confidence_stays(held_back):
    known = Decision(diameter=28, diameters=(20, 45), trusted_from=0.8)
    found = deciding.decide(None, held_back, known, torch.device("cpu"))
    assert replace(found.decision, threshold=0.5, split=0, min_size=0, fill_holes=False) == known


def test_a_few_objects_do_not_overrule_what_was_decided_by_many(held_back, monkeypatch):
    decided = Decision(threshold=0.3, split=0.05)
    monkeypatch.setattr(deciding, "FEW", 49)
    assert "too few objects" in deciding.decide(None, held_back, decided, torch.device("cpu"))
    monkeypatch.setattr(deciding, "FEW", 48)
    assert deciding.decide(None, held_back, decided, torch.device("cpu")).decision.min_size > 0


def test_noise_is_not_tried_in_a_hundred_ways(held_back, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(160, 160)).astype(np.float32)
    monkeypatch.setattr(deciding, "predict", lambda *_: torch.from_numpy(np.stack([-noise, noise])))
    monkeypatch.setattr(deciding, "calibrate", None)
    assert "not found yet" in deciding.decide(None, held_back, deciding.USUAL, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["binary", "classes", ""])
def test_masks_that_number_no_objects_choose_nothing(held_back, kind):
    held_back = replace(held_back, code=MaskCode(kind))
    assert not held_back.numbers_objects
    assert deciding.seconds_to_decide(held_back) == 0


def test_of_more_than_enough_images_some_are_looked_at_from_all_over(held_back, monkeypatch):
    monkeypatch.setattr(deciding, "ENOUGH", 160 * 160)
    seen = deciding.decide(None, held_back, UNDECIDED, torch.device("cpu"))
    assert seen.images == 1
    assert deciding.seconds_to_decide(held_back) == pytest.approx(deciding.SECONDS * 160 * 160)


@pytest.mark.usefixtures("unmeasured")
def test_a_training_on_numbered_objects_ends_with_a_decision_that_its_model_keeps(folder, tmp_path, monkeypatch):
    weights, model, notes = tmp_path / "w.pt", tmp_path / "m.onnx", []
    monkeypatch.setattr(deciding, "NOISE", 0)
    description = ModelDescription(("background", "cell"))
    train(DataSet(folder, validation="last:2"), weights, TINY, description, told=Told(note=notes.append))
    kept = Decision.from_plain(torch.load(weights, weights_only=True)["decision"])
    assert export(weights, model).decision == kept
    assert any("F1" in note and kept.words in note for note in notes)


def test_where_too_few_are_held_back_objects_are_made_as_usual(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(deciding, "FEW", 1000)
    weights, notes = tmp_path / "w.pt", []
    train(DataSet(folder), weights, TINY, ModelDescription(("background", "cell")), told=Told(note=notes.append))
    assert Decision.from_plain(torch.load(weights, weights_only=True)["decision"]) == deciding.USUAL
    assert any("too few objects are held back" in note and deciding.USUAL.words in note for note in notes)


@pytest.mark.usefixtures("unmeasured")
def test_weights_of_earlier_versions_say_of_objects_what_their_recipe_does(folder, tmp_path):
    weights, model = tmp_path / "w.pt", tmp_path / "m.onnx"
    recipe = replace(TINY, diameter=20.0)
    train(DataSet(folder, validation="last:2"), weights, recipe, ModelDescription(("background", "cell")))
    state = torch.load(weights, weights_only=True)
    del state["decision"]
    torch.save(state, weights)
    card: ModelCard = export(weights, model)
    assert card.decision == first_decision(20.0)
