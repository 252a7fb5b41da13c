"""A tile as from another laboratory shows the same objects under other light, and only where that is asked for."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trainer import acquisition  # noqa: E402
from trainer.acquisition import elsewhere  # noqa: E402
from trainer.augment import Planes, draw_tile  # noqa: E402
from trainer.data import Sample  # noqa: E402
from trainer.recipe import (  # noqa: E402
    PRESETS,
    Augmentation,
    tailored,
)
from unet_deploy.errors import UsageError  # noqa: E402

CHANGES = acquisition._CHANGES


def cells(side=96, channels=1):
    y, x = np.indices((side, side))
    inside = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 100).astype(np.float32)
    return torch.from_numpy(np.stack([0.1 + 0.7 * inside] * channels)), torch.from_numpy(inside > 0)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
@pytest.mark.parametrize("side", [20, 96])
def test_each_change_keeps_the_shape_and_shows_the_cells_still(change, side):
    image, inside = cells(side, channels=2)
    for seed in range(8):
        changed = change(image.clone(), np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert changed.dtype == torch.float32
        assert changed.isfinite().all()
        assert not torch.equal(changed, image)
        if side > 90:
            assert changed[0][inside].median() > changed[0][~inside].median()


def test_the_same_draw_gives_the_same_tile():
    image, _ = cells()
    one, two, other = (elsewhere(image.clone(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_tiles_are_changed_only_where_that_is_asked_for_and_their_truth_never():
    image, inside = cells(140)
    objects = inside.numpy().astype(np.int32)
    sample = Sample("cells", image.numpy(), objects.astype(np.uint8), objects, np.ones(objects.shape, np.float32))
    here = Augmentation(grey=0, noise=0, blur=0)
    plain, again, there = (
        draw_tile(Planes.of(sample), 84, 20, augmentation, np.random.default_rng(1))
        for augmentation in (here, here, replace(here, elsewhere=1.0))
    )
    assert torch.equal(plain[0], again[0])
    assert not torch.equal(plain[0], there[0])
    assert torch.equal(plain[1], there[1])
    assert torch.equal(plain[2], there[2])


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_tiles_is_of_0_to_1(share):
    with pytest.raises(UsageError, match="--elsewhere"):
        tailored(PRESETS["modern"], elsewhere=share)
