"""A slide of which regions are annotated is never read whole: each region is learned from and scored by itself."""

import json

import numpy as np
import pytest
import tifffile
from cells import cells
from in_process import run

from unet_deploy.images.reading import Reading

SIDE = 12_000
TRAINED, HELD_BACK = (3000, 1000), (9000, 8000)
"""Where the regions begin: y, x."""
QUICK = ("--width", 2, "--depth", 1, "--tile-size", 60, "--steps", 2, "--evaluate-every", 1, "--no-progress")


def box(of, left, top, right, bottom):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": of}},
    }


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A slide of 144 megapixels with two regions of cells, each annotated."""
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    rng, pixels, features = np.random.default_rng(4), np.full((SIDE, SIDE), 40, np.uint8), []
    for y, x in (TRAINED, HELD_BACK):
        picture, objects = cells(rng, 120, 9)
        pixels[y : y + 120, x : x + 120] = picture
        for number in np.unique(objects)[1:]:
            rows, columns = np.nonzero(objects == number)
            left, top = int(columns.min()), int(rows.min())
            features.append(box("Cell", x + left, y + top, x + int(columns.max()) + 1, y + int(rows.max()) + 1))
        features.append(box("Annotated", x, y, x + 120, y + 120))
    tifffile.imwrite(path, pixels, tile=(256, 256))
    path.with_suffix(".geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def read(monkeypatch):
    """All regions that are read of images, but for bands of whole rows, from which a grey scale is measured."""
    regions, opened = [], Reading.open

    def spied(self, path, **how):
        source = opened(self, path, **how)
        crop = source.crop
        source.crop = lambda page, region: regions.append(region) or crop(page, region)
        return source

    monkeypatch.setattr(Reading, "open", spied)
    yield regions
    assert max(region.height * region.width for region in regions) <= 1 << 22


def pixels_of(regions):
    return sum(region.height * region.width for region in regions if region.width < SIDE)


def test_what_is_read_is_small_in_training_and_in_evaluating(slide, tmp_path, read, capsys):
    pytest.importorskip("torch")
    weights, model = tmp_path / "w.pt", tmp_path / "m.onnx"
    assert run("train", slide, "-o", weights, *QUICK) == 0
    assert 0 < pixels_of(read) <= 2 * 700**2
    assert run("export", weights, "-o", model) == 0
    read.clear()
    capsys.readouterr()
    assert run("evaluate", model, slide, "--json", "--no-progress") == 0
    out, err = capsys.readouterr()
    assert 0 < pixels_of(read) <= 2 * 700**2
    assert list(json.loads(out)["images"]) == ["slide[y3000x1000]", "slide[y9000x8000]"]
    assert "the model was trained on 1 of 2 images" in err
    assert run("evaluate", model, slide, "--validation", "last:0.1", "--no-progress", "--plot", tmp_path / "s.png") == 0
    assert "was trained on" not in capsys.readouterr().err


def test_regions_are_counted_as_such(slide, capsys):
    pytest.importorskip("torch")
    assert run("train", slide, *QUICK[:-1], "--dry-run") == 0
    found = {line[:10].strip(): line[12:].strip() for line in capsys.readouterr().out.splitlines()}
    assert found["images"] == "2 regions of 1"
    assert found["pixels"] == "120 x 120"
    assert found["annotated"] == "0.02 %"
    assert found["held back"] == "1 of 2"
