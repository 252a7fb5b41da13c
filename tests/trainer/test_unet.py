"""The network is the one of the paper."""

import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from trainer.unet import UNet  # noqa: E402


def test_it_has_23_convolutions_and_31_million_parameters():
    network = UNet()
    layers = [each for each in network.modules() if isinstance(each, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(layers) == 23
    assert sum(p.numel() for p in network.parameters()) == 31_030_658


def test_572_becomes_388():
    network = UNet(width=2).eval()
    assert network(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert (network.margin, network.stride, network.base) == (92, 16, 188)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_margin_stride_and_base_are_what_the_network_does(depth):
    network = UNet(channels=2, classes=3, width=1, depth=depth).eval()
    for steps in (0, 1, 3):
        side = network.base + steps * network.stride
        other = network.base + network.stride
        out = network(torch.zeros(1, 2, side, other))
        assert out.shape == (1, 3, side - 2 * network.margin, other - 2 * network.margin)
    for illegal in range(network.base + 1, network.base + network.stride):
        with pytest.raises(
            ValueError, match=rf"nearest legal sides are {network.base} and {network.base + network.stride}"
        ):
            network(torch.zeros(1, 2, illegal, network.base))
    with pytest.raises(ValueError, match="nearest legal sides"):
        network(torch.zeros(1, 2, network.base - network.stride, network.base))


def test_the_crops_are_those_of_figure_1():
    assert [UNet(width=1).crop(level) for level in (3, 2, 1, 0)] == [4, 16, 40, 88]


def test_shifts_by_the_stride_shift_the_answer_and_others_do_not():
    torch.manual_seed(0)
    network = UNet(width=4).eval()
    image = torch.randn(1, 1, 300, 300)
    with torch.no_grad():
        whole = network(image[:, :, :284, :284])
        by_stride = network(image[:, :, 16:300, :284])
        by_four = network(image[:, :, 4:288, :284])
    assert torch.allclose(whole[:, :, 16:], by_stride[:, :, :-16], atol=1e-5)
    assert (whole[:, :, 4:] - by_four[:, :, :-4]).abs().max() > 1e-2


def test_weights_start_with_the_papers_spread():
    torch.manual_seed(0)
    network = UNet(width=16)
    second = network.down[1][2]
    assert second.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05)
    up = network.up[0]
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 32), rel=0.05)
    assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    network = UNet(width=4, depth=2, dropout=0.5)
    image = torch.randn(1, 1, 76, 76)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
