"""The page in a real browser: what the screen shows is what the files hold, and nothing is asked of anyone else."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import imagecodecs
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unet_deploy.images.array import ArraySource
from unet_deploy.images.likeness import likeness
from unet_deploy.images.reading import Reading
from unet_deploy.masks import MaskForm, open_mask
from unet_deploy.masks.origin import Origin
from unet_deploy.measure.sample import write_sample
from unet_deploy.system.colours import BLUE, ORANGE, VERMILION

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.long

SIDE = 512
WIDE = {"width": 1280, "height": 800}
TOP, LEFT = (WIDE["height"] - SIDE) // 2, (WIDE["width"] - SIDE) // 2
"""Where the whole image lies on a screen of this size, one to one."""
CLASSES = ("background", "nucleus")


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    with browsers.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The sample slide, its truth, a mask that lies two pixels beside it, probabilities and a table of the truth."""
    folder = tmp_path_factory.mktemp("seen")
    write_sample(folder / "slide.tif", SIDE, SIDE, truth=folder / "slide.truth.tif", seed=3)
    truth = tifffile.imread(folder / "slide.truth.tif")
    labels = np.roll(truth > 0, 2, axis=1).astype(np.uint8)
    probabilities = ndimage.gaussian_filter(labels.astype(np.float32), 2)
    write(folder, "mask.tif", labels[None])
    write(folder, "mask.probabilities.tif", np.stack([1 - probabilities, probabilities]))
    lines = ["id,class_name,area_px,centroid_y,centroid_x,bbox_y,bbox_x,bbox_height,bbox_width"]
    for number, (rows, columns) in enumerate(ndimage.find_objects(truth), start=1):
        y, x = np.nonzero(truth == number)
        box = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        lines.append(",".join(map(str, (number, "nucleus", len(y), y.mean(), x.mean(), *box))))
    (folder / "cells.csv").write_text("\n".join(lines) + "\n")
    return folder


def write(folder, name, planes):
    """A mask or probabilities (K, H, W) that say that they are of the slide."""
    image = folder / "slide.tif"
    with Reading().open(image) as source:
        origin = Origin(image, Reading(), 0, likeness(source))
    info = ArraySource(np.zeros((SIDE, SIDE), np.uint8)).info
    form = MaskForm(info, len(planes), planes.dtype, classes=CLASSES, origin=origin)
    with open_mask(folder / name, form) as sink:
        sink.write(0, info.region, planes)
        sink.commit()


@pytest.fixture(scope="module")
def address(files):
    """Where a server shows all of them; the image is not named."""
    names = ("mask.tif", "slide.truth.tif", "mask.probabilities.tif", "cells.csv")
    with served(*(files / name for name in names)) as address:
        yield address


@contextmanager
def served(*named):
    """A server of some files; its address."""
    command = [sys.executable, "-m", "unet_deploy.cli", "view", *named, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def opened(browser, address):
    """A function that opens the page; at the end nothing went wrong in any, and none asked anyone else."""
    wrong, asked, contexts = [], [], []

    def open_page(view="", **more):
        contexts.append(browser.new_context(viewport=more.pop("viewport", WIDE), **more))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + view)
        page.wait_for_selector("#open-table", state="attached")
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert [each for each in asked if not each.startswith((address, "data:", "blob:"))] == []


def screen(page):
    """What is on the screen once it stays the same, (h, w, 3)."""
    before = b""
    for _ in range(20):
        page.wait_for_timeout(300)
        now = page.screenshot()
        if now == before:
            break
        before = now
    return imagecodecs.png_decode(now)[..., :3]


def shown(page):
    """What is on it of the image, one to one."""
    return screen(page)[TOP : TOP + SIDE, LEFT : LEFT + SIDE]


def alone(number, **look):
    """The address of a view of one file alone, whole and one to one."""
    files = [{"visible": at == number, "opacity": 1} for at in range(5)]
    files[number] |= look
    at = f"0.5,0.5,{SIDE / WIDE['width']}"
    return f"#at={at}&page=0&files={json.dumps(files)}"


def test_one_to_one_the_screen_shows_the_pixels_of_the_mask(opened, files):
    labels = tifffile.imread(files / "mask.tif") > 0
    found = shown(opened(alone(1)))
    np.testing.assert_array_equal((found == ORANGE).all(-1), labels)


def test_one_to_one_the_screen_shows_the_pixels_of_the_image(opened, files):
    page = opened(alone(0))
    low, high = (float(page.locator(f"label:has-text('{name}') input").input_value()) for name in ("black", "white"))
    grey = tifffile.imread(files / "slide.tif").astype(np.float64)
    expected = np.clip((grey - low) / (high - low), 0, 1) * 255
    assert np.abs(shown(page)[..., 0] - expected).max() <= 2  # the slider's step


