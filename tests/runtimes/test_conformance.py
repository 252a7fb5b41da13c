"""Every runtime beside what a Runtime promises; CUDA's and TensorRT's are the streamed one on another device."""

import pytest
from runtimes.conformance import TILE, RuntimeConformance
from runtimes.laptop import Intel, Laptop
from runtimes.test_onnx_program import streamed

from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.onnxruntime_provider import open_on_provider
from unet_deploy.runtimes.request import Request
from unet_deploy.stream.precision import ByProof
from unet_deploy.stream.proof import Proof, Unproved
from unet_deploy.stream.tta import Averaging


class TestOnnxRuntime(RuntimeConformance):
    def open(self, path, *, probabilities=True, pixels="uint8"):
        return OnnxRuntime(path, probabilities=probabilities, tile_size=TILE)


class TestOpenVino(RuntimeConformance):
    def open(self, path, *, probabilities=True, pixels="uint8"):
        pytest.importorskip("openvino")
        from unet_deploy.runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, pixels=pixels, probabilities=probabilities, tile_size=TILE)


class TestOpenVinoDevice(RuntimeConformance):
    @pytest.fixture(autouse=True)
    def _gpu(self, monkeypatch):
        pytest.importorskip("openvino")
        Intel().install(monkeypatch)

    def open(self, path, *, probabilities=True, pixels="uint8"):
        from unet_deploy.runtimes.openvino_device import open_on_device

        asked = Request("gpu", "openvino", "fp32", pixels=pixels, probabilities=probabilities, tile_size=TILE)
        return open_on_device(path, asked).runtime


class TestProvider(RuntimeConformance):
    @pytest.fixture(autouse=True)
    def _gpu(self, monkeypatch):
        Laptop("DmlExecutionProvider").install(monkeypatch)

    def open(self, path, *, probabilities=True, pixels="uint8"):
        asked = Request("gpu", "directml", "fp32", pixels=pixels, probabilities=probabilities, tile_size=TILE)
        return open_on_provider(path, asked).runtime


class TestStreamed(RuntimeConformance):
    def open(self, path, *, probabilities=True, pixels="uint8"):
        return streamed(path, "fp32", pixels, tile=TILE, batch=2, probabilities=probabilities)


class TestUnproved(RuntimeConformance):
    def open(self, path, *, probabilities=True, pixels="uint8"):
        inner = streamed(path, "fp32", pixels, tile=TILE, batch=2, probabilities=probabilities)
        return Unproved(inner, Proof(lambda: self.reference(path), lambda agreement: None))


class TestByProof(RuntimeConformance):
    def open(self, path, *, probabilities=True, pixels="uint8"):
        def open_one(precision):
            return OnnxRuntime(path, probabilities=probabilities, tile_size=TILE)

        return ByProof(open_one, lambda: self.reference(path), None, lambda choice: None)


class TestAveraging(RuntimeConformance):
    answers_labels_alone = False

    def open(self, path, *, probabilities=True, pixels="uint8"):
        return Averaging(streamed(path, "fp32", pixels, tile=TILE, batch=2))

    def reference(self, path):
        return Averaging(super().reference(path))
