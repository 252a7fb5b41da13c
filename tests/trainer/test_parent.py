"""A training begins with a model's weights, and its card says so."""

import hashlib
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from broken import press_ctrl_c
from cells import drawn
from cli.in_process import refusal, run

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("matplotlib")

from trainer.description import ModelDescription  # noqa: E402
from trainer.export import build, export  # noqa: E402
from trainer.layers import named_layers  # noqa: E402
from trainer.parent_file import read_parent  # noqa: E402
from trainer.recipe import PRESETS, TUNING  # noqa: E402
from trainer.run import start  # noqa: E402
from trainer.sets import DataSet  # noqa: E402
from trainer.told import Told  # noqa: E402
from trainer.train import train  # noqa: E402
from trainer.unet import UNet  # noqa: E402
from trainer.weights import load_weights  # noqa: E402
from unet_deploy.cli.training import TrainingOptions  # noqa: E402
from unet_deploy.errors import ModelError, UsageError  # noqa: E402
from unet_deploy.evaluation.record import record_decision  # noqa: E402
from unet_deploy.model.card import ModelCard, Normalization  # noqa: E402
from unet_deploy.model.decision import Decision  # noqa: E402
from unet_deploy.model.onnx_file import save  # noqa: E402
from unet_deploy.zoo import shipped_models  # noqa: E402

pytestmark = pytest.mark.usefixtures("unmeasured")
TINY = replace(PRESETS["modern"], width=4, depth=1, tile=42, batch=1, steps=40, warmup=2, w0=0.0, learning_rate=3e-3)
CELLS = ModelDescription(("background", "cell"), license="CC0-1.0", trained_on="round cells")
DECIDED = Decision(0.4, 20, (14.0, 32.0), split=0.05, min_size=0.04, fill_holes=True, trusted_from=0.6)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six annotated images of round cells."""
    return drawn(tmp_path_factory.mktemp("data") / "cells")


@pytest.fixture(scope="module")
def parent(folder, tmp_path_factory):
    """A model of round cells that decides; beside it lie the weights that it is of."""
    place = tmp_path_factory.mktemp("parent")
    train(DataSet(folder), place / "parent.pt", TINY, CELLS, evaluate_every=20)
    export(place / "parent.pt", place / "plain.onnx", name="cells")
    record_decision(place / "plain.onnx", place / "parent.onnx", DECIDED)
    return place / "parent.onnx"


def tune(data, output, parent, words=None, told=None, resume=False, **changes):
    """Four steps from a model. data: a folder, or a DataSet. words: of the description."""
    recipe = replace(parent.recipe, **{"tile": 42, "batch": 1, "steps": 4, "warmup": 1, **changes})
    described = ModelDescription.after(parent, **(words or {}))
    more = {"told": told} if told else {}
    sets = data if isinstance(data, DataSet) else DataSet(data)
    return train(sets, output, recipe, described, evaluate_every=2, resume=resume, **more)


def states(*paths):
    """The weights of some files."""
    return [load_weights(path)[0].state_dict() for path in paths]


def same(one, other):
    """Whether two networks have the same weights, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "classes", "width", "depth"), [(1, 2, 4, 1), (3, 4, 2, 3), (2, 3, 3, 2)])
@pytest.mark.parametrize("grey", [Normalization(), Normalization("fixed", 100, 0.02)])
def test_an_exported_model_is_read_back_to_the_last_bit(tmp_path, channels, classes, width, depth, grey):
    torch.manual_seed(1)
    network = UNet(channels, classes, width, depth).eval()
    names = tuple(f"class {k}" for k in range(classes))
    card = ModelCard("m", channels, names, network.margin, network.stride, network.base, grey)
    save(build(network, card), card, tmp_path / "m.onnx")
    again = read_parent(tmp_path / "m.onnx")
    assert again.card == card
    assert again.origin.sha256 == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert same(again.network.state_dict(), network.state_dict())
    assert build(again.network, card) == build(network, card)


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_taken_by_its_name_and_answers_as_its_file(name):
    shipped = read_parent(name)  # where its network and its file are compared, by the decision of its card
    card = shipped.card
    assert (shipped.recipe.width, shipped.recipe.depth, shipped.recipe.diameter) == (16, 4, card.decision.diameter)
    assert (shipped.origin.name, shipped.origin.license) == (name, card.license)


