"""A model as NVIDIA's Triton Inference Server wants it: a folder with a configuration and a numbered version.

The configuration is the text form of Triton's ModelConfig message
(github.com/triton-inference-server/common, protobuf/model_config.proto).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp

from unet_deploy.errors import UsageError, VerificationError
from unet_deploy.masks.apart import check_apart
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import AS_IT_IS
from unet_deploy.model.contract import IMAGE, LABELS, PROBABILITIES, Pixels
from unet_deploy.runtimes import Limits
from unet_deploy.runtimes.ring import Port
from unet_deploy.runtimes.streamed import buffer_ports
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES, EngineRecord, read_record
from unet_deploy.system.files import file_errors
from unet_deploy.zoo import card_of

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def export_triton(
    model: Path, repository: Path, *, name: str | None = None, most_tiles: int = 8, overwrite: bool = False
) -> Path:
    """Write REPOSITORY/NAME/config.pbtxt and /1/model.onnx or /1/model.plan; returns REPOSITORY/NAME.

    most_tiles: the largest batch of a request; an engine has its own. Clients cut tiles themselves: the geometry and
    the normalisation are in the configuration's parameter `unet_deploy.card`.
    Raises ModelError, UsageError, and VerificationError for an engine that was never compared with its model.
    """
    if name is not None:
        _check_name(name)
    card, config, file = _engine(model) if model.suffix in ENGINE_SUFFIXES else _onnx(model, most_tiles)
    _check_name(name or card.name)
    folder = repository / (name or card.name)
    check_apart([folder], [model])
    if folder.exists() and not overwrite:
        raise UsageError(f"{folder} exists; pass --overwrite to replace it, or give another --name")
    if folder.is_symlink() or (folder.exists() and not (folder / "config.pbtxt").is_file()):
        raise UsageError(f"{folder}: is no model of a repository, so it is not replaced; give another --name")
    with file_errors(folder):
        repository.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=f".{folder.name}.", dir=repository))
        try:
            (beside / "1").mkdir()
            _write_model(model, beside / "1" / file)
            (beside / "config.pbtxt").write_text(f'name: "{folder.name}"\n{config}', encoding="utf-8")
            beside.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write_model(model: Path, target: Path) -> None:
    """Copy a model as Triton is to run it: what its card decides is made in the graph."""
    if model.suffix in ENGINE_SUFFIXES or not AS_IT_IS.touches(card_of(model)):
        shutil.copyfile(model, target)
        return
    from unet_deploy.model.changed import read_to_run
    from unet_deploy.model.onnx_file import save

    changed = read_to_run(model)
    save(changed.proto, changed.card, target)


def _check_name(name: str) -> None:
    """Raise UsageError unless a name is that of a folder in the repository, and of nothing above or below it."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}", name):
        raise UsageError(
            f"--name {name!r}: a model is served under letters, digits and _.+- alone, and begins with none of .+-; "
            "give another --name"
        )


def _onnx(model: Path, most_tiles: int) -> tuple[ModelCard, str, str]:
    from unet_deploy.runtimes.onnxruntime import OnnxRuntime

    with OnnxRuntime(model) as runtime:
        card = runtime.card
    limits = Limits(most_tiles, (card.base, card.base), (2 * card.base, 2 * card.base))
    text = _config("onnxruntime_onnx", card, limits, "float32", probabilities=True)
    return card, text, "model.onnx"


def _engine(engine: Path) -> tuple[ModelCard, str, str]:
    record: EngineRecord = read_record(engine)
    if record.compiler != "tensorrt":
        raise UsageError(f"{engine}: Triton runs engines of TensorRT, not of {record.compiler}; export the .onnx model")
    if record.accuracy:
        record.accuracy.require(str(engine))
    else:
        raise VerificationError(
            f"{engine}: was never compared with its model; "
            f"run: unet-deploy verify {engine} --reference {record.model} IMAGE"
        )
    limits, options = record.limits, record.options
    text = _config(
        "tensorrt_plan",
        record.card,
        limits,
        options.pixels,
        probabilities=options.probabilities,
    )
    return record.card, text, "model.plan"


def _config(platform: str, card: ModelCard, limits: Limits, pixels: Pixels, *, probabilities: bool) -> str:
    inputs, outputs = buffer_ports(card, limits, pixels, probabilities=probabilities)
    # Where Triton is to batch, the model's own batch must be open; a fixed one stands among the dimensions.
    lines = [f'platform: "{platform}"', f"max_batch_size: {0 if limits.fixed else limits.batch}"]

    def dims(name: str, port: Port) -> str:
        if limits.fixed:
            return ", ".join(map(str, port.most))
        inner = [str(side) for side in port.most[1:]]
        if name in (LABELS, PROBABILITIES):
            inner[-2:] = ["-1", "-1"]
        elif name == IMAGE:
            inner[1:3] = ["-1", "-1"]
        return ", ".join(inner)

    for kind, group in (("input", inputs), ("output", outputs)):
        lines.append(f"{kind} [")
        entries = [
            f'  {{ name: "{name}", data_type: {_TYPES[port.dtype.name]}, dims: [ {dims(name, port)} ] }}'
            for name, port in group.items()
        ]
        lines += [",\n".join(entries), "]"]
    text = json.dumps(card.to_json())  # JSON's escapes are those of a text-format string
    lines.append(f'parameters {{ key: "unet_deploy.card" value {{ string_value: {text} }} }}')
    return "\n".join(lines) + "\n"
