"""The plan of least work under a ceiling, against trying every plan there is."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy
from hypothesis import example, given
from hypothesis import strategies as st
from test_tiling import ORIGINAL, Network, networks

from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.runtimes import Limits
from unet_deploy.stream.planner import TILE_WORK, WORTH, Budget, choose_plan, fill_blocks, plan_for, work
from unet_deploy.tiling import legal_side, plan_tiles


@example(Network(margin=44, stride=8, base=92), 1, 9, 13, 0.25)  # an image of less than a stride
@given(networks(), st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 60), st.floats(0.05, 4))
def test_no_plan_under_the_ceiling_is_much_less_work(network, height, width, steps, share):
    most = legal_side(2 * network.margin + network.stride * (steps + 1), network)
    area = share * most * most
    try:
        plan = choose_plan(height, width, network, most=(most, most), fits=lambda tall, wide: tall * wide <= area)
    except ResourceError:
        plan = None
    others = [
        plan_tiles(height, width, network, tile=(tall, wide))
        for tall in range(legal_side(2 * network.margin + network.stride, network), most + 1, network.stride)
        for wide in {tall, most}
    ]
    fitting = [each for each in others if each.input_height * each.input_width <= area]
    if plan is None:
        assert not fitting
        return
    assert plan.input_height * plan.input_width <= area
    assert max(plan.input_height, plan.input_width) <= most
    for each in fitting:
        mine = work(height, width, network, plan.rows, plan.columns)
        assert mine <= WORTH * work(height, width, network, each.rows, each.columns) * (1 + 1e-9)


@given(networks(), st.integers(1, 2000), st.integers(1, 2000))
def test_every_pixel_is_written_exactly_once(network, height, width):
    most = legal_side(2 * network.margin + 20 * network.stride, network)
    plan = choose_plan(height, width, network, most=(most, most))
    written = np.zeros((height, width), np.int64)
    for tile in plan:
        written[tile.write.slices] += 1
        assert tile.read.y % network.stride == -network.margin % network.stride
    assert (written == 1).all()


@given(networks(), st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([64, 256, 1000]))
def test_tiles_that_fill_blocks_cost_next_to_nothing(network, height, width, block):
    most = legal_side(2 * network.margin + 40 * network.stride, network)

    def fits(tall, wide):
        return max(tall, wide) <= most

    plan = choose_plan(height, width, network, most=(most, most))
    filling = fill_blocks(plan, block, fits)
    written = np.zeros((height, width), np.int64)
    for tile in filling:
        written[tile.write.slices] += 1
        assert tile.read.y % network.stride == -network.margin % network.stride
    assert (written == 1).all()
    assert fits(filling.input_height, filling.input_width)
    if filling is not plan:
        for step, side in ((filling.step_y, height), (filling.step_x, width)):
            assert step % block == 0 or step >= side
    computed, before = (
        work(
            each.rows * (each.input_height - 2 * network.margin),
            each.columns * (each.input_width - 2 * network.margin),
            network,
            each.rows,
            each.columns,
        )
        for each in (filling, plan)
    )
    assert computed <= WORTH * before


def test_large_images_are_cut_along_the_chunks_of_a_zarr():
    for side in (16_384, 20_000, 100_000):
        plan = fill_blocks(choose_plan(side, side, ORIGINAL, most=(2236, 2236)), 1024, lambda tall, wide: tall <= 2236)
        assert plan.step_y % 1024 == plan.step_x % 1024 == 0


def test_a_512_image_is_one_tile():
    plan = choose_plan(512, 512, ORIGINAL, most=(2236, 2236))
    assert len(plan) == 1
    assert plan[0].read.height == plan[0].read.width == 700


def test_a_large_image_wastes_less_than_15_percent():
    plan = choose_plan(20_000, 30_000, ORIGINAL, most=(2236, 2236))
    assert work(20_000, 30_000, ORIGINAL, plan.rows, plan.columns) < 1.15 * 20_000 * 30_000
    assert plan.input_height < 1400  # the smallest of the plans that are nearly as good
    assert {(tile.read.height, tile.read.width) for tile in plan} == {(plan.input_height, plan.input_width)}


@pytest.mark.parametrize("stride", [1, 2, 32])
@pytest.mark.parametrize("sides", [(1024, 1024), (20_000, 30_000), (3000, 40)])
def test_a_network_without_a_margin_gets_large_tiles_too(stride, sides):
    """Not the smallest that it takes: each tile costs something by itself."""
    plan = choose_plan(*sides, Network(margin=0, stride=stride, base=stride), most=(2236, 2236))
    assert plan.input_height * plan.input_width >= min(sides[0] * sides[1] // 2, 500 * 500)
    assert min(plan.input_height, plan.input_width) >= min(*sides, 256)


def test_the_formula_of_work_is_the_count_of_the_graph(nuclei):
    from unet_deploy.model.flops import count_flops
    from unet_deploy.model.onnx_file import read_model

    model = read_model(nuclei)
    sides = (572, 700, 1212, 2236, 4092)
    flops = [count_flops(model.proto, (1, side, side)) for side in sides]
    formula = [work(side - 184, side - 184, model.card, 1, 1) - TILE_WORK for side in sides]
    ratios = np.array(flops) / np.array(formula)
    assert ratios.max() / ratios.min() < 1.03


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    image = np.random.default_rng(0).integers(0, 255, (3000, 3000), dtype=np.uint8)
    tifffile.imwrite(path, image, tile=(256, 256))
    return path


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_ceiling_is_kept_and_the_prediction_is_near(slide, tmp_path, runtime):
    """Peak of the whole process, by the system's account, against --max-memory and against --dry-run."""
    pytest.importorskip(runtime)
    peaks = {}
    for ceiling in ("400MB", "800MB"):
        arguments = ("segment", slide, "--runtime", runtime, "--max-memory", ceiling, "-o", tmp_path / f"{ceiling}.tif")
        arguments = (*arguments, "--scale", "1", "--precision", "fp32")
        shown, _ = unet_deploy(*arguments, "--dry-run")
        predicted = float(shown.split("about ")[1].split(" MB")[0]) * 1e6
        peaks[ceiling] = peak_of(arguments)
        assert peaks[ceiling] <= int(ceiling[:-2]) * 1e6
        assert 0.8 < predicted / peaks[ceiling] < 1.25, (predicted, peaks[ceiling])
    assert peaks["800MB"] > peaks["400MB"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "400MB.tif"), tifffile.imread(tmp_path / "800MB.tif"))


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_a_scale_is_measured_with_leaves_room_for_the_run(slide, tmp_path, runtime):
    pytest.importorskip(runtime)
    assert peak_of(("segment", slide, "--runtime", runtime, "--max-memory", "400MB", "-o", tmp_path / "m.tif")) <= 4e8