def test_weights_and_their_model_are_the_same_parent(parent):
    ours, theirs = (read_parent(parent.with_suffix(suffix)) for suffix in (".pt", ".onnx"))
    assert same(ours.network.state_dict(), theirs.network.state_dict())
    assert replace(ours.card, decision=DECIDED, name="cells") == replace(theirs.card, bytes_per_pixel=None)


# -- how it is trained -----------------------------------------------------------------------------------------------


def test_a_model_is_trained_further_by_a_recipe_of_its_own_which_options_override(parent):
    model = read_parent(parent)
    own = {"width": 4, "depth": 1, "diameter": 20}
    assert TrainingOptions().recipe(model) == model.recipe == replace(TUNING, **own)
    assert TrainingOptions(preset="paper").recipe(model) == replace(PRESETS["paper"], **own)
    asked = TrainingOptions(steps=7, diameter=30, augmentation=0, learning_rate=1e-3).recipe(model)
    assert (asked.steps, asked.diameter, asked.augmentation.scale, asked.learning_rate) == (7, 30, 0, 1e-3)


def test_where_nobody_says_how_the_model_does(parent):
    described = ModelDescription.after(read_parent(parent))
    assert described.recipe == read_parent(parent).recipe
    assert (described.evaluate_every, ModelDescription().evaluate_every) == (100, 500)


def test_the_first_weights_are_the_parents_and_stay_where_no_step_is_better(folder, tmp_path, parent, monkeypatch):
    scores = iter((0.9, 0.5, 0.6))
    monkeypatch.setattr("trainer.train.validate", lambda *_: next(scores))
    notes, model = [], read_parent(parent)
    trained = tune(folder, tmp_path / "w.pt", model, told=Told(note=notes.append))
    assert (trained.score, trained.step) == (0.9, 0)
    assert same(*states(tmp_path / "w.pt"), model.network.state_dict())
    assert notes[:4] == [
        "note: classes are background,cell, as of model 'cells'",
        "note: begins with the weights of model 'cells'",
        "note: before the first step mean validation Dice is 0.9000",
        "note: no step was better than model 'cells' as it is, whose weights are kept",
    ]


def test_weights_that_learned_are_kept_where_the_parent_leads_by_chance(folder, tmp_path, parent, monkeypatch):
    scores = iter((0.9, 0.897, 0.896))
    monkeypatch.setattr("trainer.train.validate", lambda *_: next(scores))
    trained = tune(folder, tmp_path / "w.pt", read_parent(parent))
    assert trained.score == 0.897
    assert trained.step > 0


def test_the_command_takes_what_is_not_said_from_the_model(folder, tmp_path, parent, capsys):
    few = "--steps", 2, "--tile-size", 42, "--batch-size", 1, "--no-progress"
    assert run("train", folder, "-o", tmp_path / "w.pt", "--from", parent, *few) == 0
    assert "note: classes are background,cell, as of model 'cells'" in capsys.readouterr().err
    saved = load_weights(tmp_path / "w.pt")[1]
    assert (saved["architecture"]["width"], saved["architecture"]["depth"], saved["recipe"]["diameter"]) == (4, 1, 20)


def test_a_log_shows_the_parent_as_the_model_before_the_first_step(folder, tmp_path, parent):
    class Log:
        steps: ClassVar = []

        def begin(self, step):
            self.steps.append(("begin", step))

        def stepped(self, state):
            self.steps.append(("stepped", state.step))

        def looked(self, step, score, pictures):
            self.steps.append(("looked", step))

    tune(folder, tmp_path / "w.pt", read_parent(parent), told=Told(log=Log()))
    assert Log.steps[:5] == [("begin", 0), ("looked", 0), ("stepped", 1), ("looked", 2), ("stepped", 2)]


def test_images_that_the_parent_knows_by_heart_are_no_judges(folder, tmp_path, parent):
    notes, data = [], DataSet(folder, validation="names:cell0,cell5")
    tune(data, tmp_path / "w.pt", read_parent(parent), told=Told(note=notes.append))
    assert any("model 'cells' was trained on 1 of the images held back" in note for note in notes)


def test_a_block_that_was_held_back_from_the_parent_too_is_a_judge(parent):
    model = read_parent(parent)
    block, digests = "last:0.1 held back: 10% of the only image", model.card.training_images[:1]
    model = replace(model, card=replace(model.card, split=block))
    assert model.has_seen(digests, block) is None
    assert "1 of the images held back" in model.has_seen(digests, "last:0.2 held back: 20% of the only image")


