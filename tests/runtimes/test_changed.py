"""A model at another scale, or with another threshold, is a model like any other: on every runtime, seamless."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

import unet_deploy
from unet_deploy.errors import UsageError
from unet_deploy.measure.verify import verify_tiled
from unet_deploy.model.change import Change
from unet_deploy.model.changed import changed, read_to_run
from unet_deploy.model.decision import Decision
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.runtimes.agreement import compare
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.stream.tta import Averaging

RUNTIMES = ["onnxruntime", "openvino"]
FIXTURE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer(image, model, tile_size=None):
    return unet_deploy.segment(image, model=model, tile_size=tile_size, probabilities=True)


def decided(model, path, **decision):
    """A copy of a model whose card decides otherwise."""
    file = read_model(model)
    save(file.proto, replace(file.card, decision=Decision(**decision)), path)
    return path


@FIXTURE
@given(
    name=st.sampled_from(["one", "three", "deep"]),
    scale=st.sampled_from([0.2, 0.31, 0.5, 0.9, 1.7, 4.0]),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    more=st.integers(0, 3),
)
def test_tiled_equals_whole_image_at_any_scale(small_models, speckle, name, scale, height, width, more):
    image = speckle[:height, :width]
    with unet_deploy.open_model(small_models[name], device="cpu", probabilities=True, scale=scale) as model:
        whole = answer(image, model, tile_size=6000)
        tiled = answer(image, model, tile_size=model.card.base + more * model.card.stride)
    agreement = compare(*whole, *tiled)
    assert agreement.holds, agreement
    assert whole[0].shape == image.shape


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("scale", [0.31, 0.5, 1.7])
def test_tiled_equals_whole_image_to_the_bit(nuclei, speckle, runtime, scale):
    pytest.importorskip(runtime)
    image = np.tile(speckle, (2, 2))[:700, :900] if scale < 1 else speckle[:200, :260]
    asked = {"device": "cpu", "runtime": runtime, "probabilities": True, "scale": scale}
    with unet_deploy.open_model(nuclei, **asked) as model:
        whole = answer(image, model, tile_size=6000)
        # As without a scale: ONNX Runtime sums otherwise where a network's deepest planes are but a few pixels.
        tiled = answer(image, model, tile_size=model.card.base + (4 if scale < 1 else 2) * model.card.stride)
    np.testing.assert_array_equal(tiled[0], whole[0])
    np.testing.assert_array_equal(tiled[1], whole[1])
    assert len(np.unique(whole[0])) == 2


@pytest.mark.parametrize("name", ["one", "three", "colour"])
def test_runtimes_agree_at_a_scale(small_models, speckle, name):
    pytest.importorskip("openvino")
    image = speckle[:90, :120] if name != "colour" else np.stack([speckle[at : at + 90, :120] for at in (0, 50, 90)])
    answers = []
    for runtime in RUNTIMES:
        asked = {"device": "cpu", "runtime": runtime, "probabilities": True, "scale": 0.4, "threshold": 0.4}
        with unet_deploy.open_model(small_models[name], **asked) as model:
            answers.append(answer(image, model))
    assert compare(*answers[0], *answers[1], threshold=0.4).holds
    np.testing.assert_allclose(answers[0][1].sum(axis=0), 1, atol=1e-5)


def test_an_image_enlarged_twice_is_answered_at_half_scale_as_before_at_its_own_place(nuclei):
    """Objects keep their places: a shift of half a pixel would show in their centres."""
    rows, columns = np.indices((300, 300))
    places = [(70, 80, 12), (150, 210, 16), (230, 100, 14)]
    small = np.full((300, 300), 30.0)
    for y, x, radius in places:
        small[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = 180
    small = ndimage.gaussian_filter(small, 1.5)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    centres = []
    for image, scale in ((small, 1.0), (large, 0.5)):
        with unet_deploy.open_model(nuclei, device="cpu", scale=scale) as model:
            labels = unet_deploy.segment(image.astype(np.uint8), model=model)
        objects, count = ndimage.label(labels)
        assert count == len(places)
        found = np.array(ndimage.center_of_mass(labels, objects, range(1, count + 1)))
        centres.append((found + 0.5) * scale)
    np.testing.assert_allclose(centres[1], centres[0], atol=0.15)


def test_a_changed_card_is_in_pixels_of_the_image(nuclei):
    card = replace(
        read_model(nuclei).card, pixel_size_um=0.5, decision=Decision(threshold=0.4, diameter=28, diameters=(20, 45))
    )
    scaled = Change(0.25).of(card)
    assert (scaled.stride, scaled.pixel_size_um) == (128, 0.125)
    assert scaled.decision == Decision(threshold=0.4, diameter=112, diameters=(80, 180))
    assert Change().of(card) == card


def test_a_model_as_it_is_keeps_its_bytes_and_its_fingerprint(nuclei, tmp_path):
    file = read_model(nuclei)
    assert changed(file, Change()) is file
    assert changed(file, Change(1.005)) is file, "the nearest scale is 1"
    prints = []
    for change in (Change(), Change(0.5), Change(threshold=0.4)):
        with OnnxRuntime(nuclei, change=change) as runtime:
            prints.append(runtime.fingerprint)
    assert len({*prints}) == 3
    assert read_to_run(nuclei, Change(0.5)).weights_sha256 != file.weights_sha256


# -- the threshold -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("name", ["one", "three"])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_the_background_counts_by_the_odds_of_the_threshold(small_models, speckle, runtime, scale, name, threshold):
    pytest.importorskip(runtime)
    asked = {"device": "cpu", "runtime": runtime, "probabilities": True, "scale": scale}
    image = speckle[:120, :150]
    with unet_deploy.open_model(small_models[name], **asked, threshold=threshold) as model:
        labels, scores = answer(image, model)
    with unet_deploy.open_model(small_models[name], **asked) as model:
        plain, same = answer(image, model)
    np.testing.assert_allclose(scores, same, atol=1e-6)
    expected = Decision(threshold=threshold).labels(scores[None])[0]
    second, first = np.sort(scores * np.array([threshold / (1 - threshold), 1, 1][: len(scores)])[:, None, None], 0)[
        -2:
    ]
    assert ((labels == expected) | (first - second < 1e-5)).all()
    assert ((labels == 0).mean() < (plain == 0).mean()) == (threshold < 0.5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_cards_threshold_is_taken_and_an_asked_one_comes_before_it(small_models, speckle, tmp_path, runtime):
    pytest.importorskip(runtime)
    path = decided(small_models["one"], tmp_path / "eager.onnx", threshold=0.3)
    found = {}
    for name, model, threshold in (("card", path, None), ("asked", small_models["one"], 0.3), ("plain", path, 0.5)):
        with unet_deploy.open_model(model, device="cpu", runtime=runtime, threshold=threshold) as ready:
            assert ready.card.decision.threshold == (threshold or 0.3)
            found[name] = unet_deploy.segment(speckle[:120, :150], model=ready)
    np.testing.assert_array_equal(found["card"], found["asked"])
    assert found["plain"].mean() < found["card"].mean()


def test_labels_alone_need_no_softmax_whatever_the_threshold(small_models):
    """It costs one bias of the background's score."""
    graph = read_to_run(small_models["one"], Change(threshold=0.3))
    kinds = [node.op_type for node in lower(graph, precision="fp32", pixels="float32", probabilities=False).graph.node]
    before = lower(read_model(small_models["one"]), precision="fp32", pixels="float32", probabilities=False).graph.node
    assert "Softmax" not in kinds
    assert len(kinds) == len(before) + 1


