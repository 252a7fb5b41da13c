"""A model in 8 bits, made on real images, good for CPUs and for an engine alike."""

import numpy as np
import onnxruntime as ort
import pytest
from command_line import error, unet_deploy

from unet_deploy.convert.quantize import quantize
from unet_deploy.errors import ModelError, VerificationError
from unet_deploy.images import open_image
from unet_deploy.model.change import Change
from unet_deploy.model.contract import IMAGE, OFFSET, SCALE
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.streamed import StreamedRuntime  # noqa: F401
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import compare_on_tiles
from unet_deploy.zoo import open_model


@pytest.fixture(scope="module")
def images(data):
    return sorted((data / "dsb2018" / "images").iterdir())[::50]


@pytest.fixture(scope="module")
def small(tmp_path_factory, nuclei, images):
    path = tmp_path_factory.mktemp("int8") / "nuclei.int8.onnx"
    return path, quantize(nuclei, images, path)


def test_the_loss_on_images_that_were_held_back_is_small_and_in_the_card(small, nuclei):
    path, made = small
    assert made.accuracy.labels_differ_ppm < 3_000
    assert made.kept == 0
    card = read_model(path).card
    assert card.precision == "int8"
    assert card.metrics["int8: labels in a million that differ from fp32"] == made.accuracy.labels_differ_ppm
    assert path.stat().st_size < nuclei.stat().st_size / 3


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_both_cpu_runtimes_run_it(small, nuclei, images, runtime, scale):
    pytest.importorskip(runtime)
    with (
        open_model(small[0], device="cpu", runtime=runtime, probabilities=True, scale=scale) as fast,
        OnnxRuntime(nuclei, probabilities=True, change=Change(scale)) as exact,
        open_image(images[1]) as source,
    ):
        assert "int8" in fast.name
        assert compare_on_tiles(fast, exact, source, plan_for(fast, source.info.region, 900)).labels_differ_ppm < 5_000


def test_the_graph_for_tensorrt_says_nearly_the_same(small, images):
    """Signed and symmetric, with biases in float32, but over the same ranges."""
    model = read_model(small[0])
    lowered = lower(model, precision="int8", pixels="uint8", probabilities=True)
    zeros = [each.data_type for each in lowered.graph.initializer if each.name.endswith("zero_point.s8")]
    assert zeros
    with open_image(images[0]) as source:
        from unet_deploy.images.grey import measure_page

        grey = measure_page(source, 0, model.card.normalization)
        tile = source.read(0, plan_for(open_model(small[0], device="cpu"), source.info.region, 444)[0].read)
    feeds = {OFFSET: grey.offset[None], SCALE: grey.scale[None]}
    answers = []
    for proto, pixels in ((model.proto, tile[None].astype(np.float32)), (lowered, tile[None])):
        session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(session.run(["labels"], {IMAGE: pixels, **feeds})[0])
    assert (answers[0] != answers[1]).mean() < 0.01


def test_it_compiles_to_an_engine_of_8_bit_layers(small, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    engine = tmp_path / "e.engine"
    shown, _ = unet_deploy("build-engine", small[0], "-o", engine, "--precision", "int8", "--target", "sm89")
    assert "int8; layers: 23 int8" in shown
    line = error("build-engine", small[0], "-o", tmp_path / "f.engine", "--target", "sm89", code=3)
    assert "take --precision int8" in line


def test_a_loss_over_the_limit_writes_nothing(small_models, images, tmp_path):
    """Random weights have thin margins: not even two levels in float32 keep their labels."""
    with pytest.raises(VerificationError, match="nothing written"):
        quantize(small_models["one"], images[:2], tmp_path / "q.onnx", limit_ppm=0)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_or_said_beside_the_model(small_models, images, tmp_path, capfd):
    """The quantizer's own tools overwrite and then delete a file of this name."""
    model = tmp_path / "model.onnx"
    model.write_bytes(small_models["least 1"].read_bytes())
    (tmp_path / "model-inferred.onnx").write_text("mine")
    quantize(model, images[:1], tmp_path / "q.onnx", limit_ppm=1e6)
    assert (tmp_path / "model-inferred.onnx").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model-inferred.onnx", "model.onnx", "q.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_model_that_the_quantizer_fails_on_is_one_line(small_models, images, tmp_path, monkeypatch):
    def fails(*given, **options):
        raise AssertionError("scale issue")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", fails)
    with pytest.raises(ModelError, match=r"one\.onnx: the quantizer fails on it \(scale issue\)"):
        quantize(small_models["one"], images[:1], tmp_path / "q.onnx")


def test_a_quantized_model_is_not_quantized_again(small, images, tmp_path):
    with pytest.raises(ModelError, match="is quantized already"):
        quantize(small[0], images, tmp_path / "q.onnx")


def test_the_command(nuclei, images, tmp_path):
    shown, said = unet_deploy(
        "quantize", nuclei, "--calibration", images[0], "--calibration", images[1], "-o", tmp_path / "q.onnx"
    )
    assert "23 of 23 layers in 8 bits, calibrated on 1 images" in shown
    assert "onnxruntime" not in said.lower()  # its advice is not for whoever runs this
    assert "no such file" in error("quantize", nuclei, "--calibration", "none.tif", "-o", tmp_path / "r.onnx", code=3)
