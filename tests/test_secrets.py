"""User, password and query of a URL are never printed, logged, stored or put into metadata."""

import json
from pathlib import Path

import numpy as np
import pytest

from unet_deploy.errors import ImageError, UnetDeployError, address, reason, without_secrets

SECRETS = ("S3cretPw", "T0kenT0ken", "u5erName")


def is_clean(text):
    return not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u5erName:S3cretPw@host/x.zarr", "http://***@host/x.zarr"),
        ("http:/u5erName:S3cretPw@host:80/x.zarr", "http:/***@host:80/x.zarr"),
        ("HTTPS://u5erName:S3c@etPw@host/x.zarr", "HTTPS://***@host/x.zarr"),
        ("https://u5erName:S3cret/Pw@host/x.zarr", "https://***@host/x.zarr"),
        ("https://u5erName:S3cret?Pw#@host/x.zarr", "https://***@host/x.zarr"),
        ("https://T0kenT0ken@host/x.zarr", "https://***@host/x.zarr"),
        ("https://host/x.zarr?sig=T0kenT0ken&se=2026", "https://host/x.zarr?***"),
        ("https://host/x.zarr#access=T0kenT0ken", "https://host/x.zarr#***"),
        ("https://u5erName:S3cretPw@host/x.zarr?sig=T0ken T0ken\nT0ken", "https://***@host/x.zarr?***"),
        ("s3://u5erName:S3cretPw@bucket/a/b.zarr", "s3://***@bucket/a/b.zarr"),
        ("https://host:8080/a@b/x.zarr", "https://host:8080/a@b/x.zarr"),
        ("https://host/x.zarr", "https://host/x.zarr"),
        ("C:/scans/a@b?.tif", "C:/scans/a@b?.tif"),
        ("scans/a:b@c.tif", "scans/a:b@c.tif"),
    ],
)
def test_an_address_is_shown_without_them(url, shown):
    assert address(url) == shown
    if not any(each.isspace() for each in url):
        assert without_secrets(f"error: {url}: cannot be read") == f"error: {shown}: cannot be read"
        assert without_secrets(f"404, url='{url}'") == f"404, url='{shown}'"


def test_every_error_of_ours_and_every_reason_is_without_them():
    url = "http://u5erName:S3cretPw@host/x.zarr?sig=T0kenT0ken"
    assert str(UnetDeployError(f"{url}: no")) == "http://***@host/x.zarr?***: no"
    assert str(ImageError(f"{url}: no")) == "http://***@host/x.zarr?***: no"
    assert is_clean(reason(OSError(f"cannot open {url}")))
    assert is_clean(reason(OSError("x" * 180 + f" {url}")))


@pytest.fixture
def secret_url(speckle):
    """An image behind a URL of fsspec whose user, password and query a server would take."""
    pytest.importorskip("fsspec")
    zarr = pytest.importorskip("zarr")
    url = "memory://u5erName:S3cretPw@bucket/i.zarr"
    zarr.create_array(url, data=np.ascontiguousarray(speckle[:150, :170]), chunks=(64, 64), overwrite=True)
    return url


def test_a_whole_run_neither_prints_nor_stores_them(secret_url, tmp_path, capsys, monkeypatch):
    from cli.in_process import run

    monkeypatch.chdir(tmp_path)
    for words in (["--dry-run"], ["--objects", "c.csv"], ["--overwrite", "--resume"]):
        assert run("segment", secret_url, "-o", tmp_path / "m.zarr", *words, "--model", "nuclei") == 0
    assert run("segment", secret_url, "-o", "m.tif", "--objects", "c.geojson", "--overlay", "--model", "nuclei") == 0
    assert run("info", secret_url) == 0
    said = "".join(capsys.readouterr())
    assert is_clean(said)
    assert "memory:/" in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not any(secret.encode() in path.read_bytes() for secret in SECRETS[:2]), path


def test_what_an_unfinished_run_keeps_is_without_them(secret_url, tmp_path, monkeypatch):
    from unet_deploy.images import open_image
    from unet_deploy.masks.unfinished import header_of

    state = open_image(Path(secret_url)).state()
    assert is_clean(json.dumps(state))
    assert is_clean(header_of({"image": state}))
    assert state == open_image(Path(secret_url)).state()


@pytest.mark.parametrize(
    "url", ["http://u5erName:S3cretPw@127.0.0.1:9/x.zarr", "http://127.0.0.1:9/x.zarr?sig=T0kenT0ken"]
)
def test_a_server_that_is_not_there_is_named_without_them(url, tmp_path, capsys):
    pytest.importorskip("aiohttp")
    from cli.in_process import run

    import unet_deploy

    for words in (["segment", url, "-o", tmp_path / "m.tif"], ["segment", url, "-o", tmp_path / "m.tif", "--dry-run"]):
        assert run(*words) == 3
    assert run("info", url) == 3
    said = "".join(capsys.readouterr())
    assert is_clean(said)
    assert "127.0.0.1:9/x.zarr" in said
    with pytest.raises(ImageError) as caught:
        unet_deploy.segment_file(url, tmp_path / "m.tif")
    assert is_clean(str(caught.value))
    assert caught.value.__cause__ is None


def test_the_command_in_a_card_is_without_them(monkeypatch):
    import sys

    from unet_deploy.cli.options import CardOptions

    monkeypatch.setattr(sys, "argv", ["unet-deploy", "train", "https://u5erName:S3cretPw@host/data?sig=T0kenT0ken"])
    assert is_clean(CardOptions().fields()["command"])
