"""What a person types, and what comes back: one end-to-end test for each command, and the exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import imagecodecs
import numpy as np
import pytest
import tifffile
from command_line import command_words, error, unet_deploy

from unet_deploy._version import __version__


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    unet_deploy("sample", path, "--size", "700x900", "--seed", "4")
    return path


def test_help_answers_without_numpy():
    script = (
        "import sys; sys.argv = ['unet-deploy', '--help']\n"
        "from unet_deploy.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'onnxruntime', 'scipy', 'tifffile'} & set(sys.modules)"
    )
    shown = subprocess.check_output([sys.executable, "-c", script], text=True)
    for command in ("train", "export", "segment", "verify", "evaluate", "score", "sample", "info", "doctor"):
        assert command in shown


def test_version():
    assert unet_deploy("--version")[0] == f"unet-deploy {__version__}\n"


def test_segment_then_score_a_sample(slide, tmp_path):
    mask = tmp_path / "mask.tif"
    shown, _ = unet_deploy("segment", slide, "-o", mask, "--overlay", "--probabilities")
    assert "mask.tif" in shown
    assert "MPx/s" in shown
    assert tifffile.imread(mask).shape == (700, 900)
    assert sorted(os.listdir(tmp_path)) == ["mask.overlay.png", "mask.probabilities.tif", "mask.tif"]
    scores = json.loads(unet_deploy("score", mask, slide.with_name("slide.truth.tif"), "--json")[0])["overall"]
    assert scores["Dice of foreground, all pixels"] > 0.9
    assert scores["object F1 at IoU 0.5"] > 0.8


def test_segment_a_folder_and_a_pattern_keeps_going_past_a_bad_image(slide, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.tif").write_bytes(b"II*\0 broken")
    for name in ("a", "c"):
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(np.full((60, 70), 9, np.uint8)))
    (folder / "old.mask.tif").write_bytes(b"an earlier mask")
    _, said = unet_deploy("segment", folder, "-o", tmp_path / "out", "--scale", "1", code=3)
    left_out, blank, message, again, *table = said.splitlines()
    assert left_out == "note: left out, masks, overlays or numbers of a run: old.mask.tif"
    assert all("nothing was found" in each for each in (blank, again))
    assert message.startswith(f"error: {folder / 'b.tif'}: ")
    assert table == ["1 of 3 images failed:", f"3  {folder / 'b.tif'}"]
    assert sorted(os.listdir(tmp_path / "out")) == ["a.mask.tif", "c.mask.tif"]
    unet_deploy("segment", str(folder / "*.png"), "-o", tmp_path / "more")
    assert sorted(os.listdir(tmp_path / "more")) == ["a.mask.tif", "c.mask.tif"]


def test_dry_run_prints_the_plan_and_writes_nothing(slide, tmp_path):
    shown, _ = unet_deploy("segment", slide, "-o", tmp_path / "mask.tif", "--dry-run", "--tile-size", "572")
    assert "6 (2 x 3 a page)" in shown
    assert "572 x 572 in, 384 x 384 out" in shown
    assert "halo overhead" in shown
    rows = dict(line.split("  ", 1) for line in shown.splitlines())
    assert {"peak memory", "disk", "disk at most", "time"} <= rows.keys()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("more", [(), pytest.param(("--resume",), marks=pytest.mark.long)])
def test_dry_run_refuses_what_the_run_would(slide, tmp_path, more):
    for name in ("mask.tif", "mask.overlay.png", "cells.csv"):
        (tmp_path / name).write_bytes(b"precious")
        words = ("segment", slide, "-o", tmp_path / "mask.tif", "--overlay", "--objects", tmp_path / "cells.csv", *more)
        words = (*words, "--scale", "1")
        said = {unet_deploy(*words, *dry, code=2)[1] for dry in ((), ("--dry-run",))}
        assert len(said) == 1
        assert f"{tmp_path / name} exists" in said.pop().replace(": exists", " exists")
        (tmp_path / name).unlink()
    assert os.listdir(tmp_path) == []
    (tmp_path / "mask.tif").write_bytes(b"precious")
    assert "peak memory" in unet_deploy(*words, "--overwrite", "--dry-run")[0]
    (tmp_path / "mask.tif").unlink()
    assert "peak memory" in unet_deploy("segment", slide, "-o", tmp_path / "new", "--dry-run", "--scale", "1", *more)[0]
    assert os.listdir(tmp_path) == []


def test_verify_shows_that_there_are_no_seams(slide, nuclei):
    shown, _ = unet_deploy("verify", "--tiled", nuclei, slide, "--tile-size", "300")
    assert "labels that differ  0 of 630000" in shown


def test_info_of_model_image_and_mask(slide, nuclei, tmp_path):
    assert "0 background, 1 nucleus" in unet_deploy("info", nuclei)[0]
    assert "0 background, 1 nucleus" in unet_deploy("info", "nuclei")[0]
    shown, _ = unet_deploy("info", slide)
    assert "700 x 900 pixels" in shown
    assert "0.5 um" in shown


def test_doctor_says_what_segment_will_use(tmp_path):
    shown, _ = unet_deploy("doctor", env={**os.environ, "UNET_DEPLOY_CACHE": str(tmp_path)})
    assert "fp32, CPU" in shown
    assert "NVIDIA GPU" in shown


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "cells"
    rows, columns = np.indices((90, 90))
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for at in range(4):
        mask = (rows - rng.integers(20, 70)) ** 2 + (columns - rng.integers(20, 70)) ** 2 < 200
        tifffile.imwrite(root / "masks" / f"{at}.tif", mask.astype(np.uint8) * 255)
        picture = np.clip(mask * 120 + rng.normal(50, 9, mask.shape), 0, 255).astype(np.uint8)
        tifffile.imwrite(root / "images" / f"{at}.tif", picture)
    return root


def test_train_export_segment_evaluate(folder, tmp_path):
    pytest.importorskip("torch")
    small = [
        "--width",
        "4",
        "--depth",
        "2",
        "--tile-size",
        "84",
        "--evaluate-every",
        "10",
        "--learning-rate",
        "0.003",
        "--classes",
        "background,disc",
    ]
    _, told = unet_deploy("train", folder, "-o", "w.pt", *small, "--steps", "40", cwd=tmp_path)
    assert re.match(r"about .* for 40 steps at width 4 on .* cores?\n", told)
    assert "no such checkpoint" in error("train", folder, "-o", "w2.pt", *small, "--resume", code=3, cwd=tmp_path)
    unet_deploy("export", "w.pt", "-o", "disc.onnx", "--name", "discs", cwd=tmp_path)
    shown, _ = unet_deploy("info", "disc.onnx", cwd=tmp_path)
    assert "discs" in shown
    assert "unet-deploy train" in shown
    unet_deploy("segment", folder / "images", "-m", "disc.onnx", "-o", "masks", cwd=tmp_path)
    assert len(os.listdir(tmp_path / "masks")) == 4
    shown, told = unet_deploy("evaluate", "disc.onnx", folder, "--record", cwd=tmp_path)
    assert "Dice of disc, all pixels" in shown
    assert "trained on 3 of 4 images: expect less of new ones; score what training held back with --validation " in told
    assert "4 images of cells, 3 of them trained on" in unet_deploy("info", "disc.onnx", cwd=tmp_path)[0]
    shown, told = unet_deploy("evaluate", "disc.onnx", folder, "--validation", "last:1", "--json", cwd=tmp_path)
    assert (list(json.loads(shown)["images"]), told) == (["3"], "")


def test_training_on_bad_data_is_one_line(folder, tmp_path):
    pytest.importorskip("torch")
    one = [folder / "images" / "0.tif", "--masks", folder / "masks" / "0.tif"]
    (tmp_path / "w.csv").write_text("mine")
    assert "w.csv exists; pass --overwrite" in error("train", *one, "-o", tmp_path / "w.pt", code=2)
    (tmp_path / "w.csv").unlink()
    mask = folder / "masks" / "2.tif"
    mask.write_bytes(mask.read_bytes()[:-50])
    time_told, said = unet_deploy("train", folder, "-o", tmp_path / "w.pt", code=3)[1].splitlines()
    assert "for 6000 steps at width " in time_told
    assert "masks/2.tif: the file ends before" in said
    mask.unlink()
    assert "2.tif: has no file named 2.*" in error("train", folder, "-o", tmp_path / "w.pt", code=3)
    assert os.listdir(tmp_path) == ["cells"]
    assert "--preset fast" in error("train", folder, "-o", tmp_path / "w.pt", "--preset", "fast", code=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "1"], "--weights: 1 numbers for 2 folders"),
        (["--weights", "1,-1"], "--weights 1,-1: give numbers above 0"),
        (["--weights", "1,nan"], "--weights 1,nan: give numbers above 0"),
        (["--masks", "labels.tif"], "--masks: belongs to one image stack"),
        (["--validation", "set:nowhere"], "no set is named nowhere; there are cells, others"),
        (["--diameter", "0.5"], "--diameter 0.5: give a number of 4 to 512"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_training_on_several_sets_says_what_does_not_fit_them(folder, tmp_path, options, said):
    pytest.importorskip("torch")
    shutil.copytree(folder, tmp_path / "others")
    assert said in error("train", folder, tmp_path / "others", "-o", tmp_path / "w.pt", *options, code=2)
    assert not (tmp_path / "w.pt").exists()


BAD = {
    "missing": (["segment", "nowhere.tif"], 3, "nowhere.tif: no such file or folder"),
    "no image": (["segment", "notes.txt"], 3, "notes.txt: images of type .txt are not read"),
    "not a tiff": (["segment", "fake.tif"], 3, "fake.tif: is not a readable TIFF"),
    "colour": (["segment", "rgb.tif"], 3, "3 channels, but model 'nuclei' takes 1; choose one with --channel"),
    "complex": (["segment", "complex.tif"], 3, "complex64 are no grey values"),
    "nan": (["segment", "nan.tif"], 3, "nan.tif: has pixels that are NaN"),
    "empty": (["segment", "zero.tif"], 3, "zero.tif"),
    "no model": (["segment", "ok.tif", "-m", "none.onnx"], 3, "none.onnx: no such model file"),
    "unknown model": (
        ["segment", "ok.tif", "-m", "livers"],
        3,
        "neither a file nor a shipped model; shipped: axons, cells-phase, nuclei",
    ),
    "broken model": (["segment", "ok.tif", "-m", "broken.onnx"], 3, "broken.onnx: "),
    "no card": (["segment", "ok.tif", "-m", "cardless.onnx"], 3, "cardless.onnx: has no model card"),
    "exists": (["segment", "ok.tif", "-o", "there.tif"], 2, "there.tif exists; pass --overwrite"),
    "itself": (["segment", "ok.tif", "-o", "ok.tif", "--overwrite"], 2, "ok.tif: is what is to be read"),
    "not tiff out": (["segment", "ok.tif", "-o", "mask.png"], 2, "masks are TIFF or OME-Zarr"),
    "one for two": (["segment", "ok.tif", "rgb.tif", "-o", "mask.tif"], 2, "one mask file for 2 images; give a folder"),
    "same name": (["segment", "ok.tif", "sub/ok.tif", "-o", "out"], 2, "both ok.tif and sub/ok.tif would be written"),
    "small tile": (["segment", "ok.tif", "--tile-size", "100"], 2, "--tile-size 100: this model needs at least 204"),
    "unwritable": (["segment", "ok.tif", "-o", "/proc/mask.tif"], 1, "/proc/mask.tif: cannot be written"),
    "size": (["sample", "s.tif", "--size", "12by12"], 2, "--size 12by12"),
    "verify what": (["verify", "nuclei", "ok.tif"], 2, "say what to compare: --tiled"),
    "score sizes": (["score", "ok.tif", "half.tif"], 3, "ok.tif: is 1 x 1 x 50 x 60"),
    "score colours": (["score", "ok.tif", "rgb.tif"], 3, "rgb.tif: a mask has one channel of label numbers"),
    "data": (["evaluate", "nuclei", "sub"], 3, "sub: training data is a folder with images/ and masks/"),
}


@pytest.fixture(scope="module")
def mess(tmp_path_factory):
    """A folder of files as they should not be."""
    onnx = pytest.importorskip("onnx")
    root = tmp_path_factory.mktemp("mess")
    (root / "sub").mkdir()
    grey = np.full((50, 60), 30, np.uint8)
    for name in ("ok.tif", "there.tif", "sub/ok.tif"):
        tifffile.imwrite(root / name, grey)
    tifffile.imwrite(root / "rgb.tif", np.dstack([grey, grey, grey + 1]), photometric="rgb")
    tifffile.imwrite(root / "half.tif", grey[:25])
    tifffile.imwrite(root / "complex.tif", grey.astype(np.complex64))
    tifffile.imwrite(root / "nan.tif", np.full((50, 60), np.nan, np.float32))
    (root / "zero.tif").write_bytes(b"")
    (root / "notes.txt").write_text("hello")
    (root / "fake.tif").write_text("hello")
    (root / "broken.onnx").write_bytes(b"hello")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=opset), root / "cardless.onnx")
    return root


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_an_exit_code_and_no_file(mess, case):
    arguments, code, message = BAD[case]
    before = {path: path.read_bytes() for path in mess.rglob("*") if path.is_file()}
    line = error(*arguments, code=code, cwd=mess)
    assert line.startswith("error: ")
    assert message in line
    assert {path: path.read_bytes() for path in mess.rglob("*") if path.is_file()} == before


def test_wrong_options_are_usage_errors():
    assert "--colour" in unet_deploy("segment", "a.tif", "--colour", code=2)[1]
    unet_deploy("segment", code=2)


def test_ctrl_c_after_the_last_line_changes_nothing():
    lines = (
        "import atexit, signal, sys",
        "from unet_deploy.cli import main",
        "atexit.register(signal.raise_signal, signal.SIGINT)",
        "sys.argv[1:] = ['--version']",
        "main()",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_leaves_no_file_half_written_and_exits_with_130(tmp_path):
    slide = tmp_path / "slide.tif"
    tifffile.imwrite(slide, shape=(6000, 6000), dtype=np.uint8, tile=(256, 256))
    command = command_words("segment", slide, "-o", tmp_path / "mask.tif")
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        time.sleep(0.1)
        if list(tmp_path.glob(".mask*")):
            break
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    kept = {".mask.tif.spool"} & set(os.listdir(tmp_path))  # where a block was finished by then
    told = [f"{tmp_path / 'mask.tif'}: what is finished is kept; go on with the same command and --resume"]
    assert said.splitlines() == told * len(kept) + ["error: interrupted; no file was left half-written"]
    assert set(os.listdir(tmp_path)) == {"slide.tif", *kept}
