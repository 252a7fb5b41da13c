"""A drawn tile is the sample, moved: labels follow the image, and what hangs over is mirrored."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from trainer import acquisition  # noqa: E402
from trainer.augment import CPU, Planes, Source, draw_batch, draw_tile  # noqa: E402
from trainer.batches import batches  # noqa: E402
from trainer.data import Sample  # noqa: E402
from trainer.places import Place, Places  # noqa: E402
from trainer.recipe import PRESETS, Augmentation  # noqa: E402

STILL = Augmentation(elastic=0, scale=0, grey=0, noise=0, blur=0)


def sample(height=120, width=140) -> Sample:
    rows, columns = np.indices((height, width))
    labels = ((rows // 20 + columns // 20) % 2).astype(np.uint8)
    image = labels[None].astype(np.float32)
    return Sample("board", image, labels, labels.astype(np.int32), 1 + labels.astype(np.float32))


@pytest.mark.parametrize("augmentation", [STILL, Augmentation(grey=0, noise=0, blur=0)])
def test_labels_and_weights_follow_the_image(augmentation):
    for seed in range(10):
        image, labels, weights = draw_tile(Planes.of(sample()), 84, 20, augmentation, np.random.default_rng(seed))
        assert image.shape == (1, 84, 84)
        assert labels.shape == weights.shape == (44, 44)
        inner = image[0, 20:64, 20:64]
        clear = (inner < 0.01) | (inner > 0.99)  # away from edges, where the image is interpolated
        assert clear.float().mean() > 0.5
        assert (inner.round().long() == labels)[clear].float().mean() > 0.99
        assert torch.equal(weights, 1 + labels.float())


def test_a_tile_larger_than_the_image_is_mirrored_not_padded():
    image, _, _ = draw_tile(Planes.of(sample(30, 30)), 124, 20, STILL, np.random.default_rng(0))
    assert 0.2 < image.mean() < 0.8
    assert image.min() > -1e-4
    assert image.max() < 1 + 1e-4


def test_images_of_one_pixel_a_side_do_not_fail():
    image, labels, _ = draw_tile(Planes.of(sample(1, 50)), 84, 20, Augmentation(), np.random.default_rng(0))
    assert torch.isfinite(image).all()
    assert labels.shape == (44, 44)


def test_the_same_seed_draws_the_same_batch_and_another_does_not():
    draws = [
        draw_batch(Source([sample()]), [Place(0), Place(0)], 84, 20, Augmentation(), [seed, 5]) for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0].image, draws[1].image)
    assert not torch.equal(draws[0].image, draws[2].image)
    assert not torch.equal(draws[0].image[0], draws[0].image[1])


def test_a_stronger_augmentation_varies_grey_values_and_size_more_and_none_not_at_all():
    assert Augmentation().times(1) == Augmentation()
    assert Augmentation().times(0) == replace(STILL, elastic=Augmentation().elastic)
    assert Augmentation().times(100).blur == 1
    spreads = []
    for strength in (0, 1, 3):
        augmentation = replace(Augmentation(), elastic=0).times(strength)
        drawn = [
            draw_tile(Planes.of(sample()), 84, 20, augmentation, np.random.default_rng(seed)) for seed in range(60)
        ]
        edges = [float((labels[:, 1:] != labels[:, :-1]).float().mean()) for _, labels, _ in drawn]
        spreads.append((np.std([float(image.amax()) for image, _, _ in drawn]), np.std(edges)))
    assert spreads[0][0] < 1e-3 < spreads[1][0] < spreads[2][0]
    assert spreads[1][1] < spreads[2][1]


def test_elastic_deformation_bends_by_about_its_standard_deviation():
    rows = np.indices((400, 400), dtype=np.float32)
    ramp = Sample(
        "ramp", rows, np.zeros((400, 400), np.uint8), np.zeros((400, 400), np.int32), np.ones((400, 400), np.float32)
    )
    bent, straight = [], []
    for seed in range(40):
        for deviation, into in ((10.0, bent), (0.0, straight)):
            still = Augmentation(elastic=deviation, scale=0, grey=0, noise=0, blur=0)
            image, _, _ = draw_tile(Planes.of(ramp), 84, 20, still, np.random.default_rng(seed))
            if image.min() > 0 and image.max() < 399:
                y = image[0, 42]
                into.append(float((y[0] + y[-1] - 2 * y[41]).abs()))
    assert np.median(straight) < 2
    assert 5 < np.median(bent) < 60


# -- on the device that trains ---------------------------------------------------------------------------------------

META = torch.device("meta")
"""A device that holds no numbers: whatever would be brought back from it cannot be."""


class OneDevice(TorchDispatchMode):
    """Refuses what works with tensors of two devices, but for uploads and single numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, torch.Tensor) and each.dim()]
        assert func is torch.ops.aten._to_copy.default or len({each.device for each in given}) < 2, func
        return func(*args, **(kwargs or {}))


ALL = Augmentation(blur=1, elsewhere=1)


def test_tiles_are_deformed_where_the_network_is(monkeypatch):
    monkeypatch.setattr(acquisition, "OFTEN", 1.0)
    monkeypatch.setattr(acquisition, "_CHANGES", acquisition._CHANGES[:-1])  # JPEG is the processor's
    source = Source([sample()], META)
    with OneDevice():
        batch = draw_batch(source, [Place(0), Place(0, (20.0, 30.0))], 84, 20, ALL, [1])
    assert {each.device for each in (batch.image, batch.labels, batch.weights)} == {META}
    assert [tuple(each.shape) for each in (batch.image, batch.labels)] == [(2, 1, 84, 84), (2, 44, 44)]


def test_batches_come_from_the_device_that_trains():
    recipe = replace(PRESETS["modern"], tile=84, batch=1, steps=2)
    with closing(batches(Places([sample()], recipe, 20), 0, META)) as drawn:
        assert [batch.image.device for batch in drawn] == [META, META]


@pytest.mark.parametrize(("room", "uploads"), [(0, 3), (10**9, 1)])
def test_an_image_stays_on_the_device_where_there_is_room(monkeypatch, room, uploads):
    made, of = [], Planes.of
    monkeypatch.setattr(Planes, "of", lambda *given: made.append(given) or of(*given))
    source = Source([sample()], META, room)
    for _ in range(3):
        assert source[0].image.device == META
    assert len(made) == uploads


def test_on_the_processor_planes_are_the_memory_of_the_sample():
    drawn_from = sample()
    planes = Source([drawn_from])[0]
    assert planes.image.device == CPU
    assert planes.weights.data_ptr() == drawn_from.weights.ctypes.data


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_the_same_tiles_but_for_rounding():
    places = [Place(0), Place(0, (20.0, 30.0))]
    here, there = (
        draw_batch(Source([sample()], torch.device(device), 10**9), places, 84, 20, Augmentation(), [4, 2])
        for device in ("cpu", "cuda")
    )
    assert there.image.device.type == "cuda"
    torch.testing.assert_close(there.image.cpu(), here.image, atol=2e-2, rtol=0)  # of an edge, by 0.01 pixels
    assert (there.labels.cpu() == here.labels).float().mean() > 0.999
