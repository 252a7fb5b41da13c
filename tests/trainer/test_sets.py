"""Several data sets are drawn from alike, whole ones are held back, and objects are brought to one diameter."""

import shutil

import numpy as np
import pytest
import tifffile

torch = pytest.importorskip("torch")

from trainer.augment import Planes, draw_tile  # noqa: E402
from trainer.data import add_weights  # noqa: E402
from trainer.description import ModelDescription  # noqa: E402
from trainer.fitted import diameter_of, resized  # noqa: E402
from trainer.recipe import PRESETS, Augmentation  # noqa: E402
from trainer.sets import DataSet, extent_of, find_sets, read_sets  # noqa: E402
from unet_deploy.annotations.marking import Marking  # noqa: E402
from unet_deploy.errors import DataError, UsageError  # noqa: E402

CELLS = ModelDescription(("background", "cell"))
STILL = Augmentation(elastic=0, scale=0, grey=0, noise=0, blur=0)


def discs(side, radius, step):
    """Discs on a grid, numbered, (side, side) int32, and the image of them."""
    y, x = np.indices((side, side))
    inside = (y % step - step / 2) ** 2 + (x % step - step / 2) ** 2 < radius**2
    objects = np.where(inside, y // step * (side // step + 1) + x // step + 1, 0).astype(np.int32)
    return objects, (40 + 180 * inside).astype(np.uint8)


@pytest.fixture
def laboratories(tmp_path):
    """Two folders: six small images of discs of 10 px, and two large ones of 60 px."""
    for name, count, side, radius, step in (("near", 6, 120, 5, 24), ("far", 2, 300, 30, 100)):
        for kind, of in (("masks", 0), ("images", 1)):
            (tmp_path / name / kind).mkdir(parents=True)
            for at in range(count):
                plane = discs(side, radius, step)[of]
                tifffile.imwrite(tmp_path / name / kind / f"{at}.tif", plane.astype(np.uint16 if of == 0 else np.uint8))
    return tmp_path


def sets(laboratories, **options):
    return [DataSet(laboratories / name, **options) for name in ("near", "far")]


def test_each_set_is_drawn_from_as_its_weight_says_whatever_its_size(laboratories):
    near, far = sets(laboratories, validation="last:1")
    found = read_sets([near, DataSet(far.path, validation="last:1", weight=3)], CELLS)
    chances = {"near": 0.0, "far": 0.0}
    for each in found.training:
        chances[each.name.split("/")[0]] += each.share * np.sqrt(each.labels.size)
    assert chances == pytest.approx({"near": 1, "far": 3})
    assert (len(found.training), len(found.validation), len(found.images)) == (6, 2, 8)


def test_what_is_not_annotated_makes_no_set_drawn_less(laboratories):
    for mask in (laboratories / "near" / "masks").iterdir():
        objects = tifffile.imread(mask)
        objects[:, 40:] = 9000
        tifffile.imwrite(mask, objects)
    found = read_sets(sets(laboratories, marking=Marking(ignore=9000)), CELLS)
    chances = {"near": 0.0, "far": 0.0}
    for each in found.training:
        chances[each.name.split("/")[0]] += each.share * np.sqrt(each.said.size)
    assert chances == pytest.approx({"near": 1, "far": 1})


def test_an_only_set_is_drawn_as_ever(laboratories):
    found = read_sets([DataSet(laboratories / "near")], CELLS)
    assert {each.share for each in found.images} == {1.0}
    assert found.images[0].name == "0"


def test_whole_sets_are_held_back_by_their_names(laboratories):
    found = read_sets(sets(laboratories, validation="set:far"), CELLS)
    assert {each.name for each in found.validation} == {"far/0", "far/1"}
    assert all(each.name.startswith("near/") for each in found.training)
    assert found.held_out == "set:far held back: 2 of 8 images"
    assert extent_of(find_sets(sets(laboratories, validation="set:far"))).validation == ((300, 300), (300, 300))


@pytest.mark.parametrize("rule", ["set:nowhere", "set:near,far"])
def test_sets_that_cannot_be_held_back_are_named(laboratories, rule):
    with pytest.raises(UsageError, match="--validation set:"):
        read_sets(sets(laboratories, validation=rule), CELLS)


def test_two_sets_of_one_name_are_refused(laboratories):
    shutil.copytree(laboratories / "near", laboratories / "other" / "near")
    both = [DataSet(laboratories / "near"), DataSet(laboratories / "other" / "near")]
    with pytest.raises(UsageError, match="two sets are named near"):
        read_sets(both, CELLS)


def test_a_set_may_lack_a_class_that_another_has(laboratories):
    for path in (laboratories / "far" / "masks").iterdir():
        tifffile.imwrite(path, np.zeros((300, 300), np.uint16))
    found = read_sets(sets(laboratories), CELLS)
    assert {each.name.partition("/")[0] for each in found.training} == {"near", "far"}


def test_objects_that_fill_the_image_are_learned_by_the_gaps_between_them(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    numbers = np.kron(np.arange(1, 17, dtype=np.uint16).reshape(4, 4), np.ones((30, 30), np.uint16))
    for at in range(3):
        tifffile.imwrite(tmp_path / "images" / f"{at}.tif", (numbers * 9).astype(np.uint8))
        tifffile.imwrite(tmp_path / "masks" / f"{at}.tif", numbers)
    found = read_sets([DataSet(tmp_path, mask_kind="instances")], CELLS)
    assert all(set(np.unique(each.labels)) == {0, 1} for each in found.training)


def test_sets_of_other_channels_are_refused(laboratories):
    for path in (laboratories / "far" / "images").iterdir():
        image = tifffile.imread(path)
        tifffile.imwrite(path, np.stack([image, image]), photometric="minisblack", planarconfig="separate")
    with pytest.raises(DataError, match="2 channels, but near/0 has 1"):
        read_sets(sets(laboratories), CELLS)


def test_the_diameter_of_a_disc_is_its_own_and_specks_do_not_count():
    objects = discs(300, 30, 100)[0]
    assert diameter_of(objects) == pytest.approx(60, rel=0.03)
    objects[::20, ::20] = np.where(objects[::20, ::20] == 0, np.arange(15 * 15).reshape(15, 15) + 100, 0)
    assert diameter_of(objects) == pytest.approx(60, rel=0.06)
    assert diameter_of(np.zeros((9, 9), np.int32)) is None


def test_objects_are_brought_to_one_diameter(laboratories):
    found = read_sets(sets(laboratories, validation="last:1"), CELLS, 20.0)
    for each in found.training:
        assert diameter_of(each.objects) * each.zoom == pytest.approx(20, rel=0.1)
        assert each.zoom >= 1  # what is large is made smaller once, and not for each tile
    for each in found.validation:
        assert (each.zoom, diameter_of(each.objects)) == (1.0, pytest.approx(20, rel=0.1))
        assert abs(np.corrcoef(each.image.ravel(), each.labels.ravel())[0, 1]) > 0.9


def test_of_an_only_image_the_share_held_back_is_that_of_its_file_whatever_size_it_is_brought_to(laboratories):
    for kind in ("images", "masks"):
        (laboratories / "far" / kind / "1.tif").unlink()
    found = read_sets([DataSet(laboratories / "far", validation="last:0.4")], CELLS, 120.0)
    assert found.held_out == "last:0.4 held back: 40% of the only image"


def test_a_tile_shows_objects_of_that_diameter(laboratories):
    found = read_sets(sets(laboratories, validation="last:1"), CELLS, 20.0)
    for sample in add_weights(found.training, 2, PRESETS["modern"]):
        image, labels, _ = draw_tile(Planes.of(sample), 284, 20, STILL, np.random.default_rng(0))
        pitch = 48 if sample.name.startswith("near") else 100 / 3
        share = np.pi * 10**2 / pitch**2
        assert labels.float().mean() == pytest.approx(share, rel=0.25)
        assert ((image[0, 20:-20, 20:-20] > image.mean()).long() == labels).float().mean() > 0.95


def test_objects_that_touch_stay_apart_when_an_image_shrinks(laboratories):
    found = read_sets([DataSet(laboratories / "far", validation="last:1")], CELLS).images[0]
    left, right = found.objects.copy(), np.indices(found.objects.shape)[1] >= 150
    left[:] = np.where(right, 2, 1)
    touching = resized(type(found)("two", found.image, np.ones_like(found.labels), left), 0.2)
    assert touching.labels.shape == (60, 60)
    assert {1, 2} <= set(np.unique(touching.objects))
    assert (touching.labels == 0).any(axis=1).all()
