"""What a person says on the command line of scales and thresholds, and what is said back."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from in_process import refusal, run

import unet_deploy as api
from unet_deploy.cli.opening import models_at_any_scale
from unet_deploy.model.decision import Decision
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.zoo import Request, open_model


def seen(path):
    return tifffile.imread(path)


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.tile(speckle, (2, 2))[:640, :800], resolution=(4e4, 4e4), resolutionunit=3)
    return path


@pytest.fixture
def knowing(tmp_path, nuclei):
    """The shipped model with a card that says which objects and pixels it knows."""
    file, path = read_model(nuclei), tmp_path / "knowing.onnx"
    save(file.proto, replace(file.card, pixel_size_um=0.5, decision=Decision(diameter=28)), path)
    return path


def test_what_is_finished_is_known_by_its_scale(slide, tmp_path, capsys):
    run("segment", slide, "-o", tmp_path / "m.tif", "--scale", "0.4", "-d", "cpu")
    run("segment", slide, "-o", tmp_path / "m.tif", "--scale", "0.4", "-d", "cpu", "--resume")
    assert "is finished already" in capsys.readouterr().err
    assert "no run of this image, model and settings" in refusal(
        capsys, "segment", slide, "-o", tmp_path / "m.tif", "--scale", "0.5", "-d", "cpu", "--resume"
    )


def test_a_diameter_and_a_pixel_size_are_scales_by_the_card(slide, tmp_path, knowing, capsys):
    for options, line in (
        (("--diameter", "90"), "objects of about 90 px: the image is taken at 0.311 of its size"),
        (("--pixel-size", "0.2"), "pixels of 0.2 um, of the model 0.5 um: the image is taken at 0.4 of its size"),
        (("--pixel-size", "auto"), "pixels of 0.25 um, of the model 0.5 um: the image is taken at 0.5 of its size"),
        (("--scale", "0.4"), "the image is taken at 0.4 of its size"),
        (("--scale", "1"), ""),
    ):
        run("segment", slide, "-m", knowing, "-o", tmp_path / "m.tif", "--overwrite", "-d", "cpu", *options)
        said = capsys.readouterr().err
        assert (f"slide.tif: {line}" in said) if line else ("taken" not in said)
        run("segment", slide, "-m", knowing, "-o", tmp_path / "dry.tif", "--dry-run", "-d", "cpu", *options)
        assert (line or "the image is taken as it is") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--pixel-size", "auto"), "the pixel size of model 'nuclei' is not known; give --scale"),
        (("--diameter", "90", "--scale", "2"), "--scale, --diameter: each of them says at which scale"),
        (("--scale", "9"), "--scale 9: give 0.05 to 8"),
        (("--scale", "nan"), "--scale nan: give 0.05 to 8"),
        (("--diameter", "0"), "--diameter 0: give a number above 0, or auto"),
        (("--pixel-size", "-1"), "--pixel-size -1: give a number above 0, or auto"),
        (("--threshold", "1"), "--threshold 1: give a probability between 0 and 1"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_remedy(slide, tmp_path, capsys, words, line):
    assert line in refusal(capsys, "segment", slide, "-o", tmp_path / "m.tif", "-d", "cpu", *words)
    assert not (tmp_path / "m.tif").exists()


def test_a_diameter_wants_a_card_that_says_one(slide, tmp_path, undecided, capsys):
    words = ("segment", slide, "-m", undecided, "-o", tmp_path / "m.tif", "-d", "cpu", "--diameter", "90")
    assert "the card of model 'nuclei' does not say which objects it knows best; give --scale" in refusal(
        capsys, *words
    )


def test_a_lower_threshold_finds_more(slide, tmp_path, capsys):
    found = {}
    for threshold in (0.2, 0.5, 0.8):
        run(
            "segment",
            slide,
            "-o",
            tmp_path / "m.tif",
            "--overwrite",
            "-d",
            "cpu",
            "--threshold",
            threshold,
            "--scale",
            1,
        )
        found[threshold] = seen(tmp_path / "m.tif")
        np.testing.assert_array_equal(
            api.segment(seen(slide), threshold=threshold, device="cpu", scale=1), found[threshold]
        )
    np.testing.assert_array_equal(found[0.5], api.segment(seen(slide), device="cpu", scale=1))
    assert found[0.2].mean() > found[0.5].mean() > found[0.8].mean()


def test_why_another_device_is_used_is_said_once_whatever_the_scale(capsys, monkeypatch, small_models):
    def on_the_cpu(path, request, *, notify, progress):
        notify(f"note: using the CPU: no room for tiles of {round(300 / request.scale)} pixels")
        return open_model(path, request)

    monkeypatch.setattr("unet_deploy.zoo.open_model", on_the_cpu)
    with models_at_any_scale(str(small_models["one"]), Request(device="cpu"), shown=False) as models:
        for scale in (0.5, 1.0):
            models.at(scale)
    assert capsys.readouterr().err == "note: using the CPU: no room for tiles of 600 pixels\n"