def test_the_threshold_cuts_the_probabilities_where_it_says(opened, files):
    _, foreground = tifffile.imread(files / "mask.probabilities.tif")
    page = opened(alone(3))
    np.testing.assert_array_equal((shown(page) == ORANGE).all(-1), foreground > 0.5)
    for _ in range(4):
        page.keyboard.press("<")
    found = (shown(page) == ORANGE).all(-1)
    sure = np.abs(foreground - 0.3) > 1e-5
    np.testing.assert_array_equal(found[sure], (foreground > 0.3)[sure])


def test_what_two_masks_differ_in_is_shown_and_counted(opened, files):
    first, second = (tifffile.imread(files / name) > 0 for name in ("mask.tif", "slide.truth.tif"))
    page = opened(alone(1))
    page.keyboard.press("m")
    page.keyboard.press("d")
    page.locator(".count", has_text="px").first.wait_for()
    texts = filter(None, page.locator(".count").all_text_contents())
    said = [int(text.split()[0].replace(",", "")) for text in texts]
    assert said == [(first & second).sum(), (first & ~second).sum(), (second & ~first).sum()]
    found = shown(opened(alone(4)))
    np.testing.assert_array_equal((found == VERMILION).all(-1), first & ~second)
    np.testing.assert_array_equal((found == BLUE).all(-1), second & ~first)


def test_a_click_on_an_object_shows_its_row_and_a_row_flies_to_its_object(opened, files):
    truth = tifffile.imread(files / "slide.truth.tif")
    sizes = np.bincount(truth.ravel())
    number = int(sizes[1:].argmax()) + 1
    y, x = (int(np.median(axis)) for axis in np.nonzero(truth == number))
    page = opened(alone(1))
    page.mouse.click(LEFT + x, TOP + y)
    page.wait_for_selector("#object dt")
    row = dict(
        zip(page.locator("#object dt").all_text_contents(), page.locator("#object dd").all_text_contents(), strict=True)
    )
    assert (row["id"], row["area_px"]) == (str(number), str(sizes[number]))
    page.keyboard.press("t")
    page.get_by_role("button", name="area_px").click()
    page.wait_for_selector("th[aria-sort=ascending]")
    page.get_by_role("button", name="area_px").click()
    page.wait_for_selector("th[aria-sort=descending]")
    line = page.locator("tbody tr").first
    assert line.locator("td").first.text_content() == str(number)
    line.press("Enter")
    page.wait_for_timeout(900)
    box, picture = page.locator("#selected").bounding_box(), page.locator("#picture").bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(picture["width"] / 2, abs=3)
    assert box["y"] + box["height"] / 2 == pytest.approx(picture["height"] / 2, abs=3)


def test_a_click_beside_objects_selects_none(opened, files):
    empty = (tifffile.imread(files / "slide.truth.tif") == 0) & (tifffile.imread(files / "mask.tif") == 0)
    y, x = np.argwhere(empty[100:, 100:])[0] + 100
    page = opened(alone(1))
    page.mouse.click(LEFT + int(x), TOP + int(y))
    page.wait_for_timeout(300)
    assert page.locator("#object").is_hidden()


