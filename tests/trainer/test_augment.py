"""A drawn tile is the sample, moved: labels follow the image, and what hangs over is mirrored."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trainer.augment import draw_batch, draw_tile  # noqa: E402
from trainer.data import Sample  # noqa: E402
from trainer.places import Place  # noqa: E402
from trainer.recipe import Augmentation  # noqa: E402

STILL = Augmentation(elastic=0, scale=0, grey=0, noise=0, blur=0)


def sample(height=120, width=140) -> Sample:
    rows, columns = np.indices((height, width))
    labels = ((rows // 20 + columns // 20) % 2).astype(np.uint8)
    image = labels[None].astype(np.float32)
    return Sample("board", image, labels, labels.astype(np.int32), 1 + labels.astype(np.float32))


@pytest.mark.parametrize("augmentation", [STILL, Augmentation(grey=0, noise=0, blur=0)])
def test_labels_and_weights_follow_the_image(augmentation):
    for seed in range(10):
        image, labels, weights = draw_tile(sample(), 84, 20, augmentation, np.random.default_rng(seed))
        assert image.shape == (1, 84, 84)
        assert labels.shape == weights.shape == (44, 44)
        inner = image[0, 20:64, 20:64]
        clear = (inner < 0.01) | (inner > 0.99)  # away from edges, where the image is interpolated
        assert clear.float().mean() > 0.5
        assert (inner.round().long() == labels)[clear].float().mean() > 0.99
        assert torch.equal(weights, 1 + labels.float())


def test_a_tile_larger_than_the_image_is_mirrored_not_padded():
    image, _, _ = draw_tile(sample(30, 30), 124, 20, STILL, np.random.default_rng(0))
    assert 0.2 < image.mean() < 0.8
    assert image.min() > -1e-4
    assert image.max() < 1 + 1e-4


def test_images_of_one_pixel_a_side_do_not_fail():
    image, labels, _ = draw_tile(sample(1, 50), 84, 20, Augmentation(), np.random.default_rng(0))
    assert torch.isfinite(image).all()
    assert labels.shape == (44, 44)


def test_the_same_seed_draws_the_same_batch_and_another_does_not():
    draws = [draw_batch([sample()], [Place(0), Place(0)], 84, 20, Augmentation(), [seed, 5]) for seed in (1, 1, 2)]
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
        drawn = [draw_tile(sample(), 84, 20, augmentation, np.random.default_rng(seed)) for seed in range(60)]
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
            image, _, _ = draw_tile(ramp, 84, 20, still, np.random.default_rng(seed))
            if image.min() > 0 and image.max() < 399:
                y = image[0, 42]
                into.append(float((y[0] + y[-1] - 2 * y[41]).abs()))
    assert np.median(straight) < 2
    assert 5 < np.median(bent) < 60