def test_a_run_that_began_with_a_model_goes_on_with_it_alone(folder, tmp_path, parent):
    model, output = read_parent(parent), tmp_path / "cut.pt"

    def interrupt(state):
        if state.step == 3:
            press_ctrl_c()

    tune(folder, tmp_path / "whole.pt", model)
    with pytest.raises(KeyboardInterrupt):
        tune(folder, output, model, told=Told(interrupt))
    other = replace(model, origin=replace(model.origin, sha256="0" * 64))
    with pytest.raises(UsageError, match=r"--from was a model of SHA-256 \w{12}, is a model of SHA-256 0{12};"):
        tune(folder, output, other, resume=True)
    with pytest.raises(UsageError, match=r"--from was a model of SHA-256 \w{12}, is not given;"):
        train(DataSet(folder), output, TINY, CELLS, resume=True)
    tune(folder, output, model, resume=True)
    assert same(*states(tmp_path / "whole.pt", output))


def test_a_run_that_began_with_nothing_goes_on_with_no_model(folder, tmp_path, parent):
    output = tmp_path / "w.pt"
    train(DataSet(folder), output, replace(TINY, steps=2), CELLS)
    with pytest.raises(UsageError, match="--from was not given, is a model of SHA-256"):
        tune(folder, output, read_parent(parent), resume=True)


# -- other classes, other channels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "sources", "says"),
    [
        (("background", "cell"), (0, 1), []),
        (("cell", "background"), (1, 0), []),
        (("background", "nucleus"), (0, 1), ["note: 'cell' of model 'cells' is 'nucleus' from here on"]),
        (("background", "nerve", "cell"), (0, None, 1), []),
    ],
)
def test_classes_are_taken_by_name_then_by_place_and_what_is_new_is_told(parent, classes, sources, says):
    model = read_parent(parent)
    begun, fresh = (start(model.recipe, 1, len(classes), CPU) for _ in "12")
    inherited = model.inherit(begun, classes)
    for network in (begun.model, begun.averaged):
        for k, source in enumerate(sources):
            head, row = (fresh.model.head, k) if source is None else (model.network.head, source)
            assert torch.equal(network.head.weight[k], head.weight[row])
            assert torch.equal(network.head.bias[k], head.bias[row])
    anew = ("class 'nerve'",) if None in sources else ()
    assert inherited.anew == anew
    first, *rest = inherited.notes
    assert rest == says
    assert first == "note: begins with the weights of model 'cells'" + (f"; made anew: {anew[0]}" if anew else "")


def test_other_channels_make_the_first_convolution_anew_and_nothing_else(parent):
    model = read_parent(parent)
    begun = start(model.recipe, 3, 2, CPU)
    assert model.inherit(begun, model.card.classes).anew == ("the first convolution, as images have 3 channels",)
    theirs = {name: layer.state_dict() for name, layer in named_layers(model.network).items()}
    for network in (begun.model, begun.averaged):
        mine = {name: layer.state_dict() for name, layer in named_layers(network).items()}
        assert [name for name in mine if not same(mine[name], theirs[name])] == ["down0.conv0"]


def test_a_model_of_one_channel_learns_from_colours_and_from_a_further_class(folder, tmp_path, parent):
    for at in range(6):
        for kind in ("images", "masks"):
            (tmp_path / "colours" / kind).mkdir(parents=True, exist_ok=True)
        picture, objects = (tifffile.imread(folder / kind / f"cell{at}.tif") for kind in ("images", "masks"))
        tifffile.imwrite(tmp_path / "colours/images" / f"{at}.tif", np.stack([picture] * 3, -1), photometric="rgb")
        tifffile.imwrite(tmp_path / "colours/masks" / f"{at}.tif", (objects > 0) + (objects > 4).astype(np.uint8))
    notes, classes = [], ("background", "cell", "late cell")
    tune(tmp_path / "colours", tmp_path / "w.pt", read_parent(parent), {"classes": classes}, Told(note=notes.append))
    assert (
        "note: begins with the weights of model 'cells'; made anew: "
        "the first convolution, as images have 3 channels, class 'late cell'"
    ) in notes
    card = export(tmp_path / "w.pt", tmp_path / "new.onnx")
    assert (card.channels, card.classes) == (3, classes)
    assert card.decision == Decision(diameter=20, diameters=(14.0, 32.0))


# -- what the new card says ------------------------------------------------------------------------------------------