def test_a_rectangle_that_is_drawn_is_the_region_that_segment_takes(opened):
    page = opened(alone(0))
    page.keyboard.down("Shift")
    page.mouse.move(LEFT + 100, TOP + 50)
    page.mouse.down()
    page.mouse.move(LEFT + 150, TOP + 80, steps=3)
    page.mouse.move(LEFT + 199, TOP + 109, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.locator("#roi", has_text="--roi").wait_for()
    assert page.locator("#roi").text_content() == "--roi 50,100,60,100"


def test_the_address_holds_the_view(opened):
    page = opened()
    page.keyboard.press("1")
    page.keyboard.press("o")
    page.keyboard.press("]")
    page.wait_for_timeout(1000)
    before = screen(page)
    again = opened("#" + page.url.partition("#")[2])
    assert np.abs(screen(again).astype(int) - before).max() <= 2  # of text and lines, drawn anew


def test_two_masks_lie_side_by_side_at_the_same_place(opened):
    page = opened(alone(1))
    page.keyboard.press("b")
    page.wait_for_timeout(500)
    page.keyboard.press("+")
    page.wait_for_timeout(900)
    left, right = (page.locator(name).bounding_box() for name in ("#picture", "#other"))
    assert left["width"] == pytest.approx(right["width"], abs=2)
    picture = screen(page)
    assert (picture[:, int(right["x"]) :] != 17).any()


def test_what_is_focused_stays_so_when_it_changes_what_is_shown(opened):
    page = opened()
    for control in page.locator("legend input").all()[1:3]:
        control.focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(200)
        assert control.evaluate("element => element === document.activeElement")


def test_the_pages_and_channels_of_a_stack_are_turned_and_chosen(browser, tmp_path):
    grey = np.random.default_rng(0).integers(0, 4000, (3, 2, 100, 100), dtype=np.uint16)
    named = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "actin"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata=named, photometric="minisblack")
    command = [sys.executable, "-m", "unet_deploy.cli", "view", tmp_path / "a.ome.tif", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        page = browser.new_page(viewport=WIDE)
        page.goto(server.stdout.readline().strip())
        page.get_by_label("DAPI", exact=True).wait_for()
        page.keyboard.press(".")
        page.keyboard.press(".")
        page.get_by_label("DAPI", exact=True).uncheck()
        page.get_by_label("colour of actin").fill("#ff0000")
        page.keyboard.press("0")
        found = screen(page)[300:500, 540:740]
        assert page.locator("#page-name").text_content() == "z 2"
        assert found[..., 0].std() > 30
        assert not found[..., 1:].any()
        page.close()
    finally:
        server.kill()
        server.wait()


def test_every_key_of_the_list_does_no_harm(opened):
    page = opened()
    page.locator("#keys summary").click()
    for key in page.locator("#keys kbd").all_text_contents():
        if len(key) == 1:
            page.keyboard.press(key)
            page.wait_for_timeout(60)
    page.wait_for_timeout(500)
    assert page.locator("#wrong").text_content() == ""


@pytest.mark.parametrize("viewport", [{"width": 400, "height": 800}, {"width": 640, "height": 400}])
def test_on_a_narrow_screen_and_at_200_percent_all_can_be_reached(opened, viewport):
    page = opened(viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if not page.locator("#panel").get_attribute("open") is not None:
        page.locator("#panel > summary").click()
    page.locator("#open-table").scroll_into_view_if_needed()
    page.locator("#open-table").click()
    panel, table = page.locator("#panel").bounding_box(), page.locator("#table").bounding_box()
    assert panel["y"] + panel["height"] <= table["y"]
    assert panel["x"] + panel["width"] <= viewport["width"]


def test_on_a_narrow_screen_a_row_and_a_region_are_seen_with_the_settings_folded_away(opened, files):
    page = opened(viewport={"width": 400, "height": 800})
    page.keyboard.press("n")
    page.keyboard.press("r")
    page.locator("#roi", has_text="--roi").wait_for()
    assert page.locator("#panel").get_attribute("open") is None
    box = page.locator("#found").bounding_box()
    assert (box["x"], box["width"], box["y"] + box["height"]) == (0, 400, 800)
    assert page.locator("#object dd").first.is_visible()
    page.locator("#close-found").click()
    page.wait_for_function("document.querySelector('#found').hidden")


@pytest.mark.parametrize("at", ["0,0,0", "1e300,0,1", "0,0,-1", "x,y,z", "0.5,0.5,1e300"])
def test_an_address_that_leads_nowhere_shows_the_whole_image(opened, at):
    assert (screen(opened(f"#at={at}")) == screen(opened())).all()


def test_side_by_side_keeps_the_zoom(opened):
    page = opened()
    page.keyboard.press("1")
    page.wait_for_timeout(900)
    before = page.locator("#scale-bar").bounding_box()["width"], page.locator("#scale-text").text_content()
    page.keyboard.press("b")
    page.wait_for_timeout(900)
    assert page.locator("#other").is_visible()
    assert (page.locator("#scale-bar").bounding_box()["width"], page.locator("#scale-text").text_content()) == before


def test_the_minimap_shows_an_image_whose_overview_is_made_while_it_is_looked_at(browser, tmp_path):
    tifffile.imwrite(tmp_path / "white.tif", np.full((4200, 4200), 200, np.uint8), tile=(256, 256), compression="zlib")
    with served(tmp_path / "white.tif") as address:
        page = browser.new_page(viewport=WIDE)
        page.goto(address)
        page.wait_for_selector(".navigator")
        minimap = page.locator(".navigator").bounding_box()
        y, x = int(minimap["y"] + minimap["height"] / 2), int(minimap["x"] + minimap["width"] / 2)
        for _ in range(40):
            page.wait_for_timeout(500)
            if screen(page)[y - 20 : y + 20, x - 20 : x + 20].min() > 60:
                break
        else:
            pytest.fail("the minimap stays black")
        page.close()


def status(address, path="", host=None):
    """What the server answers."""
    request = urllib.request.Request(address + path, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_foreign_paths_wrong_tokens_and_foreign_names_are_refused(address, files):
    root = address.rsplit("/", 2)[0] + "/"
    assert status(address, "scene") == 200
    assert status(address, f"..%2f..{files}/slide.tif") == 404
    assert status(address, "page/..%2fserve.py") == 404
    assert status(root, "wrong/scene") == 404
    assert status(root, "scene") == 404
    assert status(address, "scene", host="evil.example") == 403
