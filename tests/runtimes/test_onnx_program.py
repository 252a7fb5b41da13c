"""A real network through the ring: ONNX Runtime on buffers of a device, as it runs on a GPU.

The device is of threads and its memory is the host's; names, types, shapes and addresses are bound as for CUDA.
"""

import numpy as np
import pytest
from runtimes.thread_device import ThreadDevice

from unet_deploy.errors import DeviceError, ModelError
from unet_deploy.images.array import ArraySource
from unet_deploy.model.lower import lower
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes import Identity, Limits
from unet_deploy.runtimes.onnx_program import OnnxProgram, Place
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.streamed import StreamedRuntime
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import compare_on_tiles

CPU = Place("CPUExecutionProvider", {}, "cpu")


class ThreadedProgram(OnnxProgram):
    """Puts the run on the device's stream, where CUDA's kernels would go by themselves."""

    def _run(self, binding):
        self.stream.do(lambda: super(ThreadedProgram, self)._run(binding))


def streamed(path, precision, pixels, *, tile=300, batch=2, probabilities=True):
    model, device = read_model(path), ThreadDevice(delay=0.001)
    proto = lower(model, precision=precision, pixels=pixels, probabilities=probabilities).SerializeToString()
    options = {"pixels": pixels, "probabilities": probabilities}

    def open_program(limits):
        return ThreadedProgram(path, proto, device.stream(), CPU, limits, **options)

    base = model.card.base
    limits = Limits(batch, (base, base), (tile, tile))
    identity = Identity(model.card, "ONNX Runtime on threads", model.weights_sha256)
    return StreamedRuntime(identity, device, open_program, limits, **options)


@pytest.mark.parametrize(("pixels", "dtype"), [("uint8", "uint8"), ("uint16", "uint16"), ("float32", "int16")])
@pytest.mark.parametrize("name", ["one", "three"])
def test_float32_on_the_ring_is_the_cpu_runtimes_answer(small_models, speckle, name, pixels, dtype):
    image = speckle.astype(dtype) * (1 if dtype == "uint8" else 100)
    image = np.stack([image[:400, :330], image[50:450, 100:430]])[:, None]
    with OnnxRuntime(small_models[name], probabilities=True) as reference:
        labels, scores = segment_array(image, reference, 300, probabilities=True)
    with streamed(small_models[name], "fp32", pixels) as runtime:
        again, scores_again = segment_array(image, runtime, None, probabilities=True)
    np.testing.assert_allclose(scores_again, scores, atol=1e-5)
    tied = np.abs(np.diff(np.sort(scores, axis=1)[:, -2:], axis=1))[:, 0] < 1e-4
    assert ((again == labels) | tied).all()
    assert len(np.unique(labels)) > 1


def test_half_precision_on_real_tiles_is_within_the_limit(data, nuclei):
    """The trained network, as an engine computes it, against float32: few labels in a million differ."""
    from unet_deploy.images import open_image

    for path in sorted((data / "dsb2018" / "images").iterdir())[::70]:
        with (
            open_image(path) as source,
            OnnxRuntime(nuclei, probabilities=True) as reference,
            streamed(nuclei, "fp16", "uint8", tile=700, batch=1) as runtime,
        ):
            accuracy = compare_on_tiles(runtime, reference, source, plan_for(runtime, source.info.region))
        accuracy.require(path.name)
        assert accuracy.labels_differ_ppm < 300, str(accuracy)
        assert accuracy.worst_probability < 0.01
        assert accuracy.not_finite == 0


def test_labels_alone_cross_the_bus_when_nothing_else_is_asked_for(small_models, speckle):
    with streamed(small_models["one"], "fp16", "uint8", probabilities=False) as runtime:
        ticket = runtime.submit([speckle[None, :300, :300]], [grey_of(speckle, runtime.card)])
        assert set(ticket.flight.shapes) == {"labels"}
        assert runtime.result(ticket).probabilities is None


def grey_of(image, card):
    from unet_deploy.images.grey import measure_page

    return measure_page(ArraySource(image), 0, card.normalization)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error_and_never_a_silent_cpu(small_models):
    model = read_model(small_models["one"])
    proto = lower(model, precision="fp32", pixels="uint8", probabilities=False).SerializeToString()
    cuda = Place("CUDAExecutionProvider", {}, "cuda")
    limits = Limits(1, (300, 300), (300, 300))
    with pytest.raises(DeviceError, match="could not start its CUDAExecutionProvider"):
        OnnxProgram(small_models["one"], proto, None, cuda, limits, pixels="uint8", probabilities=False)


def test_a_graph_that_is_none_is_said(small_models):
    with pytest.raises(ModelError, match="ONNX Runtime failed"):
        OnnxProgram(
            small_models["one"],
            b"junk",
            None,
            CPU,
            Limits(1, (9, 9), (9, 9)),
            pixels="uint8",
            probabilities=False,
        )
