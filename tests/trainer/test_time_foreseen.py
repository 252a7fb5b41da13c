"""How long a training takes is foreseen by steps that are timed, and of wide networks by what they compute."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from trainer import forecast  # noqa: E402
from trainer.forecast import LONG, foresee  # noqa: E402
from trainer.recipe import PRESETS  # noqa: E402
from trainer.sets import Extent  # noqa: E402

CPU = torch.device("cpu")
EXTENT = Extent(1, ((1000, 1000),))
MODERN = PRESETS["modern"]
SIZES = (), ((100, 100),), ((3000, 3000),)


@pytest.fixture
def machine(monkeypatch):
    """A machine of 200 GFLOP/s whatever it computes, which needs no time to be measured."""

    def tiles(recipe, ports, device):
        sides = (recipe.tile, recipe.tile)
        return 3 * recipe.batch * forecast._count_answer(recipe.width, recipe.depth, ports, sides) / 2e11

    def whole(recipe, ports, device):
        return tiles(recipe, ports, device) + forecast._count_optimizer(recipe, ports) / 2e11

    monkeypatch.setattr(forecast, "_time_step", whole)
    monkeypatch.setattr(forecast, "_time_tiles", tiles)
    monkeypatch.setattr(forecast, "_time_turn", lambda device: 1 / 2e11)


def test_a_short_training_is_foreseen_and_nothing_else_is_said(machine):
    found = foresee(replace(MODERN, width=16), 2, EXTENT, (0, 500), CPU)
    assert (found.steps, found.narrower, found.fewer) == (6000, None, None)
    assert 600 < found.seconds < LONG


def test_of_a_long_one_the_width_and_the_steps_that_fit_an_hour_are_told(machine):
    found = foresee(MODERN, 2, EXTENT, (0, 500), CPU)
    assert found.seconds > 10 * LONG
    width, seconds = found.narrower
    assert width < 64
    assert seconds == pytest.approx(foresee(replace(MODERN, width=width), 2, EXTENT, (0, 500), CPU).seconds)
    assert foresee(replace(MODERN, steps=found.fewer), 2, EXTENT, (0, 500), CPU).seconds == pytest.approx(LONG, rel=0.1)


def test_of_a_run_that_goes_on_the_steps_of_an_hour_are_beyond_those_it_has_taken(machine):
    first = 3000
    found = foresee(MODERN, 2, EXTENT, (first, 500), CPU)
    rest = foresee(replace(MODERN, steps=found.fewer), 2, EXTENT, (first, 500), CPU)
    assert found.fewer > first
    assert rest.seconds == pytest.approx(LONG, rel=0.1)


def test_a_network_that_begins_with_a_model_is_not_told_to_be_narrower(machine):
    found = foresee(MODERN, 2, EXTENT, (0, 500), CPU)
    assert replace(found, narrower=None) == found.of_this_width


def test_what_is_done_is_not_counted_and_validations_are(machine):
    whole, half = (foresee(MODERN, 2, EXTENT, (first, 500), CPU) for first in (0, 3000))
    assert half.steps == 3000
    assert half.seconds == pytest.approx(whole.seconds / 2)
    assert foresee(MODERN, 2, EXTENT, (0, 5), CPU).seconds > 1.2 * whole.seconds


def test_operations_are_those_of_the_paper(machine):
    # Figure 1: side of each answer, channels in and out, side of the kernel that each of its pixels sums over.
    down = [(570, 1, 64), (568, 64, 64), (282, 64, 128), (280, 128, 128), (138, 128, 256), (136, 256, 256)]
    down += [(66, 256, 512), (64, 512, 512), (30, 512, 1024), (28, 1024, 1024)]
    merged = [(54, 1024, 512), (52, 512, 512), (102, 512, 256), (100, 256, 256), (198, 256, 128), (196, 128, 128)]
    merged += [(390, 128, 64), (388, 64, 64)]
    up = [(56, 1024, 512), (104, 512, 256), (200, 256, 128), (392, 128, 64), (388, 64, 2)]
    products = sum(9 * s**2 * a * b for s, a, b in down + merged) + sum(s**2 * a * b for s, a, b in up)
    assert forecast._count_answer(64, 4, (1, 2), (572, 572)) == 2 * products
    assert forecast._count_optimizer(PRESETS["paper"], (1, 2)) == 0


def test_validations_are_counted_by_the_tiles_of_their_images(machine):
    none, small, large = (foresee(MODERN, 2, Extent(1, sizes), (0, 500), CPU).seconds for sizes in SIZES)
    a_step = none / MODERN.steps
    assert small - none == pytest.approx(12 * a_step * tile_share(188 + 16 * 6), rel=0.01)  # 100 pixels are one tile
    assert 80 < (large - none) / (small - none) < 400


def tile_share(side):
    """What an answer to a tile of this side takes of a step."""
    ports, sides = (1, 2), (side, side)
    tile = forecast._count_answer(64, 4, ports, (MODERN.tile, MODERN.tile))
    step = 3 * MODERN.batch * tile + forecast._count_optimizer(MODERN, ports)
    return forecast._count_answer(64, 4, ports, sides) / step


def test_this_machine_is_measured():
    tiny = replace(MODERN, width=2, depth=1, tile=44, steps=10)
    assert 0 < foresee(tiny, 2, EXTENT, (0, 5), CPU).seconds < 1000
