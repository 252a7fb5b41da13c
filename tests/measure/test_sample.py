"""Sample slides: seeded, streamed, and true."""

import numpy as np
import pytest
import tifffile

from unet_deploy.errors import UsageError
from unet_deploy.measure.sample import BLOCK, SampleSlide, write_sample


def test_a_block_is_the_same_whatever_is_made_around_it():
    large, small = SampleSlide(20 * BLOCK, 30 * BLOCK, seed=5), SampleSlide(20 * BLOCK, 30 * BLOCK, seed=5)
    for block in [(0, 0), (0, 1), (1, 0)]:
        small.block(*block)
    for ours, again in zip(large.block(1, 1), small.block(1, 1), strict=True):
        np.testing.assert_array_equal(ours, again)


def test_nuclei_go_on_across_blocks_with_their_number():
    slide = SampleSlide(2 * BLOCK, 2 * BLOCK, seed=1)
    left, right = slide.block(0, 0)[1], slide.block(0, 1)[1]
    edge = left[:, -1][(left[:, -1] > 0) & (right[:, 0] > 0)], right[:, 0][(left[:, -1] > 0) & (right[:, 0] > 0)]
    assert len(edge[0]) > 10
    assert (edge[0] == edge[1]).mean() > 0.9


def test_nuclei_are_bright_where_the_truth_says():
    light, labels = SampleSlide(4 * BLOCK, 4 * BLOCK, seed=2).block(1, 1)
    assert 10 < len(np.unique(labels)) < 200
    assert 0.02 < (labels > 0).mean() < 0.5
    assert light[labels > 0].mean() > 3 * light[labels == 0].mean()


@pytest.mark.parametrize("bits", [8, 16])
def test_the_files_hold_the_slide_and_its_truth(tmp_path, bits):
    path, truth = tmp_path / "slide.tif", tmp_path / "slide.truth.tif"
    seen = []
    write_sample(
        path, 700, 900, truth=truth, seed=3, bits=bits, progress=lambda done, total: seen.append((done, total))
    )
    picture, labels = tifffile.imread(path), tifffile.imread(truth)
    assert picture.shape == labels.shape == (700, 900)
    assert picture.dtype == f"uint{bits}"
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels[:512, :512], SampleSlide(700, 900, seed=3).block(0, 0)[1])
    assert seen[-1] == (4, 4)
    with pytest.raises(UsageError, match="exists"):
        write_sample(path, 700, 900, truth=truth)


def test_another_seed_is_another_slide():
    one, two = (SampleSlide(BLOCK, BLOCK, seed=seed).block(0, 0)[1] > 0 for seed in (0, 1))
    assert (one != two).any()
