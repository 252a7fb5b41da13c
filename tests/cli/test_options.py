"""What a person types is read once, refused on one line with the remedy, and explained by theme."""

import doctest
import subprocess
import sys
from dataclasses import dataclass
from typing import get_args, get_type_hints

import pytest
from in_process import refusal, run

from unet_deploy.cli import adopt, engines, groups, object_options, options, parse, show, training


@pytest.mark.parametrize("module", [groups, parse, show], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    assert doctest.testmod(module).failed == 0


# -- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["segment", "a.tif", "--roi", "1,2"], "--roi 1,2: give y,x,height,width in pixels, for example"),
        (["segment", "a.tif", "--roi", "1,2,0,4"], "--roi 1,2,0,4: give y,x,height,width"),
        (["segment", "a.tif", "--max-memory", "1x"], "--max-memory 1x: give bytes, for example 2GiB or 512MiB"),
        (["segment", "a.tif", "--level", "fine"], "--level fine: give a number, 0 the finest, or auto"),
        (["segment", "a.tif", "--connectivity", "5"], "--connectivity 5: there are 4, 8"),
        (["segment", "a.tif", "--tile-size", "wide"], "--tile-size wide: input should be a valid integer"),
        (["segment", "a.tif", "-b", "0"], "--batch-size 0: input should be greater than or equal to 1"),
        (["segment", "a.tif", "--min-size", "5"], "--min-size: changes objects, and none are asked for; add --objects"),
        (["segment", "a.tif", "--fill-holes"], "--fill-holes: changes objects, and none are asked for"),
        (["segment", "a.tif", "--coordinates", "pixels"], "--coordinates: changes objects, and none are asked for"),
        (["sample", "s.png", "--size", "12x12"], "s.png: samples end in .tif; try s.tif"),
        (["export", "w.pt", "-o", "m.tif"], "m.tif: models end in .onnx; try m.onnx"),
        (["adopt", "m.onnx", "-o", "o"], "o: models end in .onnx; try o.onnx"),
        (["calibrate", "nuclei", "D", "-o", "c.tif"], "c.tif: models end in .onnx; try c.onnx"),
        (["verify", "nuclei", "a.tif", "--reference", "nuclei", "--limit", "nan"], "--limit nan: give a number of"),
        (["sample", "s.tif", "--size", "12by12"], "--size 12by12: give height and width in pixels, for example"),
        (["sample", "s.tif", "--size", "0x12"], "--size 0x12: give height and width in pixels"),
        (["sample", "s.tif", "--bits", "12"], "--bits 12: there are 8, 16"),
        (["train", "D", "-o", "w.pt", "--log", "foo"], "--log foo: there is tensorboard"),
        (["build-engine", "m.onnx", "-o", "e", "--tile-size", "1x2x3"], "--tile-size 1x2x3: give a side, or height"),
        (["build-engine", "m.onnx", "-o", "e", "--min-shapes", "5x5"], "--min-shapes 5x5: give tiles, height and"),
        (["build-engine", "m.onnx", "-o", "e", "--workspace", "much"], "--workspace much: give bytes"),
        (["adopt", "m.onnx", "-o", "o.onnx", "--mean", "grey"], "--mean grey: give numbers with commas between"),
        (["adopt", "m.onnx", "-o", "o.onnx", "--padding", "some"], "--padding some: there are same, valid"),
        (
            ["train", "data", "-o", "w.pt", "--mask-kind", "x"],
            "--mask-kind x: there are auto, binary, classes, instances",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_its_option_and_the_remedy(capsys, words, says):
    assert refusal(capsys, *words).startswith(f"error: {says}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["segment"], "segment: missing argument 'IMAGE...'; see: unet-deploy segment --help"),
        (["segment", "a.tif", "--xyzzy"], "segment: no such option: --xyzzy; see: unet-deploy segment --help"),
        (["segment", "a.tif", "-m"], "segment: option '-m' requires an argument; see: unet-deploy segment --help"),
        (["export", "w.pt"], "export: missing option '--output' / '-o'; see: unet-deploy export --help"),
        (["segmnt", "a.tif"], "unet-deploy: no such command 'segmnt'. Did you mean 'segment'? see: unet-deploy --help"),
        (["--xyzzy"], "unet-deploy: no such option: --xyzzy; see: unet-deploy --help"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_line_that_says_where_help_is(capsys, words, says):
    assert refusal(capsys, *words) == f"error: {says}"


def test_without_a_command_help_goes_to_stderr(capsys):
    assert run() == 2
    shown, said = capsys.readouterr()
    assert shown == ""
    assert "Use a model:" in said


def test_options_that_contradict_each_other_are_said(capsys):
    line = refusal(capsys, "adopt", "m.onnx", "-o", "o.onnx", "--offset", "3")
    assert line == "error: --offset: does not go with --normalization percentile"
    line = refusal(capsys, "adopt", "m.onnx", "-o", "o.onnx", "--low", "50", "--high", "50")
    assert line == "error: --low 50: is not below --high 50"


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (parse.byte_count, "12", 12),
        (parse.byte_count, "1.5kB", 1500),
        (parse.byte_count, "2 GiB", 2 << 30),
        (parse.byte_count, "3m", 3 << 20),
        (parse.level, "auto", None),
        (parse.level, "2", 2),
        (parse.tile, "300", parse.Size(300, 300)),
        (parse.tile, "300X400", parse.Size(300, 400)),
        (parse.shape, "4x300x400", (4, 300, 400)),
        (parse.box, " 1, 2,3 ,4", (1, 2, 3, 4)),
        (parse.numbers, "1,.5", (1.0, 0.5)),
        (parse.names, "background, nucleus,", ("background", "nucleus")),
        (parse.names, 'background,"Tumor, low"', ("background", "Tumor, low")),
    ],
)
def test_values_are_read_and_defaults_stay_as_they_are(read, text, value):
    assert read(text) == value
    assert read(value) == value


@pytest.mark.parametrize("text", ["nan", "-1", "inf", "1e7", "few"])
def test_a_limit_is_a_number_of_labels_in_a_million(text):
    with pytest.raises(ValueError, match="give a number of 0 to 1000000"):
        parse.ppm(text)


@pytest.mark.parametrize("text", ["a,,b", ",a", "a, ,b"])
def test_a_name_is_not_empty(text):
    with pytest.raises(ValueError, match="one of the names is empty"):
        parse.names(text)


def test_choices_are_those_of_the_library():
    """They are written twice, because the modules that know them are too heavy for --help."""
    from unet_deploy.convert import adopt as adopting
    from unet_deploy.convert import answer
    from unet_deploy.model import contract
    from unet_deploy.model.card import Normalization
    from unet_deploy.runtimes.tensorrt import options as building
    from unet_deploy.segmentation.options import Coordinates, ObjectRules

    pairs = [
        (engines.Precision, contract.Precision),
        (engines.Pixels, contract.Pixels),
        (engines.Compatibility, building.Compatibility),
        (adopt.Padding, adopting.Padding),
        (adopt.Activation, answer.Activation),
        (adopt.Method, get_type_hints(Normalization)["method"]),
        (object_options.Coordinates, Coordinates),
        (object_options.Connectivity, get_type_hints(ObjectRules)["connectivity"]),
    ]
    for ours, theirs in pairs:
        assert set(get_args(ours)) == set(get_args(theirs)), ours


def test_choices_of_training_are_those_of_the_trainer():
    pytest.importorskip("torch")
    from trainer.data import MaskKind
    from trainer.recipe import PRESETS, Recipe

    assert set(get_args(options.MaskKind)) == set(get_args(MaskKind))
    assert set(get_args(training.Preset)) == set(PRESETS)
    assert get_args(training.Draw) == get_args(get_type_hints(Recipe)["draw"])


def test_readings_of_a_palette_are_those_of_the_library():
    from unet_deploy.images.samples import Palette
    from unet_deploy.masks import Layout

    assert get_args(options.Palette) == get_args(Palette)
    assert get_args(options.Layout) == get_args(Layout)


# -- groups ----------------------------------------------------------------------------------------------------------


def test_a_command_gets_its_groups_whole_and_its_other_options_as_they_are():
    @dataclass(frozen=True)
    class Area:
        height: int
        width: int = 2

    seen = []

    def command(name: str, area: Area, loud: bool = False) -> None:
        seen.append((name, area, loud))

    spread = groups.spread(command)
    spread(name="a", height=1)
    spread(name="b", height=1, width=3, loud=True)
    assert seen == [("a", Area(1, 2), False), ("b", Area(1, 3), True)]


def test_two_groups_with_the_same_option_are_refused():
    @dataclass(frozen=True)
    class One:
        size: int = 1

    def command(size: int, one: One) -> None: ...

    with pytest.raises(TypeError, match="command: two groups have the option size"):
        groups.spread(command)


# -- help ------------------------------------------------------------------------------------------------------------


def sections(shown):
    """The titles of a help text and the options under each."""
    found = {}
    for line in shown.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            found[line[:-1]] = under = []
        elif line.startswith("  -") and found:
            under.append(next(word for word in line.replace(",", " ").split() if word.startswith("--")))
    return found


def test_options_of_segment_stand_under_their_themes(capsys):
    assert run("segment", "--help") == 0
    found = sections(capsys.readouterr().out)
    assert {"Outputs", "Model and runtime", "Tiles", "Image", "Objects", "Run"} <= found.keys()
    assert "--model" in found["Model and runtime"]
    assert "--max-memory" in found["Tiles"]
    assert "--min-size" in found["Objects"]
    assert "--resume" in found["Run"]
    assert found["Options"] == ["--help"]


def test_card_is_a_hidden_name_of_adopt(capsys):
    run("--help")
    assert "card " not in capsys.readouterr().out
    run("adopt", "--help")
    shown = capsys.readouterr().out
    run("card", "--help")
    assert capsys.readouterr().out == shown.replace(" adopt [", " card [")
    line = refusal(capsys, "card", "none.onnx", "-o", "out.onnx", code=3)
    assert line == refusal(capsys, "adopt", "none.onnx", "-o", "out.onnx", code=3)


def test_help_of_every_command_loads_nothing_heavy():
    script = (
        "import sys; from unet_deploy.cli import app\n"
        "for command in ('segment', 'build-engine', 'adopt', 'train', 'evaluate', 'benchmark'):\n"
        "    try: app([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'onnxruntime', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