def test_the_new_card_names_parent_licence_and_data(folder, tmp_path, parent, capsys):
    model = read_parent(parent)
    tune(folder, tmp_path / "w.pt", model)
    card = export(tmp_path / "w.pt", tmp_path / "new.onnx")
    assert card.parent == model.origin
    assert (card.parent.name, card.parent.trained_on, card.parent.license) == ("cells", "round cells", "CC0-1.0")
    assert (card.license, card.classes, card.trained_on) == ("CC0-1.0", ("background", "cell"), "")
    assert {*model.card.training_images} <= {*card.training_images}
    assert ModelCard.from_json(card.to_json()) == card
    assert run("info", tmp_path / "new.onnx") == 0
    assert f"cells (SHA-256 {model.origin.sha256[:12]}; CC0-1.0; round cells)" in capsys.readouterr().out


def test_a_child_becomes_a_parent(folder, tmp_path, parent):
    tune(folder, tmp_path / "child.pt", read_parent(parent))
    child = read_parent(tmp_path / "child.pt")
    tune(folder, tmp_path / "grandchild.pt", child)
    assert export(tmp_path / "grandchild.pt", tmp_path / "m.onnx").parent == child.origin


def test_what_the_parent_decides_holds_until_the_new_model_is_looked_at(folder, tmp_path, parent, monkeypatch):
    monkeypatch.setattr("trainer.train.decide", lambda *_: "too few")
    tune(folder, tmp_path / "w.pt", read_parent(parent))
    assert export(tmp_path / "w.pt", tmp_path / "new.onnx").decision == replace(DECIDED, trusted_from=0.0)


def test_choosing_how_the_answer_becomes_objects_begins_with_the_parents_way(folder, tmp_path, parent, monkeypatch):
    monkeypatch.setattr("trainer.deciding.FEW", 1)
    monkeypatch.setattr("trainer.deciding.NOISE", 0)
    notes = []
    tune(folder, tmp_path / "w.pt", read_parent(parent), told=Told(note=notes.append))
    assert "as its parent decides), with threshold" in notes[-1]


@pytest.mark.parametrize(
    ("classes", "diameter", "decided"),
    [
        (("background", "cell"), 20, replace(DECIDED, trusted_from=0.0)),
        (("background", "cell"), 30, replace(DECIDED, trusted_from=0.0, diameter=30, diameters=(21.0, 48.0))),
        (("background", "cell"), None, replace(DECIDED, trusted_from=0.0, diameter=None, diameters=None)),
        (("background", "cell", "nerve"), 20, Decision(diameter=20, diameters=(14.0, 32.0))),
        (("background", "cell", "nerve"), None, Decision()),
    ],
)
def test_another_diameter_or_other_classes_are_decided_anew_and_the_rest_is_kept(parent, classes, diameter, decided):
    assert ModelDescription.after(read_parent(parent), classes).first_decision(diameter) == decided


def test_a_licence_that_does_not_go_with_the_parents_is_told(folder, tmp_path, parent):
    model, notes = read_parent(parent), []
    model = replace(model, origin=replace(model.origin, license="CC-BY-NC-4.0"))
    tune(folder, tmp_path / "w.pt", model, {"license": "MIT"}, Told(note=notes.append))
    assert "note: model 'cells' is under CC-BY-NC-4.0, which allows no commercial use, and --license says MIT" in notes
    assert export(tmp_path / "w.pt", tmp_path / "new.onnx").license == "MIT"


def test_a_training_from_nothing_leaves_what_it_left_before_there_were_parents(parent):
    weights, checkpoint = (
        torch.load(parent.with_name(f"parent.{end}"), weights_only=True) for end in ("pt", "checkpoint.pt")
    )
    assert " ".join(weights) == (
        "format state architecture about recipe split training_images mask_kind mask_values metrics examples decision"
    )
    assert " ".join(weights["about"]) == "classes normalization pixel_size_um trained_on license command"
    assert " ".join(checkpoint["settings"]) == "recipe classes normalization validation shares images machine"
    assert "parent" not in read_parent(parent).card.to_json()


# -- what is refused -------------------------------------------------------------------------------------------------


def test_another_shape_of_the_network_is_one_line(folder, tmp_path, parent, capsys):
    words = "train", folder, "-o", tmp_path / "w.pt", "--from", parent
    line = refusal(capsys, *words, "--width", 8)
    assert line.endswith("--width 8: model 'cells' has 4; leave --width out")
    assert "--depth 2: model 'cells' has 1" in refusal(capsys, *words, "--depth", 2)
    assert [*tmp_path.iterdir()] == []


def test_no_name_is_no_model(folder, tmp_path, capsys):
    line = refusal(capsys, "train", folder, "-o", tmp_path / "w.pt", "--from", "")
    assert "--from: is empty; name a model file or a shipped model, or leave it out" in line