def peak_of(arguments) -> int:
    """By the process's own account: what the system keeps for a child counts the parent that started it."""
    script = (
        "import sys; from unet_deploy.cli import main; from unet_deploy.system.machine import peak_memory\n"
        "try: main()\n"
        "finally: print('peak', peak_memory())"
    )
    shown = subprocess.check_output([sys.executable, "-c", script, *map(str, arguments)], text=True)
    return int(shown.rpartition("peak ")[2])


def test_a_ceiling_below_the_model_itself_is_said(slide, tmp_path):
    line = error("segment", slide, "--max-memory", "50MB", "-o", tmp_path / "m.tif", code=6)
    assert "not even one tile" in line
    assert "--max-memory" in line
    assert "give bytes" in error("segment", slide, "--max-memory", "much", "-o", tmp_path / "m.tif", code=2)


def test_room_is_left_for_a_table_of_objects():
    limits = Limits(1, (0, 0), (2236, 2236))
    runtime = SimpleNamespace(limits=limits, card=ORIGINAL, memory=lambda height, width: 800 * height * width)
    image, ceiling = ImageInfo("slide.tif", 1, 1, 100_000, 100_000, np.dtype(np.uint8)), 2 << 30
    without, dense, countless = (
        plan_for(runtime, image.region, None, Budget(runtime, 10**8, 10, table), ceiling)
        for table in (0, 10**8, 10**12)
    )

    def peak(plan) -> int:
        return 10**8 + 810 * plan.input_height * plan.input_width

    assert peak(without) <= 0.88 * ceiling
    assert peak(dense) <= 0.88 * ceiling - 10**8
    assert 0.6 * ceiling < peak(countless) <= 0.73 * ceiling


def test_a_tile_size_below_the_network_is_still_refused(nuclei):
    import unet_deploy

    with pytest.raises(UsageError, match="at least"):
        unet_deploy.segment(np.zeros((50, 50), np.uint8), model=nuclei, tile_size=100)