def test_the_mean_of_eight_orientations_is_decided_by_the_same_threshold(small_models, speckle):
    with unet_deploy.open_model(small_models["one"], device="cpu", probabilities=True, threshold=0.2) as model:
        labels, scores = answer(speckle[:90, :90], Averaging(model))
    np.testing.assert_array_equal(labels, scores[1] * 0.8 > scores[0] * 0.2)


@pytest.mark.parametrize("threshold", [0, 1, 1.5, -0.1])
def test_a_threshold_that_is_no_probability_is_refused(nuclei, threshold):
    with pytest.raises(UsageError, match="threshold"):
        unet_deploy.open_model(nuclei, threshold=threshold)


# -- what comes with it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "three", "colour"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pixels", ["uint8", "uint16"])
def test_a_changed_graph_is_lowered_for_a_gpu_as_any_other(small_models, name, precision, pixels):
    """Grey values of 16 bits, and the interpolation of probabilities, stay in float32."""
    model = read_to_run(small_models[name], Change(0.4, 0.4))
    side = model.card.base + model.card.stride
    proto = lower(model, precision=precision, pixels=pixels, probabilities=True, shape=(1, side, side))
    halves = {each.name for each in proto.graph.initializer if each.data_type == 10}
    assert not any(each.startswith("resampling") for each in halves)
    assert bool(halves) == (precision == "fp16")
    sides = [each.dim_value for each in proto.graph.output[0].type.tensor_type.shape.dim]
    assert sides == [1, side - 2 * model.card.margin, side - 2 * model.card.margin]


def test_the_proof_of_seams_holds_at_a_scale(data, nuclei):
    image = data / "dsb2018" / "images" / "00071198d059ba7f.png"
    if not image.exists():
        pytest.skip("the real images are not here")
    with unet_deploy.open_model(nuclei, device="cpu", probabilities=True, scale=0.6, threshold=0.4) as model:
        assert verify_tiled(model, image).agreement.holds


def test_memory_follows_what_the_network_sees(nuclei):
    with OnnxRuntime(nuclei) as plain, OnnxRuntime(nuclei, change=Change(0.5)) as half:
        side = half.card.base + 20 * half.card.stride
        assert plain.memory(side // 2, side // 2) < half.memory(side, side) < plain.memory(side, side)
        assert half.limits.most[0] == pytest.approx(2 * plain.limits.most[0], rel=0.01)


@pytest.mark.parametrize("asked", [{"scale": 0.5}, {"threshold": 0.3}])
def test_an_engine_has_the_scale_and_threshold_that_it_was_made_with(tmp_path, asked):
    (tmp_path / "a.engine").write_bytes(b"")
    with pytest.raises(UsageError, match=r"is settled when an engine is made; give the \.onnx model"):
        unet_deploy.open_model(tmp_path / "a.engine", **asked)


_WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = None
import numpy as np, unet_deploy
from unet_deploy import MissingPackageError
for runtime in ("onnxruntime", "openvino"):
    model = unet_deploy.open_model(device="cpu", runtime=runtime)
    assert unet_deploy.segment(np.eye(60), model=model, scale=1).shape == (60, 60)
    try:
        unet_deploy.open_model(device="cpu", runtime=runtime, scale=0.5)
    except MissingPackageError as error:
        print(error)
"""


def test_without_the_package_onnx_a_scale_says_what_to_install_and_scale_1_runs():
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", _WITHOUT_ONNX], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["this needs onnx; run: pip install 'unet-deploy[onnx]'"] * 2
