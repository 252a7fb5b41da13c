"""OpenVINO beside ONNX Runtime: the same answer in float32, a proved one in bfloat16."""

import numpy as np
import pytest

pytest.importorskip("openvino")

from unet_deploy.errors import DeviceError, ModelError, UsageError
from unet_deploy.model.change import Change
from unet_deploy.model.contract import IMAGE, LABELS, OFFSET, PROBABILITIES, SCALE, pixels_for
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.openvino import OpenVinoRuntime, answering, core, read_graph
from unet_deploy.runtimes.openvino_graph import eased
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.proof import Unproved
from unet_deploy.tiling import legal_side
from unet_deploy.zoo import open_model


def has_bf16() -> bool:
    from unet_deploy.runtimes.openvino import core

    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this processor has no bfloat16")


@pytest.mark.parametrize("name", ["one", "three", "colour", "deep"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_float32_is_onnx_runtimes_answer(small_models, speckle, name, dtype):
    with OnnxRuntime(small_models[name], probabilities=True) as reference:
        image = np.stack([speckle[:300, :260]] * reference.card.channels)[None].astype(dtype)
        labels, scores = segment_array(image, reference, 250, probabilities=True)
    with OpenVinoRuntime(small_models[name], pixels=dtype, probabilities=True) as runtime:
        again, scores_again = segment_array(image, runtime, 250, probabilities=True)
    np.testing.assert_allclose(scores_again, scores, atol=1e-4)
    tied = np.abs(np.diff(np.sort(scores, axis=1)[:, -2:], axis=1))[:, 0] < 2e-4
    assert ((again == labels) | tied).all()


CHANGES = {"as it is": Change(), "half": Change(0.5), "threshold": Change(threshold=0.3)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["one", "three", "colour", "deep"])
def test_the_graph_is_eased_without_another_answer(small_models, name, change):
    graph, card = read_graph(small_models[name], change)
    graphs = [answering(graph, [LABELS, PROBABILITIES]) for graph in (graph.clone(), eased(graph))]
    side = legal_side(2 * change.of(card).margin + 100, change.of(card))
    feeds = {IMAGE: np.random.default_rng(3).uniform(0, 255, (2, card.channels, side, side)).astype(np.float32)}
    if card.normalization.method == "percentile":
        feeds |= {
            OFFSET: np.zeros((2, card.channels), np.float32),
            SCALE: np.full((2, card.channels), 0.02, np.float32),
        }
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    answers = [core().compile_model(each, "CPU", exact)(feeds) for each in graphs]
    (labels, scores), (again, scores_again) = ([each[port] for port in (LABELS, PROBABILITIES)] for each in answers)
    np.testing.assert_allclose(scores_again, scores, atol=1e-5)
    assert labels.min() < labels.max()
    assert (again != labels).mean() < 1e-4, "where two classes are as probable, by rounding"
    read_by = {
        reader.get_node().get_type_name()
        for node in graphs[1].get_ops()
        if node.get_type_name() == "Concat"
        for reader in node.output(0).get_target_inputs()
    }
    assert "Convolution" not in read_by


@needs_bf16
def test_bfloat16_is_proved_on_its_first_image_and_remembered(nuclei, data, tmp_path, monkeypatch):
    from unet_deploy.images import open_image

    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    path = sorted((data / "dsb2018" / "images").iterdir())[0]
    with open_image(path) as source:
        image = source.read(0, whole(source.info))[0]
    with open_model(nuclei, device="cpu", precision="bf16") as runtime:
        assert runtime.name == "OpenVINO bf16, CPU"
        assert isinstance(runtime, Unproved)
        assert runtime.proof
        labels, _ = segment_array(image, runtime, None)
        assert runtime.proof is None
    with open_model(nuclei, device="cpu", precision="bf16") as runtime:
        assert not isinstance(runtime, Unproved)
    with open_model(nuclei, device="cpu", runtime="onnxruntime") as reference:
        exact, _ = segment_array(image, reference, None)
    assert 0 < (labels != exact).mean() < 1e-3 or (labels == exact).all()


def whole(info):
    from unet_deploy.tiling import Region

    return Region(0, 0, info.height, info.width)


def test_answers_are_not_written_over_by_the_next(small_models, speckle):
    from unet_deploy.images.grey import GreyScale

    with OpenVinoRuntime(small_models["one"], pixels="uint8", probabilities=True) as runtime:
        grey = GreyScale(np.zeros(1, np.float32), np.full(1, 1 / 64, np.float32))
        first = runtime.submit([speckle[None, :108, :108]], [grey])
        kept = first.labels.copy(), first.probabilities.copy()
        runtime.submit([speckle[None, 200:308, 200:308]], [grey])
        np.testing.assert_array_equal(first.labels, kept[0])
        np.testing.assert_array_equal(first.probabilities, kept[1])


def test_what_it_cannot_load_is_said(tmp_path, small_models):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"junk")
    with pytest.raises(ModelError, match="is no ONNX file, or not all of it is there"):
        OpenVinoRuntime(broken)
    with pytest.raises(ModelError, match="no such model file"):
        OpenVinoRuntime(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="ONNX Runtime does not have it"):
        open_model(small_models["one"], device="cpu", runtime="onnxruntime", precision="bf16")


def test_the_callers_floating_point_is_left_alone(small_models, speckle):
    """Some settings of either runtime flush denormals on the thread that calls, which is not ours to change."""
    for runtime in (OnnxRuntime, OpenVinoRuntime):
        with runtime(small_models["one"]) as ready:
            segment_array(speckle, ready, 300)
        assert np.float32(1e-42) * np.float32(1) > 0


@needs_bf16
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
@pytest.mark.parametrize(("dark", "contrast", "dtype"), [(0, 255, "u1"), (60_000, 30, "u2"), (1e5, 10, "f4")])
def test_bfloat16_sees_faint_objects_on_bright_ground(undecided, nuclei_image, dark, contrast, dtype, scale):
    """Its eight bits are for what the network sees, between 0 and 1, and not for grey values as they are."""
    image = (dark + contrast * (nuclei_image[:400, :400] / 255.0)).astype(dtype)
    labels = []
    for precision in ("fp32", "bf16"):
        change = Change(scale)
        with OpenVinoRuntime(undecided, precision=precision, pixels=pixels_for(image.dtype), change=change) as runtime:
            labels.append(segment_array(image, runtime, None)[0])
    exact, fast = labels
    assert exact.mean() > 0.1
    assert (exact != fast).mean() < 1e-3


@needs_bf16
def test_bfloat16_is_refused_where_a_model_takes_more_than_8_bits_as_they_are(small_models):
    """It would be proved on one image, and see 30,000 and 30,100 of another as one grey value."""
    fixed = small_models["three"]
    open_model(fixed, device="cpu", pixels="uint8", precision="bf16").close()
    with pytest.raises(DeviceError, match=r"three\.onnx: computes on grey values as they are, .* --precision fp32"):
        open_model(fixed, device="cpu", pixels="uint16", precision="bf16")


@needs_bf16
def test_bfloat16_leaves_no_seams(undecided, nuclei_image):
    with OpenVinoRuntime(undecided, precision="bf16", pixels="uint8") as runtime:
        whole, tiled = (segment_array(nuclei_image[:500, :500], runtime, side)[0] for side in (None, 400))
    np.testing.assert_array_equal(tiled, whole)


@needs_bf16
def test_auto_tries_bfloat16_once_on_this_processor(undecided, nuclei_image, tmp_path, monkeypatch):
    from unet_deploy.stream.precision import ByProof

    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setattr("unet_deploy.system.machine.bf16_pays", lambda: True)
    with open_model(undecided, device="cpu", runtime="openvino", precision="auto") as runtime:
        assert isinstance(runtime, ByProof)
        labels, _ = segment_array(nuclei_image, runtime, None)
        choice = runtime.choice
        assert choice
        assert choice.agreement.holds
    with open_model(undecided, device="cpu", runtime="openvino", precision="auto") as runtime:
        assert runtime.choice == choice
        assert runtime.name == f"OpenVINO {choice.precision}, CPU"
        np.testing.assert_array_equal(segment_array(nuclei_image, runtime, None)[0], labels)


@needs_bf16
def test_segmenting_takes_auto_by_itself_and_float32_where_that_is_asked_for(
    undecided, nuclei_image, tmp_path, monkeypatch
):
    import tifffile

    from unet_deploy.segmentation.run import segment_file

    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setattr("unet_deploy.system.machine.bf16_pays", lambda: True)
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, nuclei_image)
    report = segment_file(image, tmp_path / "auto.tif", undecided, device="cpu")
    assert report.runtime == f"OpenVINO {report.precision}, CPU"
    with open_model(undecided, device="cpu", precision="fp32") as exact:
        assert segment_file(image, tmp_path / "exact.tif", exact).precision is None
