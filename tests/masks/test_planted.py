"""What is kept beside a mask is the run's own: what was put there under its name is not followed or written over."""

import os
import stat
import sys

import numpy as np
import pytest

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.masks import Keep, MaskForm, open_mask
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

KEY = {"model": "abc"}
FORM = MaskForm(ImageInfo("image", 1, 1, 600, 600, np.dtype(np.uint8)))
ALL = Region(0, 0, 600, 600)

of_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither bits of who may read nor pipes with names"
)


def plant_link(place, target):
    place.symlink_to(target)


def plant_hard_link(place, target):
    os.link(target, place)


def plant_file(place, target):
    place.write_bytes(target.read_bytes())


def plant_pipe(place, target):
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no pipes with names")
    os.mkfifo(place)


def plant_folder(place, target):
    place.mkdir()
    (place / "precious").write_bytes(target.read_bytes())


def plant_linked_folder(place, target):
    (target.parent / "theirs").mkdir()
    plant_folder(target.parent / "theirs" / "inner", target)
    place.symlink_to(target.parent / "theirs", target_is_directory=True)


EVERY = [plant_link, plant_hard_link, plant_file, plant_pipe, plant_folder, plant_linked_folder]


@pytest.mark.parametrize("keep", [Keep(KEY), Keep(KEY, resume=True), Keep(KEY, overwrite=True), Keep()])
@pytest.mark.parametrize("plant", EVERY)
@pytest.mark.parametrize(("mask", "place"), [("m.tif", ".m.tif.spool"), ("m.zarr", ".m.zarr.part")])
def test_what_was_planted_under_the_hidden_name_is_refused_and_stays(tmp_path, mask, place, plant, keep):
    if mask.endswith(".zarr"):
        pytest.importorskip("zarr")
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    plant(tmp_path / place, target)
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    with pytest.raises(UsageError, match="but this is something else; move it away"):
        open_mask(tmp_path / mask, FORM, keep)
    assert {path: path.lstat().st_size for path in tmp_path.rglob("*")} == {p: s.st_size for p, s in before.items()}
    assert target.read_bytes() == b"precious"


def test_a_record_inside_the_folder_of_a_zarr_is_not_followed_either(tmp_path):
    pytest.importorskip("zarr")
    target, folder = tmp_path / "target", tmp_path / ".m.zarr.part"
    target.write_bytes(b"precious")
    folder.mkdir()
    (folder / "run.json").symlink_to(target)
    with pytest.raises(UsageError, match="something else"):
        open_mask(tmp_path / "m.zarr", FORM, Keep(KEY))
    assert target.read_bytes() == b"precious"


@of_posix
@pytest.mark.parametrize("name", ["m.tif", "m.zarr"])
def test_what_is_not_finished_is_for_its_owner_alone_and_the_mask_for_all(tmp_path, name):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    before = os.umask(0o022)
    try:
        with open_mask(tmp_path / name, FORM, Keep(KEY)) as mask:
            mask.write(0, ALL, np.zeros((1, 600, 600), np.uint8))
            (hidden,) = tmp_path.iterdir()
            assert stat.S_IMODE(hidden.stat().st_mode) & 0o077 == 0
            mask.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) in (0o644, 0o755)


@of_posix
def test_a_file_on_its_way_follows_no_link_and_is_for_its_owner_alone(tmp_path, monkeypatch):
    tokens = iter(["aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(tokens))
    target, path = tmp_path / "target", tmp_path / "table.csv"
    target.write_text("precious")
    (tmp_path / f".table.csv.{os.getpid()}.aaaa.part").symlink_to(target)
    os.mkfifo(tmp_path / ".table.csv.1.part")
    (tmp_path / ".table.csv.notes.part").write_text("precious")
    with replacing(path) as beside:
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600
        beside.write_text("whole")
    assert (path.read_text(), target.read_text()) == ("whole", "precious")
    assert (tmp_path / ".table.csv.notes.part").exists()
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
