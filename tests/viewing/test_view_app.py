"""What a browser is answered of a scene, and what it is not."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from itertools import product

import imagecodecs
import numpy as np
import pytest
import tifffile

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from starlette.testclient import TestClient

from unet_deploy.errors import UsageError
from unet_deploy.system.colours import class_colour
from unet_deploy.viewing import layer as layers
from unet_deploy.viewing import overview
from unet_deploy.viewing.app import application
from unet_deploy.viewing.named import sort_out
from unet_deploy.viewing.scene import Place, open_scene
from unet_deploy.viewing.serve import serve

GREY = np.random.default_rng(0).integers(0, 4000, (300, 400), dtype=np.uint16)
LABELS = (GREY // 1000).astype(np.uint8)
AS_IT_IS = "0,0,255,1,ffffff"


@pytest.fixture
def files(tmp_path):
    """An image and its mask."""
    tifffile.imwrite(tmp_path / "image.tif", GREY, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    tifffile.imwrite(tmp_path / "mask.tif", LABELS)
    return tmp_path / "image.tif", tmp_path / "mask.tif"


@pytest.fixture
def asking(files):
    """A function that asks the server of both for what lies behind the token."""
    image, mask = files
    with (
        open_scene(sort_out([image, mask])) as scene,
        TestClient(application(scene, "token"), "http://127.0.0.1") as client,
    ):
        yield lambda path, **more: client.get(f"/token/{path}", **more)


def test_the_scene_says_what_is_shown(asking):
    image, mask = asking("scene").json()
    assert (image["kind"], image["height"], image["width"], image["lastZoom"]) == ("image", 300, 400, 9)
    assert image["micrometres"] == [0.5, 0.5]
    assert (mask["kind"], mask["objects"]) == ("mask", False)


def test_the_tiles_of_a_mask_are_its_labels_pixel_by_pixel(asking):
    for row, column in product(range(2), range(2)):
        shown = imagecodecs.png_decode(asking(f"tile/1/0/9/{column}/{row}/fill").content)
        labels = LABELS[256 * row :, 256 * column :][:256, :256]
        np.testing.assert_array_equal(shown[..., 3] > 0, labels > 0)
        for label in range(1, 4):
            np.testing.assert_array_equal(
                (shown[..., :3] == class_colour(label)).all(-1) & (labels > 0), labels == label
            )


def test_the_tiles_of_an_image_have_the_contrast_that_was_asked_for(asking):
    shown = imagecodecs.png_decode(asking("tile/0/0/9/0/0/0,0,4000,1,00ff00").content)
    np.testing.assert_allclose(shown[..., 1], GREY[:256, :256] / 4000 * 255, atol=0.51)
    assert not shown[..., [0, 2]].any()


def test_the_contrast_that_is_proposed_is_one_that_can_be_asked_for(asking):
    proposed = asking("shades/0/0").json()
    assert proposed["shades"][0]["high"] == pytest.approx(3988, abs=10)
    assert asking(f"tile/0/0/0/0/0/{proposed['look']}").status_code == 200


def test_the_numbers_under_a_pixel_are_those_of_every_file(asking):
    assert asking("values/0/7/9").json() == [[int(GREY[7, 9])], [int(LABELS[7, 9])]]


def test_a_tile_is_kept_by_the_browser_and_the_rest_is_not(asking):
    assert "max-age" in asking("tile/1/0/9/0/0/fill").headers["cache-control"]
    assert asking("scene").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "../scene",
        "tile/2/0/9/0/0/fill",
        "tile/1/1/9/0/0/fill",
        "tile/1/0/10/0/0/fill",
        "tile/1/0/9/2/0/fill",
        "tile/1/0/9/99999999999999999999999/0/fill",
        "tile/1/0/9/-1/0/fill",
        "tile/1/0/9/0/0/filled",
        "tile/1/0/9/0/0/..%2f..%2fetc%2fpasswd",
        "tile/0/0/9/0/0/fill",
        "tile/0/0/9/0/0/1,0,255,1,ffffff",
        "tile/0/0/9/0/0/0,nan,255,1,ffffff",
        "tile/0/0/9/0/0/0,0,1e999,1,ffffff",
        "tile/0/0/9/0/0/" + ";".join(["0,0,255,1,ffffff"] * 17),
        "shades/1/0",
        "shades/0/7",
        "values/0/300/0",
        "values/0/0/400",
        "image.tif",
        "page/../serve.py",
        "page/%2e%2e%2fserve.py",
    ],
)
def test_what_there_is_not_is_not_found(asking, path):
    assert asking(path).status_code == 404


def test_the_page_and_all_that_it_is_made_of_come_from_the_server_itself(asking):
    page = asking("")
    assert page.headers["content-type"].startswith("text/html")
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"page/view.js", "page/view.css", "page/openseadragon.min.js"} <= set(linked)
    for each in linked:
        assert each == "data:," or asking(each).status_code == 200
    assert "Redistribution and use" in asking("page/openseadragon.LICENSE.txt").text


def test_foreign_names_and_wrong_tokens_are_refused(files):
    image, mask = files
    with (
        open_scene(sort_out([image, mask])) as scene,
        TestClient(application(scene, "token"), "http://127.0.0.1") as client,
    ):
        assert client.get("/token/scene", headers={"host": "evil.example"}).status_code == 403
        assert client.get("/wrong/scene").status_code == 404
        assert client.get("/scene").status_code == 404
        assert client.post("/token/scene").status_code == 405


def test_what_is_shown_before_its_overview_is_made_is_kept_nowhere(files, monkeypatch):
    monkeypatch.setattr(layers, "SMALL", 1000)
    monkeypatch.setattr(layers, "MOST_READ", 1000)
    monkeypatch.setattr(overview, "MOST", 1000)
    with open_scene(sort_out([files[0]])) as scene:
        place = Place(0, 0, 0, 0)
        assert not scene.tile(0, place, AS_IT_IS).is_final
        scene.files[0].layer.overview.wait()
        finished = scene.tile(0, place, AS_IT_IS)
        assert finished.is_final
        assert imagecodecs.png_decode(finished.data).shape == (1, 1, 3)
        assert scene.tile(0, place, AS_IT_IS) == finished


def test_a_damaged_file_is_said_to_be_so(asking, files):
    files[1].write_bytes(files[1].read_bytes()[:200])
    answer = asking("tile/1/0/9/1/1/fill")
    assert answer.status_code == 500
    assert "mask.tif" in answer.text


@pytest.mark.parametrize(
    ("shape", "says"),
    [((300, 300), "is 300 x 300 pixels, and .* 300 x 400; name files of the same"), ((3, 300, 400), None)],
)
def test_files_of_other_images_are_not_laid_one_over_another(tmp_path, files, shape, says):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros(shape, np.uint8), photometric="minisblack")
    if says is None:
        open_scene(sort_out([files[0], other])).close()
        return
    with pytest.raises(UsageError, match=says):
        open_scene(sort_out([files[0], other]))


def test_a_mask_of_a_coarser_level_lies_on_its_image(tmp_path, files):
    coarse = tmp_path / "coarse.tif"
    tifffile.imwrite(coarse, LABELS[::3, ::3])
    with open_scene(sort_out([files[0], coarse])) as scene:
        assert scene.values(0, 299, 399)[1] == (int(LABELS[297, 399]),)


def test_nothing_to_look_at_is_refused():
    with pytest.raises(UsageError, match="name an image or a mask to look at"):
        sort_out([])


def test_a_port_that_is_taken_and_a_host_of_others_are_refused(files):
    with open_scene(sort_out([files[0]])) as scene:
        with pytest.raises(UsageError, match=r"^--host 192\.0\.2\.1 --port 0: cannot be listened on"):
            serve(scene, print, host="192.0.2.1")
        with pytest.raises(UsageError, match=r"^--port 99999: there are 0 to 65535"):
            serve(scene, print, port=99_999)


def test_a_server_of_its_own_answers_until_ctrl_c_and_ends_well(files):
    script = (
        "import sys; from pathlib import Path; from unet_deploy.viewing.scene import open_scene;"
        "from unet_deploy.viewing.serve import serve; from unet_deploy.viewing.named import sort_out\n"
        "with open_scene(sort_out([Path(sys.argv[1])])) as scene: serve(scene, lambda at: print(at, flush=True))\n"
        "print('closed')"
    )
    command = [sys.executable, "-c", script, str(files[0])]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert len(address.split("/")[3]) >= 32
        with urllib.request.urlopen(f"{address}tile/0/0/9/0/0/{AS_IT_IS}", timeout=20) as answer:
            assert answer.headers["content-type"] == "image/png"
        server.send_signal(signal.SIGINT)
        said, wrong = server.communicate(timeout=20)
    finally:
        server.kill()
    assert (server.returncode, said, wrong) == (0, "closed\n", "")
