"""The page on a better model is followed to its end, and the model is better."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from in_process import run

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from unet_deploy.objects.outlines import outlines
from unet_deploy.tiling import Region

PAGE = Path(__file__).parents[2] / "docs" / "better-model.md"
LINE = re.compile(r"^(unet-deploy|python) (.*)$", re.MULTILINE)


def draw(regions: Path, truth: Path, drawing: Path) -> None:
    """Do what the page asks a person to: draw every nucleus of some regions, as QuPath would save it."""
    numbers = tifffile.imread(truth).astype(np.int32)
    features = json.loads(regions.read_text())["features"]
    inside = np.zeros(numbers.shape, bool)
    for feature in features:
        corners = np.array(feature["geometry"]["coordinates"][0], int)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        inside[top:bottom, left:right] = True
    numbers[~np.isin(numbers, numbers[inside])] = 0
    for outline in outlines([(Region(0, 0, *numbers.shape), numbers)]):
        rings = [[ring.tolist() + ring[:1].tolist() for ring in polygon] for polygon in outline.polygons]
        said = {"objectType": "annotation", "classification": {"name": "Nucleus"}}
        geometry = {"type": "MultiPolygon", "coordinates": rings}
        features.append({"type": "Feature", "geometry": geometry, "properties": said})
    drawing.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.mark.long
def test_a_few_regions_of_a_slide_make_a_better_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scores = []
    for program, line in LINE.findall(PAGE.read_text().replace("--max-minutes 5", "--steps 150")):
        words = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True)
            continue
        assert run(*words) == 0, (words, capsys.readouterr().err)
        said = capsys.readouterr()
        if words[0] == "suggest":
            draw(tmp_path / "regions.geojson", tmp_path / "light.truth.tif", tmp_path / "slide.geojson")
        if words[0] == "score":
            scores.append(float(re.search(r"object F1 at IoU 0.5 +([\d.]+)", said.out)[1]))
        if "before.tif" in words:
            assert "warning:" in said.err
    before, after = scores
    assert after > before + 0.05
