"""`unet-deploy suggest`: from an image to regions that QuPath opens, and a sheet to look at."""

import json
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import tifffile
from in_process import refusal, run
from PIL import Image
from scipy import ndimage

import unet_deploy as api
from unet_deploy.errors import UsageError
from unet_deploy.images import open_image
from unet_deploy.segmentation.models import Given
from unet_deploy.segmentation.options import Options
from unet_deploy.segmentation.scaling import Scaling
from unet_deploy.suggestion.files import RegionFiles
from unet_deploy.suggestion.run import Wanted, _at_level, suggest, views
from unet_deploy.system.colours import YELLOW
from unet_deploy.tiling import Region

AS_IT_IS = ("--scale", "1", "-d", "cpu", "--no-progress")


@pytest.fixture
def slide(tmp_path, nuclei_image):
    """Drawn nuclei, those of one corner out of focus and noisy; (768, 768) uint8."""
    image = nuclei_image.copy()
    corner = ndimage.gaussian_filter(image[:256, 512:].astype(np.float32), 7)
    image[:256, 512:] = np.clip(corner / 3 + np.random.default_rng(0).normal(40, 10, corner.shape), 0, 255)
    tifffile.imwrite(tmp_path / "slide.tif", image)
    return tmp_path / "slide.tif"


def features(path):
    return json.loads(path.read_text())["features"]


def boxes(path):
    """y, x, bottom and right of each region, in the order of the numbers that are their names."""
    rings = {int(each["properties"]["name"]): each["geometry"]["coordinates"][0] for each in features(path)}
    corners = (np.array(rings[number]) for number in sorted(rings))
    return [(*ring.min(axis=0)[::-1].tolist(), *ring.max(axis=0)[::-1].tolist()) for ring in corners]


