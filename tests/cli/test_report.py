"""The report that `segment` writes of its images, and the line that says not to trust one."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from in_process import refusal, run


@pytest.fixture
def images(tmp_path, nuclei_image):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", nuclei_image[:400, :400])
    tifffile.imwrite(folder / "dark.tif", np.full((300, 300), 9, np.uint8))
    return folder


def read(path):
    return {each["image"].rsplit("/", 1)[-1]: each for each in json.loads(path.read_text())["images"]}


def test_it_says_of_each_image_what_was_made_and_how_far_to_trust_it(images, nuclei_image, tmp_path, capsys):
    (images / "broken.tif").write_bytes(b"II*\0 and no more")
    words = ("segment", images, "-o", tmp_path / "masks", "--report", tmp_path / "r.json", "--objects", "csv")
    assert run(*words) == 3
    said = capsys.readouterr().err
    assert "dark.tif: look before you trust this mask: nothing was found" in said
    found = read(tmp_path / "r.json")
    assert list(found) == ["a.tif", "broken.tif", "dark.tif"]
    assert found["dark.tif"]["doubts"] == ["nothing was found"]
    assert found["dark.tif"]["confidence"] is None
    assert "broken.tif" in found["broken.tif"]["error"]
    good = found["a.tif"]
    assert good["confidence"] > 0.8
    assert good["doubts"] == []
    assert good["model"] == "nuclei"
    mask, table = map(Path, good["files"])
    assert mask.exists()
    assert good["objects"] == len(table.read_text().splitlines()) - 1 > 0
    (images / "broken.tif").unlink()
    tifffile.imwrite(images / "late.tif", nuclei_image[400:, 400:])
    assert run(*words, "--resume") == 0
    again = read(tmp_path / "r.json")
    assert again["a.tif"] == good
    assert again["late.tif"]["confidence"] > 0.5


def test_a_dry_run_writes_none(images, tmp_path):
    run("segment", images / "a.tif", "-o", tmp_path / "m.tif", "--report", tmp_path / "r.json", "--dry-run")
    assert not (tmp_path / "r.json").exists()


def test_what_is_not_its_own_is_not_replaced(images, tmp_path, capsys):
    words = ("segment", images / "a.tif", "-o", tmp_path / "m.tif", "--report")
    other = tmp_path / "other.json"
    other.write_text('{"images": 3}')
    assert "exists; pass --overwrite" in refusal(capsys, *words, other)
    assert "no run of ours wrote it" in refusal(capsys, *words, other, "--resume")
    assert "give a name that ends in .json" in refusal(capsys, *words, tmp_path / "r.txt")
    assert "there is no folder" in refusal(capsys, *words, tmp_path / "no" / "r.json", code=1)
    assert other.read_text() == '{"images": 3}'
    assert not (tmp_path / "m.tif").exists()


def test_of_a_run_that_was_broken_off_before_anything_was_made_there_is_none(images, tmp_path, monkeypatch):
    from unet_deploy.segmentation import run as running

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    words = ("segment", images, "-o", tmp_path / "out", "--report", tmp_path / "r.json", "--report")
    with monkeypatch.context() as broken:
        broken.setattr(running, "begin_file", interrupted)
        assert run(*words, tmp_path / "r.html") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]
    assert run(*words, tmp_path / "r.html") == 0
    assert list(read(tmp_path / "r.json")) == ["a.tif", "dark.tif"]
