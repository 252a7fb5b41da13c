"""What a user would write or install instead: `python benchmarks/peers.py NAME slide.tif mask.tif`.

All read the slide with tifffile, normalise it as the shipped model's card says, and write a compressed mask; they run
the shipped model's weights. MONAI and nnU-Net slide a network that pads its convolutions, so theirs does.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import tifffile
from onnx import numpy_helper

from unet_deploy.zoo import find_model

SIDE, STEP, MARGIN = 572, 384, 92


def read(path: str) -> np.ndarray:
    image = tifffile.imread(path).astype(np.float32)
    low, high = np.percentile(image, (1, 99.8))
    return ((image - low) / (high - low)).astype(np.float32)


def write(path: str, labels: np.ndarray) -> None:
    tifffile.imwrite(path, labels.astype(np.uint8), tile=(256, 256), compression="zlib")


def network(*, padded: bool = False):
    """The shipped model as a PyTorch module; padded, its output is as large as its input."""
    import torch

    from trainer.unet import UNet

    arrays = {each.name: numpy_helper.to_array(each).copy() for each in onnx.load(str(find_model())).graph.initializer}
    unet = UNet(1, 2, width=arrays["down0.conv0.weight"].shape[0], depth=4).eval()
    layers = {"head": unet.head}
    for level in range(5):
        layers |= {f"down{level}.conv{at}": unet.down[level][2 * at] for at in (0, 1)}
    for level in range(4):
        layers |= {f"merge{level}.conv{at}": unet.merge[level][2 * at] for at in (0, 1)}
        layers[f"up{level}"] = unet.up[level]
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(torch.from_numpy(arrays[f"{name}.weight"]))
            layer.bias.copy_(torch.from_numpy(arrays[f"{name}.bias"]))
            if padded and "conv" in name:
                layer.padding = (1, 1)
    if not padded:
        return unet

    class Padded(torch.nn.Module):
        def forward(self, x):
            skips = []
            for level, convolve in enumerate(unet.down):
                x = convolve(x)
                if level < 4:
                    skips.append(x)
                    x = torch.nn.functional.max_pool2d(x, 2)
            for level in reversed(range(4)):
                x = unet.merge[level](torch.cat([skips[level], unet.up[level](x)], 1))
            return unet.head(x)

    return Padded().eval()


def monai(slide: str, mask: str, overlap: float = 0.25, mode: str = "constant") -> None:
    """MONAI's SlidingWindowInferer at its defaults, window 512."""
    import torch
    from monai.inferers import SlidingWindowInferer

    infer = SlidingWindowInferer(roi_size=(512, 512), sw_batch_size=1, overlap=overlap, mode=mode)
    with torch.inference_mode():
        logits = infer(torch.from_numpy(read(slide))[None, None], network(padded=True))
    write(mask, logits[0].argmax(0).numpy())


def gaussian(slide: str, mask: str) -> None:
    """Half overlapping windows blended by a Gaussian, as nnU-Net predicts."""
    monai(slide, mask, 0.5, "gaussian")


def loop(slide: str, mask: str, step: int = STEP) -> None:
    """A plain loop over 572 tiles with ONNX Runtime, as most scripts have it."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(find_model()), providers=["CPUExecutionProvider"])
    image = read(slide)
    height, width = image.shape
    tall, wide = (-(-side // step) * step + SIDE - step - MARGIN for side in (height, width))
    padded = np.pad(image, ((MARGIN, tall - height), (MARGIN, wide - width)), mode="reflect")
    labels = np.zeros((height, width), np.uint8)
    grey = {"offset": np.zeros((1, 1), np.float32), "scale": np.ones((1, 1), np.float32)}
    for y in range(0, height, step):
        for x in range(0, width, step):
            tile = padded[None, None, y : y + SIDE, x : x + SIDE]
            answer = session.run(["labels"], {"image": tile, **grey})[0][0]
            part = labels[y : y + step, x : x + step]
            part[...] = answer[: part.shape[0], : part.shape[1]]
    write(mask, labels)


def loop_388(slide: str, mask: str) -> None:
    """The same with steps of 388, the whole output: one pooling phase off at every tile."""
    loop(slide, mask, 388)


def whole(slide: str, mask: str) -> None:
    """PyTorch on the whole image in one pass."""
    import torch

    image = read(slide)
    height, width = image.shape
    tall, wide = (-(-(side + 2 * MARGIN - 188) // 16) * 16 + 188 - MARGIN - side for side in (height, width))
    padded = np.pad(image, ((MARGIN, tall), (MARGIN, wide)), mode="reflect")
    with torch.inference_mode():
        logits = network()(torch.from_numpy(padded)[None, None].contiguous(memory_format=torch.channels_last))
    write(mask, logits[0, :, :height, :width].argmax(0).numpy())


PEERS = {"monai": monai, "gaussian": gaussian, "loop": loop, "loop_388": loop_388, "whole": whole}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], sys.argv[3])
