"""Masks open in the programs that people have, with the pixels that were written."""

import shutil
import subprocess

import numpy as np
import pytest
import tifffile

import unet_deploy
from unet_deploy import Outputs
from unet_deploy.system.colours import class_colour

KINDS = ("labels", "instances", "probabilities")


@pytest.fixture(scope="module", params=["strips", "tiles"])
def masks(request, tmp_path_factory, nuclei):
    """A small mask of each kind by its name, with its pixels as tifffile reads them."""
    folder = tmp_path_factory.mktemp(request.param)
    grey = (np.indices((300, 420)).sum(0) % 90).astype(np.uint8)
    grey[60:120, 80:150] = 220
    grey[150:250, 200:300] = 180
    metadata = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(folder / "image.tif", grey, **metadata)
    paths = {kind: folder / f"{kind}.tif" for kind in KINDS}
    outputs = Outputs(paths["labels"], paths["probabilities"], instances=paths["instances"], layout=request.param)
    unet_deploy.segment_file(folder / "image.tif", outputs, nuclei)
    return request.param, {kind: (path, tifffile.imread(path)) for kind, path in paths.items()}


def check(masks, read, kinds=KINDS):
    """Compare what a program reads with what was written; where it gives one page, with the first."""
    for kind in kinds:
        path, truth = masks[1][kind]
        found = np.asarray(read(str(path)))
        np.testing.assert_array_equal(found, truth if found.ndim == truth.ndim else truth[0], err_msg=kind)


def in_strips(masks):
    if masks[0] == "tiles":
        pytest.skip("such programs read strips alone: --layout tiles is not for them")


def test_simple_itk(masks):
    itk = pytest.importorskip("SimpleITK")
    in_strips(masks)
    check(masks, lambda path: itk.GetArrayFromImage(itk.ReadImage(path)))
    assert itk.ReadImage(str(masks[1]["labels"][0])).GetNumberOfComponentsPerPixel() == 1


def test_opencv(masks):
    cv2 = pytest.importorskip("cv2")
    check(masks, lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED))


def test_pyvips(masks):
    pyvips = pytest.importorskip("pyvips")
    check(masks, lambda path: pyvips.Image.new_from_file(path).numpy())


def test_pillow(masks):
    image = pytest.importorskip("PIL.Image")
    check(masks, lambda path: np.asarray(image.open(path)))


def test_imageio(masks):
    imageio = pytest.importorskip("imageio.v3")
    check(masks, imageio.imread)


def test_gdal(masks, tmp_path):
    if not shutil.which("gdal_translate"):
        pytest.skip("GDAL (gdal-bin) is not installed")

    def read(path):
        raw = tmp_path / "raw.img"
        subprocess.run(["gdal_translate", "-q", "-of", "ENVI", path, raw], check=True, capture_output=True)
        truth = tifffile.imread(path)
        return np.fromfile(raw, truth.dtype).reshape(truth.shape[-2:])

    check(masks, read)


MACRO = """
open("{path}"); getPixelSize(unit, width, height); getDimensions(w, h, channels, slices, frames);
print("IMAGE " + w + " " + h + " " + channels * slices * frames + " " + unit + " " + width + " " + bitDepth());
setSlice({slice});
s = "ROW"; for (x = 0; x < w; x++) s += " " + getPixel(x, {row}); print(s);
run("RGB Color"); v = getPixel({shown[1]}, {shown[0]});
print("SHOWN " + ((v >> 16) & 255) + " " + ((v >> 8) & 255) + " " + (v & 255));
"""


def test_imagej_without_plugins(masks, tmp_path):
    """ImageJ 1.53 as Debian packages it reads no tiles and no BigTIFF by itself."""
    if not (shutil.which("imagej") and shutil.which("xvfb-run")):
        pytest.skip("ImageJ and Xvfb (imagej, xvfb) are not installed")
    in_strips(masks)
    shown = np.argwhere(masks[1]["labels"][1] == 1)[0]
    for kind in KINDS:
        path, truth = masks[1][kind]
        macro = tmp_path / "read.ijm"
        macro.write_text(MACRO.format(path=path, row=200, slice=truth.ndim - 1, shown=shown))
        command = ["xvfb-run", "-a", "imagej", "-b", str(macro)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
        lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
        planes = truth.reshape(-1, *truth.shape[-2:])
        width, height, pages, unit, size, depth = lines["IMAGE"]
        assert (int(height), int(width), int(pages)) == (*planes.shape[1:], len(planes))
        assert unit in ("µm", "um", "microns", "micron")
        assert float(size) == 0.5
        assert int(depth) == 8 * truth.dtype.itemsize
        np.testing.assert_allclose(np.array(lines["ROW"], float), planes[truth.ndim - 2, 200], atol=1e-4)
        if kind == "labels":
            assert tuple(map(int, lines["SHOWN"])) == class_colour(1)
