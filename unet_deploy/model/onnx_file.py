"""The model file: an ONNX graph and its card, read and written as one."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unet_deploy.errors import ModelError
from unet_deploy.model.card import METADATA_KEY, ModelCard
from unet_deploy.model.unreadable import no_network
from unet_deploy.system.extras import importing

with importing("onnx", "onnx"):
    import onnx
    from onnx import helper

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Operators that only a model with 8-bit layers has."""


@dataclass(frozen=True)
class ModelFile:
    """An ONNX model with a card, in memory."""

    path: Path
    proto: onnx.ModelProto
    card: ModelCard

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of all that decides an answer: nodes, weights, and the card but for its words."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        del proto.metadata_props[:]
        proto.producer_name = proto.producer_version = proto.doc_string = ""
        card = self.card
        decides = (card.channels, card.classes, card.margin, card.stride, card.base, asdict(card.normalization))
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        digest.update(proto.SerializeToString(deterministic=True))
        return digest.hexdigest()

    @property
    def quantized(self) -> bool:
        """Whether the graph holds 8-bit layers."""
        return any(node.op_type in QUANTIZING for node in self.proto.graph.node)


def load(path: Path) -> onnx.ModelProto:
    """Read a graph, with weights that lie in files beside it; what the reader warns of is not printed.

    Raises whatever its reader raises: protobuf's errors and the checker's share no base class but Exception.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx.load_model(str(path))


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, whoever made it. Raises ModelError where it is none."""
    try:
        return load(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model file") from error
    except Exception as error:  # protobuf's errors share no base class but this
        raise no_network(path) from error


def card_text(proto: onnx.ModelProto) -> str | None:
    """The card of a graph as it stands in its metadata; None where there is none."""
    return next((each.value for each in proto.metadata_props if each.key == METADATA_KEY), None)


def read_model(path: Path) -> ModelFile:
    """Read an ONNX file and its card. Raises ModelError where it is no ONNX file or has no card."""
    proto = read_graph(path)
    card = ModelCard.of_model(card_text(proto), path)
    weights = {each.name for each in proto.graph.initializer}  # older files list them among the inputs
    ports = [port for port in [*proto.graph.input, *proto.graph.output] if port.name not in weights]
    card.check_ports({port.name: [each.dim_value or None for each in _dims(port)] for port in ports}, path)
    return ModelFile(path, proto, card)


def _dims(port: onnx.ValueInfoProto) -> Any:
    return port.type.tensor_type.shape.dim


def save(proto: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a graph to `path` with the card as the only entry of its metadata."""
    del proto.metadata_props[:]
    helper.set_model_props(proto, {METADATA_KEY: card.to_json()})
    onnx.save_model(proto, str(path))


def write_card(model: Path, output: Path, card: ModelCard) -> None:
    """Copy an ONNX file to `output` with another card."""
    save(load(model), card, output)