def test_regions_are_what_qupath_opens_inside_apart_and_the_same_whatever_the_tiles(tmp_path, slide):
    once, again = tmp_path / "once.geojson", tmp_path / "again.geojson"
    assert run("suggest", slide, "-o", once, "-n", 6, *AS_IT_IS) == 0
    assert run("suggest", slide, "-o", again, "-n", 6, *AS_IT_IS, "--tile-size", 444) == 0
    found = features(once)
    assert len(found) == 6
    for each in found:
        (ring,) = each["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert each["properties"]["objectType"] == "annotation"
        assert each["properties"]["classification"]["name"] == "Annotated"
        assert "plane" not in each["geometry"]
    for top, left, bottom, right in boxes(once):
        assert (bottom - top, right - left) == (128, 128)
        assert min(top, left) >= 0
        assert max(bottom, right) <= 768
    for one, other in combinations(boxes(once), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    assert boxes(again) == boxes(once)


def test_a_corner_that_is_unlike_the_rest_has_a_region_soon(tmp_path, slide):
    path = tmp_path / "r.geojson"
    assert run("suggest", slide, "-o", path, "-n", 3, *AS_IT_IS) == 0
    assert any(top < 256 and right > 512 for top, _, _, right in boxes(path))


def test_a_part_a_side_and_a_class_of_ones_own(tmp_path, slide):
    path = tmp_path / "r.geojson"
    part = ("--roi", "100,50,300,400", "--side", 75, "--annotated-class", "Todo", "-n", 4)
    assert run("suggest", slide, "-o", path, *part, *AS_IT_IS) == 0
    for top, left, bottom, right in boxes(path):
        assert (bottom - top, right - left) == (76, 76)
        assert 100 <= top < bottom <= 400
        assert 50 <= left < right <= 450
    assert {each["properties"]["classification"]["name"] for each in features(path)} == {"Todo"}


def test_regions_grow_with_the_objects_but_not_beyond_half_the_image(tmp_path, slide):
    path = tmp_path / "r.geojson"
    for scale, side in (("0.5", 256), ("0.2", 384)):
        assert run("suggest", slide, "-o", path, "-n", 2, "--scale", scale, "-d", "cpu", "--overwrite") == 0
        assert {bottom - top for top, _, bottom, _ in boxes(path)} == {side}


@pytest.mark.parametrize(
    ("height", "width", "scale", "side"),
    [(5000, 900, 1, 128), (5000, 900, 0.25, 450), (1024, 1280, 0.177, 512), (40, 900, 1, 40), (300, 300, 0.177, 300)],
)
def test_there_is_a_choice_of_regions_unless_they_would_be_smaller_than_objects(height, width, scale, side):
    assert Wanted().side_in(Region(0, 0, height, width), scale) == side


def test_more_than_fit_are_not_wanted_in_vain(tmp_path, slide, capsys):
    path = tmp_path / "r.geojson"
    assert run("suggest", slide, "-o", path, "-n", 9, "--side", 384, *AS_IT_IS) == 0
    said = capsys.readouterr()
    assert len(boxes(path)) == 4
    assert "4 of 9 regions" in said.err
    assert said.out == f"{path}: 4 regions, 384 pixels a side\n"


def test_places_are_those_of_the_finest_level(tmp_path, slide):
    image, path, coarse = tifffile.imread(slide), tmp_path / "pyramid.tif", tmp_path / "coarse.tif"
    fine = np.kron(image, np.ones((2, 2), np.uint8))
    with tifffile.TiffWriter(path) as file:
        file.write(fine, subifds=1, tile=(256, 256), photometric="minisblack")
        file.write(image, subfiletype=1, tile=(256, 256), photometric="minisblack")
    tifffile.imwrite(coarse, image)
    found = {}
    for name, words in (("pyramid", ("--level", 1)), ("coarse", ())):
        out = tmp_path / f"{name}.geojson"
        assert run("suggest", tmp_path / f"{name}.tif", "-o", out, "-n", 3, *words, *AS_IT_IS) == 0
        found[name] = boxes(out)
    assert found["pyramid"] == [tuple(2 * each for each in box) for box in found["coarse"]]


def test_pages_are_planes_and_several_images_share_the_regions(tmp_path, slide, capsys):
    image, folder = tifffile.imread(slide), tmp_path / "images"
    folder.mkdir()
    stack = np.stack([np.zeros_like(image), image])[:, :400, 300:]
    tifffile.imwrite(folder / "stack.tif", stack, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "flat.tif", image[300:600, :300])
    tifffile.imwrite(folder / "dark.tif", np.zeros((300, 300), np.uint8))
    assert run("suggest", folder, "-o", tmp_path / "out", "-n", 8, *AS_IT_IS) == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"stack.geojson", "flat.geojson"}
    assert {each["geometry"]["plane"]["z"] for each in features(out / "stack.geojson")} == {1}
    numbers = [each["properties"]["name"] for path in out.iterdir() for each in features(path)]
    assert sorted(numbers) == list("12345678")
    assert capsys.readouterr().out == f"2 files in {out}: 8 regions, 128 pixels a side\n"


def test_the_sheet_shows_doubts_in_yellow(tmp_path, slide):
    path, sheet = tmp_path / "r.geojson", tmp_path / "r.png"
    assert run("suggest", slide, "-o", path, "-n", 2, "--sheet", sheet, "--side", 384, *AS_IT_IS) == 0
    picture = np.asarray(Image.open(sheet)).astype(int)
    yellow = (np.abs(picture - YELLOW) < 40).all(axis=2)
    left, right = yellow[:, :320], yellow[:, 326:646]
    assert right.sum() > 500 > 10 * left.sum()


@pytest.mark.parametrize("side", [100, 900])
def test_what_is_shown_of_a_region_is_what_segment_says_of_it(slide, nuclei, side):
    options = Options(scaling=Scaling(1))
    mask, scores = api.segment(tifffile.imread(slide), scale=1, device="cpu", probabilities=True)
    with api.open_model(nuclei, device="cpu", probabilities=True) as model:
        (each,) = suggest([slide], Given(model), Wanted(1, min(side, 700)), options)
        (view,) = views([each], Given(model), options)
    step = -(-each.region.height // 320)
    there = tuple(slice(part.start, part.stop, step) for part in each.region.slices)
    np.testing.assert_array_equal(view.labels, mask[there])
    np.testing.assert_array_equal(view.pixels[0], tifffile.imread(slide)[there])
    np.testing.assert_allclose(view.doubts, 1 - np.abs(2 * scores[1] - 1)[there], atol=1e-3)


# -- a second time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["beside", "folder", "file"])
def test_what_is_annotated_already_is_not_suggested_again(tmp_path, slide, capsys, where):
    first = {"beside": slide.with_suffix(".geojson"), "folder": tmp_path / "done" / "slide.geojson"}
    first = first.get(where, tmp_path / "one.geojson")
    first.parent.mkdir(exist_ok=True)
    assert run("suggest", slide, "-o", first, "-n", 3, *AS_IT_IS) == 0
    given = {"beside": [], "folder": ["--avoid", first.parent], "file": ["--avoid", first]}[where]
    assert run("suggest", slide, "-o", tmp_path / "two.geojson", "-n", 3, *given, *AS_IT_IS) == 0
    assert "note: left out, as annotated already: 3 regions of slide.tif" in capsys.readouterr().err
    files = first, tmp_path / "two.geojson"
    old, new = ([Region(y, x, bottom - y, right - x) for y, x, bottom, right in boxes(path)] for path in files)
    assert len(new) == 3
    assert not any(all(one.intersection(other).sides) for one in old for other in new)


@pytest.mark.parametrize("level", [0, 1])
def test_what_is_annotated_is_found_again_on_each_level(slide, level, tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.tif") as tiff:
        pixels = tifffile.imread(slide)
        tiff.write(pixels, subifds=1, tile=(64, 64))
        tiff.write(pixels[::2, ::2], subfiletype=1, tile=(64, 64))
    with open_image(tmp_path / "p.tif", level=level) as source:
        expected = (Region(101, 40, 20, 21), Region(50, 20, 11, 11))[level]
        assert _at_level(Region(101, 40, 20, 21), source.info) == expected


def test_python_has_the_same(slide, undecided):
    with api.open_model(undecided, device="cpu", probabilities=True) as model:
        options = Options(scaling=Scaling(1))
        (first,) = api.suggest([str(slide)], model, api.Wanted(1), options)
        (second,) = api.suggest([slide], model, api.Wanted(1, apart_from={str(slide): [first.region]}), options)
    assert not all(first.region.intersection(second.region).sides)


def drawn(path, of, left=0, right=768):
    """A file of one shape, of the whole height."""
    path.parent.mkdir(exist_ok=True)
    ring = [[left, 0], [right, 0], [right, 768], [left, 768], [left, 0]]
    shape = {"geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps([{"type": "Feature", **shape, "properties": {"classification": {"name": of}}}]))


def placed(path, slide):
    """The slide in another place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(slide.read_bytes())
    return path


@pytest.mark.parametrize("given", [".", "images/day1", "images/day1/x.tif"])
def test_a_folder_is_taken_as_training_takes_it(tmp_path, slide, capsys, given):
    data = tmp_path / "data"
    placed(data / "images" / "day1" / "x.tif", slide)
    (data / "annotations").mkdir()
    drawn(data / "annotations" / "day1" / "x.geojson", "Annotated", 0, 400)
    assert run("suggest", data / given, "-o", tmp_path / "r.geojson", "-n", 2, *AS_IT_IS) == 0
    assert "left out, as annotated already: 1 region of x.tif" in capsys.readouterr().err
    assert all(left >= 400 for _, left, _, _ in boxes(tmp_path / "r.geojson"))


def test_a_folder_of_no_image_is_refused_as_before(tmp_path, slide, capsys):
    placed(tmp_path / "data" / "images" / "x.tif", slide)
    (tmp_path / "data" / "masks").mkdir()
    assert "no image in this folder" in refusal(capsys, "suggest", tmp_path / "data", "-o", tmp_path / "o", code=3)


@pytest.mark.parametrize("name", [None, "other.geojson"])
def test_drawings_to_avoid_that_are_of_no_image_are_said(tmp_path, slide, capsys, name):
    done = tmp_path / "done"
    done.mkdir()
    if name:
        drawn(done / name, "Annotated")
    assert run("suggest", slide, "-o", tmp_path / "r.geojson", "-n", 1, "--avoid", done, *AS_IT_IS) == 0
    assert f"note: --avoid {done}: holds no drawing named as an image is" in capsys.readouterr().err


def test_an_image_on_which_nothing_says_what_is_annotated_is_annotated_everywhere(tmp_path, slide, capsys):
    other = placed(tmp_path / "other.tif", slide)
    drawn(slide.with_suffix(".geojson"), "Nucleus", 0, 30)
    assert run("suggest", slide, other, "-o", tmp_path / "out", "-n", 2, *AS_IT_IS) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other.geojson"]
    assert (
        "slide.geojson has no shape of class 'Annotated', so all of slide.tif is annotated" in capsys.readouterr().err
    )


def test_a_region_beside_the_image_is_refused(tmp_path, slide, capsys):
    drawn(slide.with_suffix(".geojson"), "Annotated", 1000, 1256)
    line = refusal(capsys, "suggest", slide, "-o", tmp_path / "r.geojson", *AS_IT_IS, code=3)
    assert "slide.geojson: shape 1 at x 1128, y 384 lies outside its image of 768 x 768 pixels" in line


def test_what_lies_among_results_that_are_written_over_is_said(tmp_path, slide, capsys):
    out = tmp_path / "out"
    drawn(out / "old.geojson", "Annotated")
    assert run("suggest", slide, "-o", out, "-n", 1, *AS_IT_IS) == 0
    assert "not of this run" not in capsys.readouterr().err
    assert run("suggest", slide, "-o", out, "-n", 1, "--overwrite", *AS_IT_IS) == 0
    assert f"note: not of this run, and left in {out}: old.geojson" in capsys.readouterr().err
    assert (out / "old.geojson").exists()


def test_where_all_is_annotated_that_is_said(tmp_path, slide, capsys):
    drawn(slide.with_suffix(".geojson"), "Annotated")
    assert run("suggest", slide, "-o", tmp_path / "r.geojson", *AS_IT_IS) == 3
    assert "slide.tif: all of it that is not empty is annotated already" in capsys.readouterr().err


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_where_nothing_is_found_nothing_is_suggested(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "dark.tif", np.full((300, 400), 7, np.uint8))
    line = refusal(capsys, "suggest", tmp_path / "dark.tif", "-o", tmp_path / "r.geojson", *AS_IT_IS, code=3)
    assert "dark.tif: nothing was found and nothing is unsure" in line
    assert not (tmp_path / "r.geojson").exists()


def test_what_is_wrong_is_said_before_a_model_is_asked(tmp_path, slide, capsys):
    there = tmp_path / "there.geojson"
    there.write_text("{}")
    for words, says in (
        (["-o", there], "there.geojson exists; pass --overwrite"),
        (["-o", tmp_path / "r.json"], "r.json: regions are GeoJSON; give a name that ends in .geojson, or a folder"),
        (["-o", tmp_path / "r.geojson", "--sheet", tmp_path / "s.jpg"], "s.jpg: is drawn as PNG"),
        (["-o", tmp_path / "r.geojson", "--sheet", tmp_path / "r.geojson"], "give each output its own name"),
        (["-o", tmp_path / "r.geojson", "-n", "0"], "--number 0"),
        (["-o", tmp_path / "r.geojson", "--side", "769"], "768 x 768 pixels are less than one region of 770 pixels"),
        (["-o", tmp_path / "r.geojson", "--roi", "700,0,100,100"], "the region ends at (800, 100)"),
    ):
        assert says in refusal(capsys, "suggest", slide, *words, *AS_IT_IS)
    assert there.read_text() == "{}"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "slide.tif").write_bytes(slide.read_bytes())
    both = [slide, tmp_path / "b" / "slide.tif"]
    assert "one file for 2 images" in refusal(capsys, "suggest", *both, "-o", tmp_path / "r.geojson")
    assert "both" in refusal(capsys, "suggest", *both, "-o", tmp_path / "out")


def test_a_model_that_gives_labels_alone_cannot_say_what_it_is_unsure_of(slide, undecided):
    with api.open_model(undecided, device="cpu") as model, pytest.raises(UsageError, match="labels alone"):
        suggest([slide], Given(model))


def test_a_name_of_a_folder_is_a_folder(tmp_path, slide):
    (tmp_path / "out.geojson").mkdir()
    named = RegionFiles.of([slide], tmp_path / "out.geojson").regions
    assert list(named.values()) == [tmp_path / "out.geojson" / "slide.geojson"]


_PEAK = """
import sys
from pathlib import Path
from unet_deploy.cli import app
from unet_deploy.system.machine import peak_memory
try:
    app(["suggest", *sys.argv[1:]])
except SystemExit as left:
    assert not left.code
print(peak_memory())
"""


def test_memory_keeps_to_its_ceiling(tmp_path, slide):
    """36 megapixels, most of them glass, which would take 144 MB for each of several numbers a pixel."""
    large, ceiling = np.full((6000, 6000), 20, np.uint8), 450_000_000
    large[2500:3268, 2500:3268] = tifffile.imread(slide)
    tifffile.imwrite(tmp_path / "large.tif", large, tile=(256, 256))
    words = [tmp_path / "large.tif", "-o", tmp_path / "r.geojson", "--max-memory", ceiling, "--skip-background"]
    words = [sys.executable, "-c", _PEAK, *words, "--sheet", tmp_path / "s.png", *AS_IT_IS]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < ceiling
    assert all(2372 <= top <= 3268 for top, *_ in boxes(tmp_path / "r.geojson"))


def test_what_somebody_drew_is_not_written_over(tmp_path, slide, capsys):
    beside = slide.with_suffix(".geojson")
    words = ("suggest", slide, "-o", beside, "-n", 2, *AS_IT_IS)
    assert run(*words) == 0
    assert run(*words, "--overwrite") == 0  # regions that were suggested, and nothing in them
    drawn = json.loads(beside.read_text())
    cell = json.loads(json.dumps(drawn["features"][0]))
    cell["properties"]["classification"] = {"name": "cell"}
    drawn["features"].append(cell)
    beside.write_text(json.dumps(drawn))
    capsys.readouterr()
    for more in ((), ("-o", tmp_path), ("-o", tmp_path / "o.geojson", "--avoid", tmp_path / "o.geojson")):
        (tmp_path / "o.geojson").write_text(json.dumps(drawn))
        assert "is what is to be read, and would be lost" in refusal(capsys, *words, *more, "--overwrite")
    assert json.loads(beside.read_text()) == drawn
