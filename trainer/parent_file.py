"""A model read back to be trained further: from a file of weights, or from a model that `export` wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from trainer.export import card_of_weights, check
from trainer.layers import named_layers
from trainer.parent import ParentModel
from trainer.unet import UNet
from trainer.weights import load_weights
from trainer.weights_fields import DEEPEST
from unet_deploy.errors import ModelError, VerificationError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.onnx_file import ModelFile, card_text, read_graph, read_model
from unet_deploy.model.parent import Parent
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES
from unet_deploy.zoo import find_model


def read_parent(model: str | Path) -> ParentModel:
    """Read a model: weights (.pt), a model file (.onnx), or the name of a shipped one.

    Raises ModelError, with the reason, for a file that this trainer did not make or from which nothing can be learned.
    """
    path = find_model(model)
    network, card = _of_weights(path) if path.suffix.lower() == ".pt" else _of_model(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ParentModel(path, network, card, Parent(card.name, digest, card.license, card.trained_on))


def _of_weights(path: Path) -> tuple[UNet, ModelCard]:
    network, saved = load_weights(path)
    try:
        return network, card_of_weights(network, saved, path.stem)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _of_model(path: Path) -> tuple[UNet, ModelCard]:
    if path.suffix in ENGINE_SUFFIXES:
        raise ModelError(f"{path}: is an engine, whose weights cannot be read back; train from the model it is made of")
    if card_text(read_graph(path)) is None:
        raise _foreign(path, "has no model card")
    file = read_model(path)
    if file.quantized:
        raise ModelError(f"{path}: has 8-bit layers, which cannot be trained; train from the model it was made of")
    network = _network_of(file)
    _check_answer(file, network)
    return network, file.card


def _network_of(file: ModelFile) -> UNet:
    """The network of a model file by the names and shapes of its weights; laid out without memory before these."""
    values = {each.name: each for each in file.proto.graph.initializer}
    levels = sum(f"down{level}.conv0.weight" in values for level in range(DEEPEST + 1))
    first = values.get("down0.conv0.weight")
    if first is None or not first.dims or levels < 2:
        raise _foreign(file.path, "its layers are not those of this U-Net")
    with torch.device("meta"):
        network = UNet(file.card.channels, len(file.card.classes), first.dims[0], levels - 1, dropout=0.0)
    for name, layer in named_layers(network).items():
        for part in ("weight", "bias"):
            place = getattr(layer, part)
            setattr(layer, part, torch.nn.Parameter(_fitting(values, f"{name}.{part}", place, file.path)))
    return network.eval()


def _fitting(values: Mapping[str, onnx.TensorProto], name: str, place: torch.Tensor, path: Path) -> torch.Tensor:
    """The weights of this name. Raises ModelError unless they are there and have the shape of their place."""
    tensor = values.get(name)
    if tensor is None or (tensor.data_type, tuple(tensor.dims)) != (onnx.TensorProto.FLOAT, tuple(place.shape)):
        raise _foreign(path, f"its layers are not those of this U-Net ({name})")
    try:
        return torch.from_numpy(numpy_helper.to_array(tensor).copy())
    except ValueError as error:  # of fewer numbers than its shape says
        raise _foreign(path, f"the weights of {name} are not whole") from error


def _check_answer(file: ModelFile, network: UNet) -> None:
    """Raise ModelError unless the file answers to a tile as the network does that was read from it."""
    card = file.card
    if (card.margin, card.stride, card.base) != (network.margin, network.stride, network.base):
        raise _foreign(file.path, "its tiles are not those of such a U-Net")
    side = network.base + network.stride
    tile = torch.from_numpy(np.random.default_rng(0).random((card.channels, side, side), np.float32))
    try:
        check(file.path, network, card, [tile])
    except VerificationError as error:
        raise _foreign(file.path, "it computes otherwise than a U-Net of such layers") from error


def _foreign(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path}: {why}, so it was not made by unet-deploy export; train from a model of that command, or from weights"
    )