def test_the_parent_is_never_written_over(folder, tmp_path, parent, capsys):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(parent.with_suffix(".pt").read_bytes())
    line = refusal(capsys, "train", folder, "-o", weights, "--from", weights, "--overwrite")
    assert "mine.pt: is what is to be read, and would be lost" in line
    assert weights.read_bytes() == parent.with_suffix(".pt").read_bytes()


def test_another_normalization_is_refused(parent):
    model = read_parent(parent)
    with pytest.raises(UsageError, match="normalization: the weights of model 'cells' fit its own alone"):
        ModelDescription(normalization=Normalization("fixed", 0, 1 / 4096), parent=model)


def changed(parent, path, change):
    """The parent's file with another graph under the same card."""
    proto = onnx.load(parent)
    change(proto.graph)
    onnx.save(proto, path)
    return path


def rename(graph):
    for each in [*graph.initializer, *graph.node]:
        each.name = each.name.replace("down0", "encoder0")
        if isinstance(each, onnx.NodeProto):
            each.input[:] = [name.replace("down0", "encoder0") for name in each.input]
            each.output[:] = [name.replace("down0", "encoder0") for name in each.output]


def bend(graph):
    for node in graph.node:
        node.op_type = "Tanh" if node.op_type == "Relu" else node.op_type


def widen(graph):
    (bias,) = (each for each in graph.initializer if each.name == "merge0.conv0.bias")
    bias.dims[0] += 1


def cut(graph):
    (bias,) = (each for each in graph.initializer if each.name == "merge0.conv0.bias")
    bias.raw_data = bias.raw_data[:-4]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (rename, "its layers are not those of this U-Net"),
        (bend, "it computes otherwise than a U-Net of such layers"),
        (widen, r"its layers are not those of this U-Net \(merge0\.conv0\.bias\)"),
        (cut, r"the weights of merge0\.conv0\.bias are not whole"),
    ],
)
def test_a_foreign_graph_is_refused_with_the_reason(tmp_path, parent, change, why):
    with pytest.raises(ModelError, match=rf"foreign\.onnx: .*{why}.*, so it was not made by unet-deploy export"):
        read_parent(changed(parent, tmp_path / "foreign.onnx", change))


def test_a_quantized_model_is_refused(folder, parent, tmp_path, capsys):
    quantized = changed(parent, tmp_path / "int8.onnx", quantize)
    line = refusal(capsys, "train", folder, "-o", tmp_path / "w.pt", "--from", quantized, code=3)
    assert line.endswith("int8.onnx: has 8-bit layers, which cannot be trained; train from the model it was made of")


def quantize(graph):
    graph.node[0].op_type = "DequantizeLinear"


def test_what_is_no_model_to_learn_from_is_one_line(folder, tmp_path, parent, capsys):
    bare = onnx.load(parent)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "model.engine").write_bytes(b"no engine")
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "w.checkpoint.pt").write_bytes(parent.with_name("parent.checkpoint.pt").read_bytes())
    for name, why in (
        ("bare.onnx", "has no model card, so it was not made by unet-deploy export"),
        ("broken.onnx", "broken.onnx"),
        ("model.engine", "is an engine"),
        ("w.checkpoint.pt", "holds no weights of this trainer"),
        ("image.tif", "image.tif"),
        ("nothing.onnx", "no such model file"),
        ("nuclei2", "neither a file nor a shipped model; shipped: "),
    ):
        given = tmp_path / name if "." in name else name
        line = refusal(capsys, "train", folder, "-o", tmp_path / "w.pt", "--from", given, code=3)
        assert why in line
    assert not (tmp_path / "w.pt").exists()


def test_weights_that_say_what_no_card_can_say_are_refused(folder, tmp_path, parent):
    tune(folder, tmp_path / "w.pt", read_parent(parent))
    saved = torch.load(tmp_path / "w.pt", weights_only=True)
    parents = "cells", {"name": "cells"}, {**saved["parent"], "sha256": "1"}, {**saved["parent"], "age": 1}
    odd = [("parent", each) for each in parents] + [("decision", 0.3), ("decision", {"threshold": 2})]
    for name, value in odd:
        torch.save({**saved, name: value}, tmp_path / "odd.pt")
        with pytest.raises(ModelError, match=name):
            export(tmp_path / "odd.pt", tmp_path / "odd.onnx")
        with pytest.raises(ModelError, match=rf"odd\.pt: .*{name}"):
            read_parent(tmp_path / "odd.pt")
