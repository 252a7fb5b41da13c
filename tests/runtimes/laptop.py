"""Stand-ins for what of OpenVINO and ONNX Runtime drives a laptop's GPU or NPU: as strict as the packages, on a CPU.

What is asked of them is what the packages' own sources and documentation say; no such device was at hand.
"""

import numpy as np
import onnxruntime as ort

CHOICES = {
    "CoreMLExecutionProvider": {
        "ModelFormat": ("MLProgram", "NeuralNetwork"),
        "MLComputeUnits": ("CPUAndNeuralEngine", "CPUAndGPU", "CPUOnly", "ALL"),
        "RequireStaticInputShapes": ("0", "1"),
    },
    "DmlExecutionProvider": {
        "device_id": tuple(map(str, range(2))),
        "performance_preference": ("default", "high_performance", "minimum_power"),
        "device_filter": ("gpu", "npu", "any"),
    },
    "WebGpuExecutionProvider": {},
}
"""Options of each provider, and their values: coreml_options.cc, dml_provider_factory.cc."""


class Part:
    """What a provider took of a graph."""

    def __init__(self, name, nodes):
        self.ep_name, self._nodes = name, nodes

    def get_nodes(self):
        return self._nodes


class Laptop:
    """A machine with a provider of ONNX Runtime. `install` puts it in place.

    starts: whether its driver is there. leaves: how many convolutions it leaves to the processor. most: sides of the
    largest tile that it has memory for. wrong: added to what it answers. fails: raised by each run once it is set.
    """

    def __init__(self, provider):
        self.provider, self.sessions = provider, []
        self.starts, self.leaves, self.most, self.wrong, self.fails = True, 0, 4096, 0, None

    def install(self, monkeypatch):
        monkeypatch.setattr(ort, "get_available_providers", lambda: [self.provider, "CPUExecutionProvider"])
        real, laptop = ort.InferenceSession, self

        class Session(real):
            def __init__(self, model, options=None, providers=(), **rest):
                ((name, settings),) = [each if isinstance(each, tuple) else (each, {}) for each in providers]
                super().__init__(model, options, providers=["CPUExecutionProvider"], **rest)
                self.laptops = name == laptop.provider
                if self.laptops:
                    check(name, settings, options)
                    shapes = [port.shape for port in self.get_inputs()]
                    assert all(isinstance(side, int) for shape in shapes for side in shape), "a shape is open"
                    if max(shapes[0]) > laptop.most:
                        raise RuntimeError("D3D12: 0x887A0001 the resource cannot be created")
                    laptop.sessions.append((settings, tuple(shapes[0][2:])))

            def get_providers(self):
                return [laptop.provider, *super().get_providers()] if self.laptops and laptop.starts else ["CPU"]

            def get_provider_graph_assignment_info(self):
                nodes = [node for part in super().get_provider_graph_assignment_info() for node in part.get_nodes()]
                left = [node for node in nodes if "Conv" in node.op_type][: laptop.leaves]
                taken = [node for node in nodes if not any(node is each for each in left)]
                return [Part(laptop.provider, taken), Part("CPUExecutionProvider", left)]

            def run(self, names, feeds, *rest):
                answer = super().run(names, feeds, *rest)
                if self.laptops and laptop.fails:
                    raise laptop.fails
                return [answer[0] ^ np.uint8(laptop.wrong), *answer[1:]] if self.laptops else answer

        monkeypatch.setattr(ort, "InferenceSession", Session)
        return self


def check(name, settings, options):
    """As the providers do, which refuse an option that they do not know."""
    for option, value in settings.items():
        assert value in CHOICES[name][option], f"{name}: {option} {value}"
    if name == "DmlExecutionProvider":
        assert not options.enable_mem_pattern, "Mem pattern should be disabled when using DML execution provider"
        assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL


class Intel:
    """OpenVINO's Core on a machine with two GPUs and an NPU, which compute in half precision as those do.

    devices: those that are here. most: sides of the largest tile that compiles. wrong, fails: as of Laptop.
    """

    def __init__(self, devices=("CPU", "GPU.0", "GPU.1", "NPU")):
        self.available_devices, self.compiled = list(devices), []
        self.most, self.wrong, self.fails = 4096, 0, None

    def install(self, monkeypatch):
        from unet_deploy.runtimes import openvino_device

        self._ov = openvino_device.ov
        self._core = openvino_device.core()
        monkeypatch.setattr(openvino_device, "core", lambda: self)
        monkeypatch.setattr(openvino_device, "may_have_accelerators", lambda: True)
        return self

    def get_property(self, device, name):
        if device == "CPU":
            return self._core.get_property(device, name)
        assert name == "FULL_DEVICE_NAME"
        return {"NPU": "Intel(R) AI Boost"}.get(device, f"Intel(R) Arc(TM) Graphics {device}")

    def compile_model(self, graph, device, settings):
        if device == "CPU":
            return self._core.compile_model(graph, device, settings)
        assert device in self.available_devices
        assert set(settings) <= {"INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT", "CACHE_DIR"}
        shape = graph.input("image").partial_shape
        assert not any(port.partial_shape.is_dynamic for port in graph.inputs), "to_shape was called on a dynamic shape"
        height, width = (side.get_length() for side in list(shape)[2:])
        if max(height, width) > self.most:
            raise RuntimeError(
                "Exception from src/inference/src/cpp/core.cpp:109:\n[NPU_VCL] Compiler: not enough CMX memory\n"
            )
        self.compiled.append((device, settings["INFERENCE_PRECISION_HINT"], (height, width)))
        half = settings["INFERENCE_PRECISION_HINT"] == "f16"
        exact = self._core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return Compiled(self, exact.create_infer_request(), half)


class Compiled:
    def __init__(self, machine, request, half):
        self._machine, self._request, self._half = machine, request, half

    def create_infer_request(self):
        return self

    def infer(self, feeds):
        if self._machine.fails:
            raise self._machine.fails
        with np.errstate(over="ignore"):  # beyond 65,504 is infinite there, as on the device
            seen = {
                name: value.astype(np.float16).astype(np.float32) if self._half else value
                for name, value in feeds.items()
            }
        results = {name: value for port, value in self._request.infer(seen).items() for name in port.get_names()}
        return results | {"labels": results["labels"] ^ np.uint8(self._machine.wrong)}
